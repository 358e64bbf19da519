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
 * leave registers for the float sums. Fewer tokens take several blocks at once instead. Two tiles
 * share each broadcast of activations, which else takes all of the load ports: with six tokens 24
 * registers hold sums (four if sub-blocks of 16 need two integer sums each). */
#define TILE_DOT_TOKENS 8
#define TILE_DOT_SUMS   12

static inline unsigned tile_dot_tokens_max(const struct tile_kind kind, uint32_t n_tiles) {
    if (n_tiles == 1)
        return TILE_DOT_TOKENS;
    return kind.sub == 32 ? 6 : 4;
}

static inline __m512i broadcast4(const void *p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm512_set1_epi32(bytes);
}

/* What is compiled for: the numbers of tiles, of blocks taken at once, of tokens. */
struct tile_shape {
    unsigned n_tiles, n_blocks, n_tokens;
};

static ALWAYS_INLINE unsigned sum_index(const struct tile_shape shape, unsigned block,
                                        unsigned tile, unsigned token) {
    return (block * shape.n_tiles + tile) * shape.n_tokens + token;
}

/* Integer sums of some columns: four starting with 4 first, n times, of each block. `weight` are
 * the factors of the two half sums in the start value: -bias for the halves that take part. */
struct tile_sums {
    unsigned first, n;
    __m512i start, weight;
};

static ALWAYS_INLINE void tile_sums(const struct tile_sums s, const struct tile_shape shape,
                                    const struct tile_dot *d, const struct tile_kind kind,
                                    size_t block, const struct act_block *const x[TILE_DOT_TOKENS],
                                    __m512i sums[TILE_DOT_SUMS]) {
    for (unsigned b = 0; b < shape.n_blocks; b++) {
        for (unsigned t = 0; t < shape.n_tokens; t++) {
            __m512i halves = broadcast4(x[t][block + b].half_sum);
            __m512i start = kind.has_min ? s.start : _mm512_dpwssd_epi32(s.start, s.weight, halves);
            for (unsigned v = 0; v < shape.n_tiles; v++)
                sums[sum_index(shape, b, v, t)] = start;
        }
    }
    for (unsigned g = s.first; g < s.first + s.n; g++) {
        for (unsigned b = 0; b < shape.n_blocks; b++) {
            __m512i w[PANELS_TOGETHER];
            for (unsigned v = 0; v < shape.n_tiles; v++)
                w[v] = _mm512_load_si512(d->tiles[v].q[8 * (block + b) + g]);
            for (unsigned t = 0; t < shape.n_tokens; t++) {
                __m512i four = broadcast4(x[t][block + b].q + 4 * g);
                for (unsigned v = 0; v < shape.n_tiles; v++) {
                    __m512i *sum = &sums[sum_index(shape, b, v, t)];
                    *sum = _mm512_dpbusd_epi32(*sum, w[v], four);
                }
            }
        }
    }
}

/* From the integer sums of a block with one tile to the float ones, as matmul.h says. */
static ALWAYS_INLINE void tile_finish(const struct weight_tile *tile, const struct tile_kind kind,
                                      size_t block, const struct act_block *const *x,
                                      const __m512i *i0, const __m512i *i1, unsigned n_tokens,
                                      __m512 *sum) {
    size_t sub0 = block * (32 / kind.sub), sub1 = sub0 + (kind.sub == 16);
    __m512 scale0 = _mm512_load_ps(tile->scale[sub0]), scale1 = _mm512_load_ps(tile->scale[sub1]);
    __m512 minus_start = _mm512_mul_ps(scale0, _mm512_set1_ps(-SUM_START));
    for (unsigned t = 0; t < n_tokens; t++) {
        const struct act_block *a = &x[t][block];
        __m512 u = kind.whole_scale
                       ? _mm512_mul_ps(scale0, _mm512_cvtepi32_ps(i0[t]))
                       : _mm512_fmadd_ps(scale0, _mm512_castsi512_ps(i0[t]), minus_start);
        if (kind.sub == 16)
            u = _mm512_fmadd_ps(scale1, _mm512_cvtepi32_ps(i1[t]), u);
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

static ALWAYS_INLINE void tile_dot_blocks(const struct tile_dot *d, const struct tile_kind kind,
                                          const struct tile_shape shape, size_t block,
                                          const struct act_block *const x[TILE_DOT_TOKENS],
                                          __m512 sum[TILE_DOT_SUMS]) {
    const __m512i low_half = _mm512_set1_epi32(0xffff);
    const __m512i bias = _mm512_set1_epi16((int16_t)-d->bias);
    struct tile_sums s = {.n = kind.sub / 4};
    __m512i i0[TILE_DOT_SUMS], i1[TILE_DOT_SUMS];
    s.start = _mm512_set1_epi32(kind.whole_scale ? 0 : SUM_START_BITS);
    s.weight = kind.sub == 32 ? bias : _mm512_and_si512(bias, low_half);
    tile_sums(s, shape, d, kind, block, x, i0);
    if (kind.sub == 16) { /* converted: only one factor of fma can be free of it */
        s.first = 4;
        s.start = _mm512_setzero_si512();
        s.weight = _mm512_andnot_si512(low_half, bias);
        tile_sums(s, shape, d, kind, block, x, i1);
    }
    for (unsigned b = 0; b < shape.n_blocks; b++) {
        for (unsigned v = 0; v < shape.n_tiles; v++) {
            unsigned i = sum_index(shape, b, v, 0);
            tile_finish(&d->tiles[v], kind, block + b, x, i0 + i, i1 + i, shape.n_tokens,
                        sum + v * shape.n_tokens);
        }
    }
}

static ALWAYS_INLINE void tile_dot_tokens(const struct tile_dot *d, const struct tile_kind kind,
                                          uint32_t n_tiles, uint32_t n_tokens) {
    struct tile_shape shape = {.n_tiles = n_tiles, .n_blocks = 1, .n_tokens = n_tokens};
    const struct act_block *x[TILE_DOT_TOKENS];
    __m512 sum[TILE_DOT_SUMS];
    for (unsigned t = 0; t < n_tokens; t++) {
        x[t] = d->x[t] + d->first_block;
        for (unsigned v = 0; v < n_tiles; v++)
            sum[v * n_tokens + t] = _mm512_load_ps(d->sum[v][t]);
    }
    size_t b = 0;
    if (n_tiles == 1 && n_tokens <= 4) {
        shape.n_blocks = n_tokens == 1 ? 4 : 2;
        for (; b + shape.n_blocks <= d->n_blocks; b += shape.n_blocks) {
            for (unsigned i = 0; i < shape.n_blocks; i++)
                tile_ahead(d, n_tiles, b + i);
            tile_dot_blocks(d, kind, shape, b, x, sum);
        }
        shape.n_blocks = 1;
    }
    for (; b < d->n_blocks; b++) {
        tile_ahead(d, n_tiles, b);
        tile_dot_blocks(d, kind, shape, b, x, sum);
    }
    for (unsigned t = 0; t < n_tokens; t++) {
        for (unsigned v = 0; v < n_tiles; v++)
            _mm512_store_ps(d->sum[v][t], sum[v * n_tokens + t]);
    }
}

#endif
