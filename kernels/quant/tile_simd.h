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

#if SIMD_AVX512

/* Where columns that lie apart come together: the bytes of four such groups are those of four
 * groups of columns side by side. It takes 16 instructions per run, which a single token
 * (gemv_simd.h) does without. */
struct tile_gather {
    uint8_t (*groups)[TILE_ROWS * 4];
    i32x16 apart[4];
};

static ALWAYS_INLINE void tile_put_apart(void *to, unsigned group, i32x16 q) {
    struct tile_gather *g = to;
    g->apart[group % 4] = q;
    if (group % 4 < 3)
        return;
    i32x16 together[4];
    transpose_bytes(g->apart, together);
    UNROLL for (unsigned j = 0; j < 4; j++)
        rows_store(g->groups[group / 8 * 8 + 2 * j + group % 8 / 4], together[j]);
}

#endif

static ALWAYS_INLINE void unit_tile(enum dtype dtype, const uint8_t *words, unsigned unit,
                                    uint8_t (*groups)[TILE_ROWS * 4]) {
#if SIMD_AVX512
    if (block_columns_apart(dtype)) {
        struct tile_gather gather = {.groups = groups};
        block_columns(dtype, words, unit, tile_put_apart, &gather);
        return;
    }
#endif
    block_columns(dtype, words, unit, tile_put, groups);
}

/* One block of 32 or 256 columns, at columns 32 b .. of the tile. */
static ALWAYS_INLINE void block_tile(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                                     size_t words_bytes, unsigned b, struct weight_tile *tile) {
    const struct block_units units = block_units(dtype);
    block_scales(dtype, words, heads, tile->scale + b, tile->min + b);
    for (unsigned u = 0; u < units.n; u++) {
        words_ahead(words, words_bytes, u, units.n, units.ahead);
        unit_tile(dtype, words, u, tile->q + 8 * (b + u * units.n_runs));
    }
}

struct tile_args {
    const uint8_t *words, *heads;
    uint32_t n_columns;
    struct weight_tile *tile;
};

static ALWAYS_INLINE void blocks_tile(enum dtype dtype, const void *args) {
    const struct tile_args *a = args;
    const struct panel_format f = panel_format(dtype);
    const size_t words_bytes = (size_t)f.n_words * 64;
    if (dtype_info(dtype)->block_elements == BLOCK_SUPER) {
        block_tile(dtype, a->words, a->heads, words_bytes, 0, a->tile);
        return;
    }
    for (unsigned b = 0; b < a->n_columns / BLOCK_SMALL; b++)
        block_tile(dtype, a->words + b * words_bytes,
                   a->heads + (size_t)b * f.head_bytes * TILE_ROWS, words_bytes, b, a->tile);
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
