/* SPDX-License-Identifier: Apache-2.0 */
/* Which product meets a tile: one compiled function per kind of tile, chosen by the dtype. */
#ifndef SHOAL_KERNELS_MATMUL_TILE_DOT_CHOOSE_SIMD_H
#define SHOAL_KERNELS_MATMUL_TILE_DOT_CHOOSE_SIMD_H

#include "kernels/quant/tile_simd.h"

#if SIMD_AVX512
#include "kernels/matmul/tile_dot_avx512.h"
#else
#include "kernels/matmul/tile_dot_avx2.h"
#endif

typedef void tile_dot_fn(struct tile_dot d, uint32_t n_tokens);

/* A group of n tokens, which the compiler knows; no code for more than the registers hold. */
static ALWAYS_INLINE void tile_dot_known(const struct tile_dot *d, const struct tile_kind kind,
                                         uint32_t n_tiles, uint32_t n) {
    if (n <= tile_dot_tokens_max(kind, n_tiles))
        tile_dot_tokens(d, kind, n_tiles, n);
}

/* n_tokens from 1 to tile_dot_tokens_max. */
static ALWAYS_INLINE void tile_dot_group(const struct tile_dot *d, const struct tile_kind kind,
                                         uint32_t n_tiles, uint32_t n_tokens) {
    switch (n_tokens) {
    case 1:
        return tile_dot_known(d, kind, n_tiles, 1);
    case 2:
        return tile_dot_known(d, kind, n_tiles, 2);
    case 3:
        return tile_dot_known(d, kind, n_tiles, 3);
    case 4:
        return tile_dot_known(d, kind, n_tiles, 4);
#if TILE_DOT_TOKENS > 4
    case 5:
        return tile_dot_known(d, kind, n_tiles, 5);
    case 6:
        return tile_dot_known(d, kind, n_tiles, 6);
    case 7:
        return tile_dot_known(d, kind, n_tiles, 7);
    case 8:
        return tile_dot_known(d, kind, n_tiles, 8);
#endif
    default:
        assert(!"a number of tokens that fits the registers");
    }
}

/* All tokens of the pass, in groups that fit the registers. */
static ALWAYS_INLINE void tile_dot_all(struct tile_dot d, const struct tile_kind kind,
                                       uint32_t n_tiles, uint32_t n_tokens) {
    for (uint32_t n; n_tokens > 0; n_tokens -= n) {
        n = token_group(n_tokens, tile_dot_tokens_max(kind, n_tiles));
        tile_dot_group(&d, kind, n_tiles, n);
        d.ahead_lines = 0; /* once is enough */
        d.x += n;
        for (uint32_t v = 0; v < n_tiles; v++)
            d.sum[v] += n;
    }
}

static ALWAYS_INLINE void tile_dot_tiles(struct tile_dot d, const struct tile_kind kind,
                                         uint32_t n_tokens) {
    if (d.n_tiles == 1) {
        tile_dot_all(d, kind, 1, n_tokens);
    } else {
        assert(d.n_tiles == PANELS_TOGETHER);
        tile_dot_all(d, kind, PANELS_TOGETHER, n_tokens);
    }
}

static void tile_dot_32_min(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 32, .has_min = true, .n_narrow = 4}, n_tokens);
}

static void tile_dot_16_min(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 16, .has_min = true, .n_narrow = 4}, n_tokens);
}

static void tile_dot_32(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 32, .n_narrow = 4}, n_tokens);
}

static void tile_dot_16(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 16, .n_narrow = 4}, n_tokens);
}

static void tile_dot_32_whole(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 32, .whole_scale = true, .n_narrow = 4}, n_tokens);
}

#if SIMD_AVX512

/* VNNI adds in 32 bits: the number of bits does not matter. */
static tile_dot_fn *tile_dot_choose(struct quant_traits t) {
    if (t.has_min)
        return t.sub == 32 ? tile_dot_32_min : tile_dot_16_min;
    if (t.whole_scale)
        return tile_dot_32_whole;
    return t.sub == 32 ? tile_dot_32 : tile_dot_16;
}

#else

static void tile_dot_32_wide(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 32, .wide = true, .n_narrow = 1}, n_tokens);
}

static void tile_dot_32_whole_wide(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d,
                   (struct tile_kind){.sub = 32, .whole_scale = true, .wide = true, .n_narrow = 1},
                   n_tokens);
}

static void tile_dot_32_7bit(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 32, .n_narrow = 1}, n_tokens);
}

static void tile_dot_16_7bit(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 16, .n_narrow = 1}, n_tokens);
}

static void tile_dot_16_6bit(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_tiles(d, (struct tile_kind){.sub = 16, .n_narrow = 2}, n_tokens);
}

/* How many results of maddubs fit 16 bits: each is two products of at most q * 127. */
static tile_dot_fn *tile_dot_choose(struct quant_traits t) {
    int n_fit = INT16_MAX / (2 * 127 * (t.q_max - t.q_min));
    if (t.has_min) { /* all of them have at most 5 bits */
        assert(n_fit >= 4);
        return t.sub == 32 ? tile_dot_32_min : tile_dot_16_min;
    }
    if (t.whole_scale) {
        assert(quant_is_wide(t) || n_fit >= 4);
        return quant_is_wide(t) ? tile_dot_32_whole_wide : tile_dot_32_whole;
    }
    if (t.sub == 32)
        return quant_is_wide(t) ? tile_dot_32_wide : n_fit >= 4 ? tile_dot_32 : tile_dot_32_7bit;
    assert(!quant_is_wide(t));
    return n_fit >= 4 ? tile_dot_16 : n_fit >= 2 ? tile_dot_16_6bit : tile_dot_16_7bit;
}

#endif

#endif
