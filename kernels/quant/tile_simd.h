/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a tile of any quantised type: the choice of the reader by dtype. */
#ifndef SHOAL_KERNELS_QUANT_TILE_SIMD_H
#define SHOAL_KERNELS_QUANT_TILE_SIMD_H

#include <assert.h>

#include "kernels/quant/blocks_simd.h"
#include "kernels/quant/tile.h"
#include "tensor/panels.h"

#if !SIMD_AVX512
#include "kernels/quant/codebook_avx2.h"
#endif

/* What a tile's bytes have too much. */
static inline int tile_bias(struct quant_traits t) {
    if (quant_is_wide(t))
        return SIMD_AVX512 ? 128 : 0;
    return -t.q_min;
}

/* Stores columns in a tile. */
static ALWAYS_INLINE void tile_put(void *to, unsigned group, i32x16 q) {
    uint8_t(*groups)[TILE_ROWS * 4] = to;
    rows_store(groups[group], q);
}

/* One block of 32 or 256 columns, at columns 32 b .. of the tile. */
static ALWAYS_INLINE void block_tile(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                                     unsigned b, struct weight_tile *tile) {
    const struct block_units units = block_units(dtype);
    block_scales(dtype, words, heads, tile->scale + b, tile->min + b);
    for (unsigned u = 0; u < units.n; u++)
        block_columns(dtype, words, u, tile_put, tile->q + 8 * (b + u * units.n_runs));
}

static ALWAYS_INLINE void blocks_tile(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                                      uint32_t n_columns, struct weight_tile *tile) {
    const struct panel_format f = panel_format(dtype);
    if (dtype_info(dtype)->block_elements == BLOCK_SUPER) {
        block_tile(dtype, words, heads, 0, tile);
        return;
    }
    for (unsigned b = 0; b < n_columns / BLOCK_SMALL; b++)
        block_tile(dtype, words + (size_t)b * f.n_words * 64,
                   heads + (size_t)b * f.head_bytes * TILE_ROWS, b, tile);
}

/* Blocks that follow each other in a panel: n_columns of them (a multiple of the block, at most
 * TILE_COLUMNS), the first at `words` and `heads`. */
static inline void tile_read(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                             uint32_t n_columns, struct weight_tile *tile) {
    switch (dtype) {
    case DTYPE_Q4_0:
        blocks_tile(DTYPE_Q4_0, words, heads, n_columns, tile);
        break;
    case DTYPE_Q4_1:
        blocks_tile(DTYPE_Q4_1, words, heads, n_columns, tile);
        break;
    case DTYPE_Q5_0:
        blocks_tile(DTYPE_Q5_0, words, heads, n_columns, tile);
        break;
    case DTYPE_Q5_1:
        blocks_tile(DTYPE_Q5_1, words, heads, n_columns, tile);
        break;
    case DTYPE_Q8_0:
        blocks_tile(DTYPE_Q8_0, words, heads, n_columns, tile);
        break;
    case DTYPE_Q2_K:
        blocks_tile(DTYPE_Q2_K, words, heads, n_columns, tile);
        break;
    case DTYPE_Q3_K:
        blocks_tile(DTYPE_Q3_K, words, heads, n_columns, tile);
        break;
    case DTYPE_Q4_K:
        blocks_tile(DTYPE_Q4_K, words, heads, n_columns, tile);
        break;
    case DTYPE_Q5_K:
        blocks_tile(DTYPE_Q5_K, words, heads, n_columns, tile);
        break;
    case DTYPE_Q6_K:
        blocks_tile(DTYPE_Q6_K, words, heads, n_columns, tile);
        break;
    case DTYPE_Q8_K:
        blocks_tile(DTYPE_Q8_K, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ4_NL:
        blocks_tile(DTYPE_IQ4_NL, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ4_XS:
        blocks_tile(DTYPE_IQ4_XS, words, heads, n_columns, tile);
        break;
    case DTYPE_MXFP4:
        blocks_tile(DTYPE_MXFP4, words, heads, n_columns, tile);
        break;
#if SIMD_AVX512
    case DTYPE_IQ1_S:
        blocks_tile(DTYPE_IQ1_S, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ1_M:
        blocks_tile(DTYPE_IQ1_M, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ2_XXS:
        blocks_tile(DTYPE_IQ2_XXS, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ2_XS:
        blocks_tile(DTYPE_IQ2_XS, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ2_S:
        blocks_tile(DTYPE_IQ2_S, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ3_XXS:
        blocks_tile(DTYPE_IQ3_XXS, words, heads, n_columns, tile);
        break;
    case DTYPE_IQ3_S:
        blocks_tile(DTYPE_IQ3_S, words, heads, n_columns, tile);
        break;
    default:
        assert(!"a quantised type");
#else
    default:
        codebook_block_tile(dtype, words, heads, tile_bias(quant_traits(dtype)), tile);
#endif
    }
}

#endif
