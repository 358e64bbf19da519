/* SPDX-License-Identifier: Apache-2.0 */
/* What the two machines' tile products (tile_dot_avx2.h, tile_dot_avx512.h) have in common. The
 * sums are those of matmul.h: integers exact, then floats in the order given there. */
#ifndef SHOAL_KERNELS_MATMUL_TILE_DOT_H
#define SHOAL_KERNELS_MATMUL_TILE_DOT_H

#include "kernels/device/simd.h"
#include "kernels/matmul/panel.h"

/* The product is compiled once per kind and number of tokens: its branches must be gone. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

struct tile_kind {
    unsigned sub; /* 16 or 32 */
    bool has_min;
    bool wide;         /* AVX2: weights keep their sign */
    unsigned n_narrow; /* AVX2: products of four columns that 16 bits can add up: 1, 2 or 4 */
};

/* One tile and a few tokens. */
struct tile_dot {
    const struct weight_tile *tile;
    const struct act_block *const *x; /* [n_tokens], each a whole row */
    uint32_t first_block;             /* of each row that meets the tile */
    float (*sum)[PANEL_ROWS];         /* [n_tokens] */
    float (*minima)[PANEL_ROWS];      /* [n_tokens], types with minima only */
    uint32_t n_blocks;                /* of 32 columns */
    int bias;                         /* of the tile's bytes */
};

#endif
