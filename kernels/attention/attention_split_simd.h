/* SPDX-License-Identifier: Apache-2.0 */
/* One split of attention.h: a group of queries against the keys and values of one KV head.
 *
 * A group is some consecutive rows of one sequence times the query heads that share the KV head;
 * query = row * n_heads_per_kv + head. All of them use a key while it is in the first cache: keys
 * and values are taken to float in tiles of ATTENTION_TILE positions, and the sums of several
 * queries are kept in registers. How queries are grouped does not show in the result, for each of
 * them has its own sums over exactly its own positions. */
#ifndef SHOAL_KERNELS_ATTENTION_ATTENTION_SPLIT_SIMD_H
#define SHOAL_KERNELS_ATTENTION_ATTENTION_SPLIT_SIMD_H

#include "kernels/attention/attention.h"
#include "kernels/device/simd.h"

#include <string.h>

/* 16 KB of floats for d_head 256; a divisor of KV_PAGE_TOKENS and a multiple of KEY_BLOCK. */
#define ATTENTION_TILE 16

/* Queries and keys whose sums are in registers at once, and registers of a value row: 16 sums of
 * the 32 registers of AVX-512, 4 sums in 8 of the 16 registers of AVX2. */
#define QUERY_BLOCK (SIMD_AVX512 ? 4 : 1)
#define KEY_BLOCK   4
#define VALUE_BLOCK 4

/* Results of one split for a group: not normalised, relative to the largest score. */
struct split_partial {
    float *acc;     /* [n_queries, d_head] */
    float *largest; /* [n_queries] */
    float *sum;     /* [n_queries], of the weights */
};

/* The bytes of the next tile that were not yet asked for. Loading it then waits less: the memory
 * works while the sums of this tile are taken. */
struct tile_ahead {
    const unsigned char *at, *end;
};

struct split_work {
    const struct kv_layer *kv;
    const uint32_t *pages; /* of the sequence */
    uint32_t kv_head;
    uint32_t split;
    const float *q;        /* first row, first head of the group: [n_heads_per_kv, d_head] */
    uint64_t q_row_stride; /* in floats */
    uint32_t n_rows, n_heads_per_kv;
    uint32_t pos; /* of the first row */
    float scale;
    struct tile_ahead *ahead;
    float *tile;   /* [ATTENTION_TILE, d_head], scratch */
    float *scores; /* [n_rows * n_heads_per_kv, ATTENTION_SPLIT], scratch */
};

/* Asks for one KB more; called once per block of sums, of which a tile has eight or more when
 * memory is what one waits for. */
static inline void ahead_some(struct tile_ahead *ahead) {
    for (int line = 0; line < 16 && ahead->at < ahead->end; line++, ahead->at += 64)
        _mm_prefetch((const char *)ahead->at, _MM_HINT_T0);
}

/* How many positions of the split a row at `pos` sees. */
static inline uint32_t split_positions(uint32_t pos, uint32_t split) {
    uint32_t begin = split * ATTENTION_SPLIT;
    if (pos < begin)
        return 0;
    return pos - begin < ATTENTION_SPLIT ? pos - begin + 1 : ATTENTION_SPLIT;
}

/* Where the keys (which 0) or values (which 1) of position j of the split and those behind it in
 * its page lie. */
static inline const unsigned char *tile_address(const struct split_work *w, uint32_t which,
                                                uint32_t j) {
    const struct kv_layer *kv = w->kv;
    uint32_t pos = w->split * ATTENTION_SPLIT + j;
    size_t row =
        ((size_t)which * kv->n_kv_heads + w->kv_head) * KV_PAGE_TOKENS + pos % KV_PAGE_TOKENS;
    return kv->pages + w->pages[pos / KV_PAGE_TOKENS] * kv->page_bytes + kv->layer_offset +
           row * dtype_row_bytes(kv->dtype, kv->d_head);
}

/* Says which bytes are read after the tile at j of the n_all positions that the group reads: the
 * next tile, and the first values after the last keys. */
static inline void ahead_begin(const struct split_work *w, uint32_t which, uint32_t j,
                               uint32_t n_all) {
    size_t tile_bytes = ATTENTION_TILE * dtype_row_bytes(w->kv->dtype, w->kv->d_head);
    *w->ahead = (struct tile_ahead){0};
    if (j + ATTENTION_TILE < n_all)
        w->ahead->at = tile_address(w, which, j + ATTENTION_TILE);
    else if (which == 0)
        w->ahead->at = tile_address(w, 1, 0);
    if (w->ahead->at)
        w->ahead->end = w->ahead->at + tile_bytes;
}

/* A tile of n keys or values from position j on, as floats [n, d_head]; they lie in one page. */
static inline const float *tile_load(const struct split_work *w, uint32_t which, uint32_t j,
                                     uint32_t n, uint32_t n_all) {
    const struct kv_layer *kv = w->kv;
    const unsigned char *from = tile_address(w, which, j);
    ahead_begin(w, which, j, n_all);
    if (kv->dtype == DTYPE_F32)
        return (const float *)(const void *)from;
    const uint16_t *half = (const uint16_t *)(const void *)from;
    uint32_t n_elements = n * kv->d_head;
    if (kv->dtype == DTYPE_F16) {
        for (uint32_t i = 0; i < n_elements; i += 16)
            f32x16_store(w->tile + i, f32x16_load_f16(half + i));
    } else {
        for (uint32_t i = 0; i < n_elements; i += 16)
            f32x16_store(w->tile + i, f32x16_load_bf16(half + i));
    }
    return w->tile;
}

/* The products of n_q queries with KEY_BLOCK keys. n_q is a constant where this is used. */
static inline __attribute__((always_inline)) void
dot_block(float *scores, const float *q, const float *keys, uint32_t d, int n_q) {
    f32x16 sum[QUERY_BLOCK][KEY_BLOCK];
    for (int r = 0; r < n_q; r++) {
        for (int j = 0; j < KEY_BLOCK; j++)
            sum[r][j] = f32x16_zero();
    }
    for (uint32_t i = 0; i < d; i += 16) {
        f32x16 key[KEY_BLOCK];
        for (int j = 0; j < KEY_BLOCK; j++)
            key[j] = f32x16_load(keys + (size_t)j * d + i);
        for (int r = 0; r < n_q; r++) {
            f32x16 q_i = f32x16_load(q + (size_t)r * d + i);
            for (int j = 0; j < KEY_BLOCK; j++)
                sum[r][j] = f32x16_fma(q_i, key[j], sum[r][j]);
        }
    }
    for (int r = 0; r < n_q; r++)
        _mm_storeu_ps(scores + (size_t)r * ATTENTION_SPLIT,
                      f32x16_sum4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]));
}

/* acc += weights x values, position after position, for n_q queries and n_c * 16 columns. */
static inline __attribute__((always_inline)) void value_block(float *acc, const float *weights,
                                                              const float *values, uint32_t n,
                                                              uint32_t d, int n_q, int n_c) {
    f32x16 sum[QUERY_BLOCK][VALUE_BLOCK];
    for (int r = 0; r < n_q; r++) {
        for (int c = 0; c < n_c; c++)
            sum[r][c] = f32x16_load(acc + (size_t)r * d + 16 * c);
    }
    for (uint32_t j = 0; j < n; j++) {
        f32x16 value[VALUE_BLOCK];
        for (int c = 0; c < n_c; c++)
            value[c] = f32x16_load(values + (size_t)j * d + 16 * c);
        for (int r = 0; r < n_q; r++) {
            f32x16 weight = f32x16_set1(weights[(size_t)r * ATTENTION_SPLIT + j]);
            for (int c = 0; c < n_c; c++)
                sum[r][c] = f32x16_fma(weight, value[c], sum[r][c]);
        }
    }
    for (int r = 0; r < n_q; r++) {
        for (int c = 0; c < n_c; c++)
            f32x16_store(acc + (size_t)r * d + 16 * c, sum[r][c]);
    }
}

/* n_q heads of a row against a tile of keys. */
static inline __attribute__((always_inline)) void heads_scores(const struct split_work *w,
                                                               float *scores, const float *q,
                                                               const float *keys, uint32_t n_keys,
                                                               int n_q) {
    uint32_t d = w->kv->d_head;
    for (uint32_t key = 0; key < n_keys; key += KEY_BLOCK) {
        ahead_some(w->ahead);
        dot_block(scores + key, q, keys + (size_t)key * d, d, n_q);
    }
}

/* n_q heads of a row times a tile of n values. */
static inline __attribute__((always_inline)) void heads_values(const struct split_work *w,
                                                               float *acc, const float *weights,
                                                               const float *values, uint32_t n,
                                                               int n_q) {
    uint32_t d = w->kv->d_head, i = 0;
    for (; i + 16 * VALUE_BLOCK <= d; i += 16 * VALUE_BLOCK) {
        ahead_some(w->ahead);
        value_block(acc + i, weights, values + i, n, d, n_q, VALUE_BLOCK);
    }
    for (; i < d; i += 16)
        value_block(acc + i, weights, values + i, n, d, n_q, 1);
}

/* One row's heads against a tile of keys. n_keys is rounded up: what lies behind the row's last
 * position is computed and never looked at. */
static inline void row_scores(const struct split_work *w, uint32_t row, const float *keys,
                              uint32_t j, uint32_t n_keys) {
    uint32_t d = w->kv->d_head, n_heads = w->n_heads_per_kv, h = 0;
    const float *q = w->q + row * w->q_row_stride;
    float *scores = w->scores + (size_t)row * n_heads * ATTENTION_SPLIT + j;
    for (; h + QUERY_BLOCK <= n_heads; h += QUERY_BLOCK)
        heads_scores(w, scores + (size_t)h * ATTENTION_SPLIT, q + (size_t)h * d, keys, n_keys,
                     QUERY_BLOCK);
    for (; h < n_heads; h++)
        heads_scores(w, scores + (size_t)h * ATTENTION_SPLIT, q + (size_t)h * d, keys, n_keys, 1);
}

/* One row's heads times a tile of n values. */
static inline void row_values(const struct split_work *w, float *acc, uint32_t row,
                              const float *values, uint32_t j, uint32_t n) {
    uint32_t d = w->kv->d_head, n_heads = w->n_heads_per_kv, h = 0;
    const float *weights = w->scores + (size_t)row * n_heads * ATTENTION_SPLIT + j;
    acc += (size_t)row * n_heads * d;
    for (; h + QUERY_BLOCK <= n_heads; h += QUERY_BLOCK)
        heads_values(w, acc + (size_t)h * d, weights + (size_t)h * ATTENTION_SPLIT, values, n,
                     QUERY_BLOCK);
    for (; h < n_heads; h++)
        heads_values(w, acc + (size_t)h * d, weights + (size_t)h * ATTENTION_SPLIT, values, n, 1);
}

/* Turns one query's products into weights exp(s - largest), n of them, and adds those up. The
 * places behind them up to a multiple of 16 become zeros, which add nothing. */
static inline void split_weights(float *scores, uint32_t n, float scale, float *largest,
                                 float *sum) {
    uint32_t n_padded = (n + 15) & ~15u;
    for (uint32_t j = n; j < n_padded; j++)
        scores[j] = -INFINITY;
    f32x16 factor = f32x16_set1(scale), most = f32x16_set1(-INFINITY), total = f32x16_zero();
    for (uint32_t j = 0; j < n_padded; j += 16) {
        f32x16 s = f32x16_mul(f32x16_load(scores + j), factor);
        f32x16_store(scores + j, s);
        most = f32x16_max(most, s);
    }
    *largest = f32x16_max_lane(most);
    most = f32x16_set1(*largest);
    for (uint32_t j = 0; j < n_padded; j += 16) {
        f32x16 weight = f32x16_exp(f32x16_sub(f32x16_load(scores + j), most));
        f32x16_store(scores + j, weight);
        total = f32x16_add(total, weight);
    }
    *sum = f32x16_sum(total);
}

static inline void split_attend(const struct split_work *w, const struct split_partial *out) {
    uint32_t d = w->kv->d_head;
    uint32_t n = split_positions(w->pos + w->n_rows - 1, w->split);
    for (uint32_t j = 0; j < n; j += ATTENTION_TILE) {
        uint32_t n_keys = n - j < ATTENTION_TILE ? n - j : ATTENTION_TILE;
        n_keys = (n_keys + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK;
        const float *keys = tile_load(w, 0, j, n_keys, n);
        for (uint32_t row = 0; row < w->n_rows; row++) {
            if (j < split_positions(w->pos + row, w->split))
                row_scores(w, row, keys, j, n_keys);
        }
    }
    for (uint32_t row = 0; row < w->n_rows; row++) {
        uint32_t n_row = split_positions(w->pos + row, w->split);
        for (uint32_t h = 0; n_row && h < w->n_heads_per_kv; h++) {
            uint32_t query = row * w->n_heads_per_kv + h;
            split_weights(w->scores + (size_t)query * ATTENTION_SPLIT, n_row, w->scale,
                          &out->largest[query], &out->sum[query]);
        }
    }
    memset(out->acc, 0, (size_t)w->n_rows * w->n_heads_per_kv * d * sizeof(float));
    for (uint32_t j = 0; j < n; j += ATTENTION_TILE) {
        uint32_t n_tile = n - j < ATTENTION_TILE ? n - j : ATTENTION_TILE;
        const float *values = tile_load(w, 1, j, n_tile, n);
        for (uint32_t row = 0; row < w->n_rows; row++) {
            uint32_t n_row = split_positions(w->pos + row, w->split);
            if (j < n_row)
                row_values(w, out->acc, row, values, j, n_row - j < n_tile ? n_row - j : n_tile);
        }
    }
}

#endif
