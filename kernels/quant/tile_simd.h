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

struct tile_args {
    const uint8_t *words, *heads;
    uint32_t n_columns;
    struct weight_tile *tile;
};

static ALWAYS_INLINE void blocks_tile(enum dtype dtype, const void *args) {
    const struct tile_args *a = args;
    const struct panel_format f = panel_format(dtype);
    if (dtype_info(dtype)->block_elements == BLOCK_SUPER) {
        block_tile(dtype, a->words, a->heads, 0, a->tile);
        return;
    }
    for (unsigned b = 0; b < a->n_columns / BLOCK_SMALL; b++)
        block_tile(dtype, a->words + (size_t)b * f.n_words * 64,
                   a->heads + (size_t)b * f.head_bytes * TILE_ROWS, b, a->tile);
}

/* Blocks that follow each other in a panel: n_columns of them (a multiple of the block, at most
 * TILE_COLUMNS), the first at `words` and `heads`. */
static inline void tile_read(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                             uint32_t n_columns, struct weight_tile *tile) {
    const struct tile_args args = {
        .words = words, .heads = heads, .n_columns = n_columns, .tile = tile};
    if (with_known_dtype(dtype, blocks_tile, &args))
        return;
#if SIMD_AVX512
    assert(!"a quantised type");
#else
    codebook_block_tile(dtype, words, heads, tile_bias(quant_traits(dtype)), tile);
#endif
}

#endif
