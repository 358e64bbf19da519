/* SPDX-License-Identifier: Apache-2.0 */
/* A tile times a few tokens with AVX2: 16 rows are two registers, taken one after the other.
 *
 * maddubs multiplies unsigned with signed bytes and adds pairs into 16 bits, which saturate. With
 * weights of at most 7 bits plus bias it cannot happen: 2 * 127 * 127 < 32768. Narrower weights
 * leave room to add several of its results before they are widened (kind.n_narrow). Wide weights
 * keep their sign, and the product is |w| * (x with the sign of w): 2 * 128 * 127 < 32768. */
#ifndef SHOAL_KERNELS_MATMUL_TILE_DOT_AVX2_H
#define SHOAL_KERNELS_MATMUL_TILE_DOT_AVX2_H

#include "kernels/matmul/tile_dot.h"

/* Four tokens use four registers for 32-bit and four for 16-bit sums, of 16 in all. */
#define TILE_DOT_TOKENS 4

static inline __m256i broadcast4(const void *p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

/* The integer sums of columns 4 first .. 4 first + 4 n - 1 of the block, rows 8 half .. + 7.
 * `weight` are the factors of the two half sums in the start value: -bias for the halves that
 * take part. */
static ALWAYS_INLINE void tile_dot_sums(const struct weight_tile *tile,
                                        const struct act_block *const x[TILE_DOT_TOKENS],
                                        const struct tile_kind kind, uint32_t block, unsigned half,
                                        unsigned first, unsigned n, __m256i weight,
                                        __m256i sums[TILE_DOT_TOKENS], unsigned n_tokens) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (unsigned t = 0; t < n_tokens; t++)
        sums[t] = kind.wide ? _mm256_setzero_si256()
                            : _mm256_madd_epi16(weight, broadcast4(x[t][block].half_sum));
    for (unsigned g = first; g < first + n; g += kind.n_narrow) {
        __m256i narrow[TILE_DOT_TOKENS];
        for (unsigned i = 0; i < kind.n_narrow; i++) {
            const uint8_t *q = tile->q[8 * block + g + i];
            __m256i w = _mm256_load_si256((const __m256i *)(q + 32 * half));
            __m256i magnitude = kind.wide ? _mm256_abs_epi8(w) : w;
            for (unsigned t = 0; t < n_tokens; t++) {
                __m256i four = broadcast4(x[t][block].q + 4 * (g + i));
                __m256i product =
                    _mm256_maddubs_epi16(magnitude, kind.wide ? _mm256_sign_epi8(four, w) : four);
                narrow[t] = i == 0 ? product : _mm256_add_epi16(narrow[t], product);
            }
        }
        for (unsigned t = 0; t < n_tokens; t++)
            sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(narrow[t], ones));
    }
}

/* The minima of sub-block s (and s + 1) times the sums of the activations, rows 8 half .. + 7. */
static ALWAYS_INLINE __m256 tile_dot_minimum(const struct weight_tile *tile,
                                             const struct tile_kind kind, uint32_t s, unsigned half,
                                             const struct act_block *x) {
    const __m256i first = _mm256_set1_epi32(1), second = _mm256_set1_epi32(1 << 16);
    __m256i halves = broadcast4(x->half_sum), both = _mm256_or_si256(first, second);
    __m256i sum = _mm256_madd_epi16(halves, kind.sub == 32 ? both : first);
    __m256 min = _mm256_load_ps(tile->min[s] + 8 * half);
    __m256 v = _mm256_mul_ps(min, _mm256_cvtepi32_ps(sum));
    if (kind.sub == 32)
        return v;
    sum = _mm256_madd_epi16(halves, second);
    min = _mm256_load_ps(tile->min[s + 1] + 8 * half);
    return _mm256_fmadd_ps(min, _mm256_cvtepi32_ps(sum), v);
}

/* One block of all tokens, rows 8 half .. 8 half + 7. */
static ALWAYS_INLINE void tile_dot_block(const struct tile_dot *d,
                                         const struct act_block *const x[TILE_DOT_TOKENS],
                                         const struct tile_kind kind, uint32_t b, unsigned half,
                                         unsigned n_tokens) {
    const struct weight_tile *tile = d->tile;
    const __m256i low_half = _mm256_set1_epi32(0xffff);
    const __m256i bias = _mm256_set1_epi16((int16_t)-d->bias);
    __m256i i0[TILE_DOT_TOKENS], i1[TILE_DOT_TOKENS];
    uint32_t s = kind.sub == 32 ? b : 2 * b;
    if (kind.sub == 32) {
        tile_dot_sums(tile, x, kind, b, half, 0, 8, bias, i0, n_tokens);
    } else {
        tile_dot_sums(tile, x, kind, b, half, 0, 4, _mm256_and_si256(bias, low_half), i0, n_tokens);
        tile_dot_sums(tile, x, kind, b, half, 4, 4, _mm256_andnot_si256(low_half, bias), i1,
                      n_tokens);
    }
    for (unsigned t = 0; t < n_tokens; t++) {
        float *sum = d->sum[t] + 8 * half, *minima = d->minima[t] + 8 * half;
        __m256 dx = _mm256_set1_ps(x[t][b].scale);
        __m256 scale = _mm256_load_ps(tile->scale[s] + 8 * half);
        __m256 u = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(i0[t]));
        if (kind.sub == 16) {
            scale = _mm256_load_ps(tile->scale[s + 1] + 8 * half);
            u = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(i1[t]), u);
        }
        _mm256_store_ps(sum, _mm256_fmadd_ps(dx, u, _mm256_load_ps(sum)));
        if (kind.has_min) {
            __m256 v = tile_dot_minimum(tile, kind, s, half, &x[t][b]);
            _mm256_store_ps(minima, _mm256_fmadd_ps(dx, v, _mm256_load_ps(minima)));
        }
    }
}

static ALWAYS_INLINE void tile_dot_tokens(const struct tile_dot *d, const struct tile_kind kind,
                                          unsigned n_tokens) {
    const struct act_block *x[TILE_DOT_TOKENS];
    for (unsigned t = 0; t < n_tokens; t++)
        x[t] = d->x[t] + d->first_block;
    for (uint32_t b = 0; b < d->n_blocks; b++) {
        for (unsigned half = 0; half < 2; half++)
            tile_dot_block(d, x, kind, b, half, n_tokens);
    }
}

#endif
