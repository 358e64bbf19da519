/* SPDX-License-Identifier: Apache-2.0 */
/* A tile times a few tokens with VNNI: 16 rows are the lanes of one register.
 *
 * dpbusd adds four products of unsigned weights and signed activations to each lane. The weights
 * carry a bias that makes them unsigned; its share, bias * (sum of the activations), is taken off
 * in integers before the first product, so that the sum is exact. */
#ifndef SHOAL_KERNELS_MATMUL_TILE_DOT_AVX512_H
#define SHOAL_KERNELS_MATMUL_TILE_DOT_AVX512_H

#include "kernels/matmul/tile_dot.h"

/* Eight tokens keep eight independent sums in flight, which hides the five cycles of dpbusd, and
 * leave registers for the float sums. */
#define TILE_DOT_TOKENS 8

static inline __m512i broadcast4(const void *p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm512_set1_epi32(bytes);
}

/* The integer sums of columns 4 first .. 4 first + 4 n - 1 of the block. `weight` are the factors
 * of the two half sums in the start value: -bias for the halves that take part. */
static ALWAYS_INLINE void tile_dot_sums(const struct weight_tile *tile,
                                        const struct act_block *const x[TILE_DOT_TOKENS],
                                        uint32_t block, unsigned first, unsigned n, __m512i weight,
                                        __m512i sums[TILE_DOT_TOKENS], unsigned n_tokens) {
    for (unsigned t = 0; t < n_tokens; t++)
        sums[t] =
            _mm512_dpwssd_epi32(_mm512_setzero_si512(), weight, broadcast4(x[t][block].half_sum));
    for (unsigned g = first; g < first + n; g++) {
        __m512i w = _mm512_load_si512(tile->q[8 * block + g]);
        for (unsigned t = 0; t < n_tokens; t++)
            sums[t] = _mm512_dpbusd_epi32(sums[t], w, broadcast4(x[t][block].q + 4 * g));
    }
}

/* The minima of sub-block s (and s + 1) times the sums of the activations. */
static ALWAYS_INLINE __m512 tile_dot_minimum(const struct weight_tile *tile,
                                             const struct tile_kind kind, uint32_t s,
                                             const struct act_block *x) {
    const __m512i first = _mm512_set1_epi32(1), second = _mm512_set1_epi32(1 << 16);
    __m512i halves = broadcast4(x->half_sum), both = _mm512_or_si512(first, second);
    __m512i sum = _mm512_madd_epi16(halves, kind.sub == 32 ? both : first);
    __m512 v = _mm512_mul_ps(_mm512_load_ps(tile->min[s]), _mm512_cvtepi32_ps(sum));
    if (kind.sub == 32)
        return v;
    sum = _mm512_madd_epi16(halves, second);
    return _mm512_fmadd_ps(_mm512_load_ps(tile->min[s + 1]), _mm512_cvtepi32_ps(sum), v);
}

static ALWAYS_INLINE void tile_dot_tokens(const struct tile_dot *d, const struct tile_kind kind,
                                          unsigned n_tokens) {
    const struct weight_tile *tile = d->tile;
    const struct act_block *x[TILE_DOT_TOKENS];
    const __m512i low_half = _mm512_set1_epi32(0xffff);
    const __m512i bias = _mm512_set1_epi16((int16_t)-d->bias);
    __m512 sum[TILE_DOT_TOKENS], minima[TILE_DOT_TOKENS];
    for (unsigned t = 0; t < n_tokens; t++) {
        x[t] = d->x[t] + d->first_block;
        sum[t] = _mm512_load_ps(d->sum[t]);
        minima[t] = kind.has_min ? _mm512_load_ps(d->minima[t]) : _mm512_setzero_ps();
    }
    for (uint32_t b = 0; b < d->n_blocks; b++) {
        __m512i i0[TILE_DOT_TOKENS], i1[TILE_DOT_TOKENS];
        uint32_t s = kind.sub == 32 ? b : 2 * b;
        __m512 scale0 = _mm512_load_ps(tile->scale[s]);
        __m512 scale1 = _mm512_load_ps(tile->scale[s + (kind.sub == 16)]);
        if (kind.sub == 32) {
            tile_dot_sums(tile, x, b, 0, 8, bias, i0, n_tokens);
        } else {
            tile_dot_sums(tile, x, b, 0, 4, _mm512_and_si512(bias, low_half), i0, n_tokens);
            tile_dot_sums(tile, x, b, 4, 4, _mm512_andnot_si512(low_half, bias), i1, n_tokens);
        }
        for (unsigned t = 0; t < n_tokens; t++) {
            __m512 dx = _mm512_set1_ps(x[t][b].scale);
            __m512 u = _mm512_mul_ps(scale0, _mm512_cvtepi32_ps(i0[t]));
            if (kind.sub == 16)
                u = _mm512_fmadd_ps(scale1, _mm512_cvtepi32_ps(i1[t]), u);
            sum[t] = _mm512_fmadd_ps(dx, u, sum[t]);
            if (kind.has_min)
                minima[t] =
                    _mm512_fmadd_ps(dx, tile_dot_minimum(tile, kind, s, &x[t][b]), minima[t]);
        }
    }
    for (unsigned t = 0; t < n_tokens; t++) {
        _mm512_store_ps(d->sum[t], sum[t]);
        if (kind.has_min)
            _mm512_store_ps(d->minima[t], minima[t]);
    }
}

#endif
