/* SPDX-License-Identifier: Apache-2.0 */
/* A tile times a few tokens with VNNI: 16 rows are the lanes of one register.
 *
 * dpbusd adds four products of unsigned weights and signed activations to each lane. The weights
 * carry a bias that makes them unsigned; its share, bias * (sum of the activations), is taken off
 * in integers before the first product, so that the sum is exact. Types with minima have none. */
#ifndef SHOAL_KERNELS_MATMUL_TILE_DOT_AVX512_H
#define SHOAL_KERNELS_MATMUL_TILE_DOT_AVX512_H

#include <assert.h>

#include "kernels/matmul/tile_dot.h"

/* Eight tokens keep eight independent sums in flight, which hides the five cycles of dpbusd, and
 * leave registers for the float sums. Fewer tokens take several blocks at once instead. */
#define TILE_DOT_TOKENS 8
#define TILE_DOT_SUMS   8

static inline __m512i broadcast4(const void *p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm512_set1_epi32(bytes);
}

/* Integer sums of some columns: four starting with 4 first, n times, of n_blocks blocks and
 * n_tokens tokens. `weight` are the factors of the two half sums in the start value: -bias for the
 * halves that take part. */
struct tile_sums {
    unsigned first, n;
    unsigned n_blocks, n_tokens;
    __m512i start, weight;
};

static ALWAYS_INLINE void tile_sums(const struct tile_sums s, const struct tile_dot *d,
                                    const struct tile_kind kind, size_t block,
                                    const struct act_block *const x[TILE_DOT_TOKENS],
                                    __m512i sums[TILE_DOT_SUMS]) {
    for (unsigned b = 0; b < s.n_blocks; b++) {
        for (unsigned t = 0; t < s.n_tokens; t++) {
            __m512i halves = broadcast4(x[t][block + b].half_sum);
            sums[b * s.n_tokens + t] =
                kind.has_min ? s.start : _mm512_dpwssd_epi32(s.start, s.weight, halves);
        }
    }
    for (unsigned g = s.first; g < s.first + s.n; g++) {
        for (unsigned b = 0; b < s.n_blocks; b++) {
            __m512i w = _mm512_load_si512(d->tile->q[8 * (block + b) + g]);
            for (unsigned t = 0; t < s.n_tokens; t++) {
                __m512i *sum = &sums[b * s.n_tokens + t];
                *sum = _mm512_dpbusd_epi32(*sum, w, broadcast4(x[t][block + b].q + 4 * g));
            }
        }
    }
}

/* n_blocks from `block` on. */
static ALWAYS_INLINE void tile_dot_blocks(const struct tile_dot *d, const struct tile_kind kind,
                                          size_t block, unsigned n_blocks, unsigned n_tokens,
                                          const struct act_block *const x[TILE_DOT_TOKENS],
                                          __m512 sum[TILE_DOT_TOKENS]) {
    const __m512i low_half = _mm512_set1_epi32(0xffff);
    const __m512i bias = _mm512_set1_epi16((int16_t)-d->bias);
    struct tile_sums s = {.n = kind.sub / 4, .n_blocks = n_blocks, .n_tokens = n_tokens};
    __m512i i0[TILE_DOT_SUMS], i1[TILE_DOT_SUMS];
    s.start = _mm512_set1_epi32(kind.whole_scale ? 0 : SUM_START_BITS);
    s.weight = kind.sub == 32 ? bias : _mm512_and_si512(bias, low_half);
    tile_sums(s, d, kind, block, x, i0);
    if (kind.sub == 16) { /* converted: only one factor of fma can be free of it */
        s.first = 4;
        s.start = _mm512_setzero_si512();
        s.weight = _mm512_andnot_si512(low_half, bias);
        tile_sums(s, d, kind, block, x, i1);
    }
    for (unsigned b = 0; b < n_blocks; b++) {
        const struct weight_tile *tile = d->tile;
        size_t sub0 = (block + b) * (32 / kind.sub), sub1 = sub0 + (kind.sub == 16);
        __m512 scale0 = _mm512_load_ps(tile->scale[sub0]),
               scale1 = _mm512_load_ps(tile->scale[sub1]);
        __m512 minus_start = _mm512_mul_ps(scale0, _mm512_set1_ps(-SUM_START));
        for (unsigned t = 0; t < n_tokens; t++) {
            const struct act_block *a = &x[t][block + b];
            __m512i i = i0[b * n_tokens + t];
            __m512 u = kind.whole_scale
                           ? _mm512_mul_ps(scale0, _mm512_cvtepi32_ps(i))
                           : _mm512_fmadd_ps(scale0, _mm512_castsi512_ps(i), minus_start);
            if (kind.sub == 16)
                u = _mm512_fmadd_ps(scale1, _mm512_cvtepi32_ps(i1[b * n_tokens + t]), u);
            sum[t] = _mm512_fmadd_ps(_mm512_set1_ps(a->scale), u, sum[t]);
            if (kind.has_min) {
                float first = kind.sub == 32 ? a->scaled_sum : a->scaled_half_sum[0];
                sum[t] =
                    _mm512_fmadd_ps(_mm512_load_ps(tile->min[sub0]), _mm512_set1_ps(first), sum[t]);
            }
            if (kind.has_min && kind.sub == 16)
                sum[t] = _mm512_fmadd_ps(_mm512_load_ps(tile->min[sub1]),
                                         _mm512_set1_ps(a->scaled_half_sum[1]), sum[t]);
        }
    }
}

static ALWAYS_INLINE void tile_dot_tokens(const struct tile_dot *d, const struct tile_kind kind,
                                          unsigned n_tokens) {
    const unsigned n_together = n_tokens == 1 ? 4 : n_tokens <= 4 ? 2 : 1;
    const struct act_block *x[TILE_DOT_TOKENS];
    __m512 sum[TILE_DOT_TOKENS];
    for (unsigned t = 0; t < n_tokens; t++) {
        x[t] = d->x[t] + d->first_block;
        sum[t] = _mm512_load_ps(d->sum[t]);
    }
    size_t b = 0;
    for (; b + n_together <= d->n_blocks; b += n_together)
        tile_dot_blocks(d, kind, b, n_together, n_tokens, x, sum);
    for (; b < d->n_blocks; b++)
        tile_dot_blocks(d, kind, b, 1, n_tokens, x, sum);
    for (unsigned t = 0; t < n_tokens; t++)
        _mm512_store_ps(d->sum[t], sum[t]);
}

/* 1 to TILE_DOT_TOKENS tokens. */
static ALWAYS_INLINE void tile_dot_group(const struct tile_dot *d, const struct tile_kind kind,
                                         uint32_t n_tokens) {
    switch (n_tokens) {
    case 1:
        return tile_dot_tokens(d, kind, 1);
    case 2:
        return tile_dot_tokens(d, kind, 2);
    case 3:
        return tile_dot_tokens(d, kind, 3);
    case 4:
        return tile_dot_tokens(d, kind, 4);
    case 5:
        return tile_dot_tokens(d, kind, 5);
    case 6:
        return tile_dot_tokens(d, kind, 6);
    case 7:
        return tile_dot_tokens(d, kind, 7);
    default:
        assert(n_tokens == TILE_DOT_TOKENS);
        return tile_dot_tokens(d, kind, TILE_DOT_TOKENS);
    }
}

#endif
