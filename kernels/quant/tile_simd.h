/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a tile of any quantised type: the choice of the reader by dtype. */
#ifndef SHOAL_KERNELS_QUANT_TILE_SIMD_H
#define SHOAL_KERNELS_QUANT_TILE_SIMD_H

#include <assert.h>

#include "kernels/quant/i_quants_simd.h"
#include "kernels/quant/k_quants_simd.h"
#include "kernels/quant/small_quants_simd.h"
#include "kernels/quant/tile.h"

/* What a tile's bytes have too much. */
static inline int tile_bias(struct quant_traits t) {
    if (quant_is_wide(t))
        return SIMD_AVX512 ? 128 : 0;
    return -t.q_min;
}

static inline void small_block_tile(enum dtype dtype, const uint8_t *p, size_t stride, unsigned b,
                                    struct weight_tile *tile) {
    switch (dtype) {
    case DTYPE_Q4_0:
        q4_0_tile(p, stride, b, tile);
        break;
    case DTYPE_Q4_1:
        q4_1_tile(p, stride, b, tile);
        break;
    case DTYPE_Q5_0:
        q5_0_tile(p, stride, b, tile);
        break;
    case DTYPE_Q5_1:
        q5_1_tile(p, stride, b, tile);
        break;
    case DTYPE_Q8_0:
        q8_0_tile(p, stride, b, tile);
        break;
    case DTYPE_IQ4_NL:
        iq4_nl_tile(p, stride, b, tile);
        break;
    case DTYPE_MXFP4:
        mxfp4_tile(p, stride, b, tile);
        break;
    default:
        assert(!"a type with blocks of 32");
    }
}

static inline void k_block_tile(enum dtype dtype, const uint8_t *p, size_t stride,
                                struct weight_tile *tile) {
    switch (dtype) {
    case DTYPE_Q2_K:
        q2_k_tile(p, stride, tile);
        break;
    case DTYPE_Q3_K:
        q3_k_tile(p, stride, tile);
        break;
    case DTYPE_Q4_K:
        q4_k_tile(p, stride, tile);
        break;
    case DTYPE_Q5_K:
        q5_k_tile(p, stride, tile);
        break;
    case DTYPE_Q6_K:
        q6_k_tile(p, stride, tile);
        break;
    case DTYPE_Q8_K:
        q8_k_tile(p, stride, tile);
        break;
    case DTYPE_IQ4_XS:
        iq4_xs_tile(p, stride, tile);
        break;
    default:
        assert(!"a type with super-blocks that is read 16 rows at a time");
    }
}

static inline void codebook_block_stage(enum dtype dtype, const void *block, int8_t *q,
                                        float *scale) {
    switch (dtype) {
    case DTYPE_IQ1_S:
        iq1_s_stage(block, q, scale);
        break;
    case DTYPE_IQ1_M:
        iq1_m_stage(block, q, scale);
        break;
    case DTYPE_IQ2_XXS:
        iq2_xxs_stage(block, q, scale);
        break;
    case DTYPE_IQ2_XS:
        iq2_xs_stage(block, q, scale);
        break;
    case DTYPE_IQ2_S:
        iq2_s_stage(block, q, scale);
        break;
    case DTYPE_IQ3_XXS:
        iq3_xxs_stage(block, q, scale);
        break;
    case DTYPE_IQ3_S:
        iq3_s_stage(block, q, scale);
        break;
    default:
        assert(!"a type with a codebook");
    }
}

static inline bool has_codebook(enum dtype dtype) {
    return dtype >= DTYPE_IQ1_S && dtype <= DTYPE_IQ3_S;
}

/* The super-blocks of 16 rows, one after the other; before each, the machine is asked for that of
 * the same row of the next panel, as rows_read does (IQ2_XXS, one token: 1.96 -> 2.64 GB/s). */
static inline void codebook_block_tile(enum dtype dtype, const uint8_t *p, size_t stride,
                                       struct weight_tile *tile) {
    const struct quant_traits t = quant_traits(dtype);
    bool has_bias = dtype == DTYPE_IQ1_S || dtype == DTYPE_IQ1_M;
    const uint32_t bytes = dtype_info(dtype)->block_bytes;
    struct tile_stage stage;
    for (unsigned r = 0; r < TILE_ROWS; r++) {
        uintptr_t next = (uintptr_t)p + (TILE_ROWS + r) * stride;
        for (uint32_t i = 0; i < bytes; i += 64)
            _mm_prefetch((const char *)(next + i), _MM_HINT_T1);
        codebook_block_stage(dtype, p + r * stride, stage.q[r], stage.scale[r]);
    }
    tile_from_stage(&stage, has_bias ? 0 : tile_bias(t), BLOCK_SUPER / t.sub, tile);
}

/* n_columns (a multiple of the block, at most TILE_COLUMNS) of 16 rows `stride` bytes apart. */
static inline void tile_read(enum dtype dtype, const uint8_t *p, size_t stride, uint32_t n_columns,
                             struct weight_tile *tile) {
    const struct dtype_info *info = dtype_info(dtype);
    if (info->block_elements == BLOCK_SMALL) {
        for (unsigned b = 0; b < n_columns / BLOCK_SMALL; b++)
            small_block_tile(dtype, p + (size_t)b * info->block_bytes, stride, b, tile);
    } else if (has_codebook(dtype)) {
        codebook_block_tile(dtype, p, stride, tile);
    } else {
        k_block_tile(dtype, p, stride, tile);
    }
}

#endif
