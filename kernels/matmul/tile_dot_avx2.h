/* SPDX-License-Identifier: Apache-2.0 */
/* A tile times a few tokens with AVX2: 16 rows are two registers, taken one after the other.
 *
 * maddubs multiplies unsigned with signed bytes and adds pairs into 16 bits, which saturate. With
 * weights of at most 7 bits plus bias it cannot happen: 2 * 127 * 127 < 32768. Narrower weights
 * leave room to add several of its results before they are widened (kind.n_narrow). Wide weights
 * keep their sign, and the product is |w| * (x with the sign of w): 2 * 128 * 127 < 32768. */
#ifndef SHOAL_KERNELS_MATMUL_TILE_DOT_AVX2_H
#define SHOAL_KERNELS_MATMUL_TILE_DOT_AVX2_H

#include <assert.h>

#include "kernels/matmul/tile_dot.h"

/* Four tokens use four registers for 32-bit and four for 16-bit sums, of 16 in all. */
#define TILE_DOT_TOKENS 4

static inline unsigned tile_dot_tokens_max(const struct tile_kind kind, uint32_t n_tiles) {
    (void)kind;
    (void)n_tiles;
    return TILE_DOT_TOKENS;
}

static inline __m256i broadcast4(const void *p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

/* Integer sums of some columns of the block: four starting with 4 first, n times, for rows
 * 8 half .. + 7. `weight` are the factors of the two half sums in the start value: -bias for the
 * halves that take part. */
struct tile_sums {
    unsigned half;
    unsigned first, n;
    unsigned n_tokens;
    __m256i start, weight;
};

static ALWAYS_INLINE void tile_sums(const struct tile_sums s, const struct weight_tile *tile,
                                    const struct tile_kind kind, size_t block,
                                    const struct act_block *const x[TILE_DOT_TOKENS],
                                    __m256i sums[TILE_DOT_TOKENS]) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (unsigned t = 0; t < s.n_tokens; t++) {
        sums[t] = s.start;
        if (!kind.wide && !kind.has_min)
            sums[t] = _mm256_add_epi32(
                sums[t], _mm256_madd_epi16(s.weight, broadcast4(x[t][block].half_sum)));
    }
    for (unsigned g = s.first; g < s.first + s.n; g += kind.n_narrow) {
        __m256i narrow[TILE_DOT_TOKENS];
        for (unsigned i = 0; i < kind.n_narrow; i++) {
            const uint8_t *q = tile->q[8 * block + g + i];
            __m256i w = _mm256_load_si256((const __m256i *)(q + 32 * s.half));
            __m256i magnitude = kind.wide ? _mm256_abs_epi8(w) : w;
            for (unsigned t = 0; t < s.n_tokens; t++) {
                __m256i four = broadcast4(x[t][block].q + 4 * (g + i));
                __m256i product =
                    _mm256_maddubs_epi16(magnitude, kind.wide ? _mm256_sign_epi8(four, w) : four);
                narrow[t] = i == 0 ? product : _mm256_add_epi16(narrow[t], product);
            }
        }
        for (unsigned t = 0; t < s.n_tokens; t++)
            sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(narrow[t], ones));
    }
}

/* One block of all tokens and one tile, rows 8 half .. 8 half + 7. */
static ALWAYS_INLINE void tile_dot_block(const struct tile_dot *d,
                                         const struct act_block *const x[TILE_DOT_TOKENS],
                                         const struct tile_kind kind, unsigned v, size_t b,
                                         unsigned half, unsigned n_tokens) {
    const struct weight_tile *tile = &d->tiles[v];
    const __m256i low_half = _mm256_set1_epi32(0xffff);
    const __m256i bias = _mm256_set1_epi16((int16_t)-d->bias);
    struct tile_sums s = {.half = half, .n = kind.sub / 4, .n_tokens = n_tokens};
    __m256i i0[TILE_DOT_TOKENS], i1[TILE_DOT_TOKENS];
    s.start = _mm256_set1_epi32(kind.whole_scale ? 0 : SUM_START_BITS);
    s.weight = kind.sub == 32 ? bias : _mm256_and_si256(bias, low_half);
    tile_sums(s, tile, kind, b, x, i0);
    if (kind.sub == 16) { /* converted: only one factor of fma can be free of it */
        s.first = 4;
        s.start = _mm256_setzero_si256();
        s.weight = _mm256_andnot_si256(low_half, bias);
        tile_sums(s, tile, kind, b, x, i1);
    }
    size_t sub0 = b * (32 / kind.sub), sub1 = sub0 + (kind.sub == 16);
    __m256 scale0 = _mm256_load_ps(tile->scale[sub0] + 8 * half);
    __m256 minus_start = _mm256_mul_ps(scale0, _mm256_set1_ps(-SUM_START));
    for (unsigned t = 0; t < n_tokens; t++) {
        const struct act_block *a = &x[t][b];
        __m256 u = kind.whole_scale
                       ? _mm256_mul_ps(scale0, _mm256_cvtepi32_ps(i0[t]))
                       : _mm256_fmadd_ps(scale0, _mm256_castsi256_ps(i0[t]), minus_start);
        if (kind.sub == 16)
            u = _mm256_fmadd_ps(_mm256_load_ps(tile->scale[sub1] + 8 * half),
                                _mm256_cvtepi32_ps(i1[t]), u);
        __m256 sum = _mm256_load_ps(d->sum[v][t] + 8 * half);
        sum = _mm256_fmadd_ps(_mm256_set1_ps(a->scale), u, sum);
        if (kind.has_min) {
            float first = kind.sub == 32 ? a->scaled_sum : a->scaled_half_sum[0];
            sum = _mm256_fmadd_ps(_mm256_load_ps(tile->min[sub0] + 8 * half), _mm256_set1_ps(first),
                                  sum);
        }
        if (kind.has_min && kind.sub == 16)
            sum = _mm256_fmadd_ps(_mm256_load_ps(tile->min[sub1] + 8 * half),
                                  _mm256_set1_ps(a->scaled_half_sum[1]), sum);
        _mm256_store_ps(d->sum[v][t] + 8 * half, sum);
    }
}

static ALWAYS_INLINE void tile_dot_tokens(const struct tile_dot *d, const struct tile_kind kind,
                                          uint32_t n_tiles, unsigned n_tokens) {
    const struct act_block *x[TILE_DOT_TOKENS];
    for (unsigned t = 0; t < n_tokens; t++)
        x[t] = d->x[t] + d->first_block;
    for (size_t b = 0; b < d->n_blocks; b++) {
        tile_ahead(d, n_tiles, b);
        for (unsigned i = 0; i < 2 * n_tiles; i++)
            tile_dot_block(d, x, kind, i / 2, b, i % 2, n_tokens);
    }
}

#endif
