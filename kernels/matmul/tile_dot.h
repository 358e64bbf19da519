/* SPDX-License-Identifier: Apache-2.0 */
/* What the two machines' tile products (tile_dot_avx2.h, tile_dot_avx512.h) have in common. The
 * sums are those of matmul.h: integers exact, then floats in the order given there.
 *
 * Integers become floats without an instruction. Each sum starts from the bits of 12582912.0f =
 * 3 * 2^22, where one unit in the last place is 1: after adding i the bits are those of the float
 * F = 12582912 + i, for every |i| < 2^22 (the largest is 32 * 128 * 127 < 2^19). Then
 *     fma(ws, F, -12582912 * ws) = ws * i, rounded once,
 * where ws * 12582912 is exact: ws has at most 19 significant bits, and 3 adds two. The second
 * factor is the same for all tokens, so that a conversion and a product become one fma. Types
 * whose scale has more bits or may be too large (quant_traits: whole_scale) convert. */
#ifndef SHOAL_KERNELS_MATMUL_TILE_DOT_H
#define SHOAL_KERNELS_MATMUL_TILE_DOT_H

#include "kernels/device/simd.h"
#include "kernels/matmul/panel.h"
#include "kernels/quant/columns.h"

#define SUM_START      12582912.0f
#define SUM_START_BITS 0x4b400000

struct tile_kind {
    unsigned sub; /* 16 or 32 */
    bool has_min;
    bool whole_scale;  /* the sums start from 0 and are converted */
    bool wide;         /* AVX2: weights keep their sign */
    unsigned n_narrow; /* AVX2: products of four columns that 16 bits can add up: 1, 2 or 4 */
};

/* One tile or two and some tokens. */
struct tile_dot {
    const struct weight_tile *tiles; /* [n_tiles] */
    uint32_t n_tiles;
    const struct act_block *const *x;          /* [n_tokens], each a whole row */
    uint32_t first_block;                      /* of each row that meets the tile */
    float (*sum[PANELS_TOGETHER])[PANEL_ROWS]; /* of each tile [n_tokens] */
    uint32_t n_blocks;                         /* of 32 columns */
    int bias;                                  /* of the tile's bytes; 0 for types with minima */
    const uint8_t *ahead[PANELS_TOGETHER];     /* packed words of tiles to come, of each panel */
    uint32_t ahead_lines;                      /* of them, for each block; 0: none */
};

/* Asks for words of tiles to come while the tile is multiplied. Readers ask for them too, but all
 * at once: a tile's lines are more than a core may have under way, and memory would rest during the
 * product. Nothing is read through the addresses. */
static ALWAYS_INLINE void tile_ahead(const struct tile_dot *d, uint32_t n_tiles, size_t block) {
    for (uint32_t v = 0; v < n_tiles; v++) {
        uintptr_t at = (uintptr_t)d->ahead[v] + block * d->ahead_lines * 64;
        for (uint32_t i = 0; i < d->ahead_lines; i++)
            _mm_prefetch((const char *)(at + 64 * (uintptr_t)i), _MM_HINT_T1);
    }
}

#endif
