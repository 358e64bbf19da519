/* SPDX-License-Identifier: Apache-2.0 */
/* One split of attention.h: a group of queries against the keys and values of one KV head.
 *
 * A group is some consecutive rows of one sequence times the query heads that share the KV head;
 * query = row * n_heads + head. The positions are taken page by page, and what a page holds
 * of the head is a tile. For scores the lanes are positions, so a key element is one load for 16 of
 * them and nothing is added across lanes; for the results the lanes are elements of the value.
 * Either way the sums of several queries are kept in registers, which use what is loaded together.
 *
 * One row alone reads each tile once, and turns it to float as it goes; the tile that comes next is
 * asked for line by line meanwhile. More rows share a tile that is turned to float before. How
 * queries are grouped does not show in the result, for each of them has its own sums over exactly
 * its own positions. */
#ifndef SHOAL_KERNELS_ATTENTION_ATTENTION_SPLIT_SIMD_H
#define SHOAL_KERNELS_ATTENTION_ATTENTION_SPLIT_SIMD_H

#include "kernels/attention/attention.h"
#include "kernels/device/simd.h"

#include <string.h>

/* Queries whose sums are in registers at once, and vectors of positions or elements that each of
 * them is summed over: 16 sums of the 32 registers of AVX-512, or 4 double ones of AVX2's 16. */
#define QUERY_BLOCK  (SIMD_AVX512 ? 8 : 4)
#define VECTOR_BLOCK (SIMD_AVX512 ? 2 : 1)

/* d_head of the family. As a constant it makes the places of a block's queries fixed distances;
 * eight pointers to them do not fit the general registers. */
#define HEAD_USUAL 256

_Static_assert(KV_PAGE_TOKENS % (16 * VECTOR_BLOCK) == 0, "scores of a page are whole blocks");

/* Results of one split for a group: not normalised, relative to the largest score. */
struct split_partial {
    float *acc;     /* [n_queries, d_head] */
    float *largest; /* [n_queries] */
    float *sum;     /* [n_queries], of the weights */
};

struct split_work {
    const struct kv_layer *kv;
    const uint32_t *pages; /* of the sequence */
    uint32_t kv_head;
    uint32_t split;
    const float *q;        /* first row, first head of the group: [n_heads, d_head] */
    uint64_t q_row_stride; /* in floats */
    uint32_t n_rows, n_heads;
    uint32_t pos; /* of the first row */
    float scale;
    float *tile;   /* [KV_PAGE_TOKENS * d_head], scratch */
    float *scores; /* [n_rows * n_heads, ATTENTION_SPLIT], scratch */
};

/* Keys [d_head, KV_PAGE_TOKENS] or values [KV_PAGE_TOKENS, d_head] of a page. */
struct kv_tile {
    const unsigned char *data;
    const unsigned char *ahead; /* the tile that is read after it */
    enum dtype dtype;
};

/* How many positions of the split a row at `pos` sees. */
static inline uint32_t split_positions(uint32_t pos, uint32_t split) {
    uint32_t begin = split * ATTENTION_SPLIT;
    if (pos < begin)
        return 0;
    return pos - begin < ATTENTION_SPLIT ? pos - begin + 1 : ATTENTION_SPLIT;
}

/* Where the keys (which 0) or values (which 1) of the page with position j of the split lie. */
static inline const unsigned char *tile_address(const struct split_work *w, uint32_t which,
                                                uint32_t j) {
    const struct kv_layer *kv = w->kv;
    uint32_t page = (w->split * ATTENTION_SPLIT + j) / KV_PAGE_TOKENS;
    size_t row = ((size_t)which * kv->n_kv_heads + w->kv_head) * KV_PAGE_TOKENS;
    return kv->pages + w->pages[page] * kv->page_bytes + kv->layer_offset +
           row * dtype_row_bytes(kv->dtype, kv->d_head);
}

/* 16 elements from number i on. dtype is a constant where this is used. */
static inline __attribute__((always_inline)) f32x16 tile_load(const unsigned char *data, size_t i,
                                                              enum dtype dtype) {
    if (dtype == DTYPE_F32)
        return f32x16_load((const float *)(const void *)data + i);
    const uint16_t *half = (const uint16_t *)(const void *)data + i;
    return dtype == DTYPE_F16 ? f32x16_load_f16(half) : f32x16_load_bf16(half);
}

/* Asks for the line of the next tile that lies as elements i of this one do. Not where floats are
 * read: they are in scratch. (Always inline: a function that only prefetches has no effect in the
 * compiler's eyes, and its calls are dropped.) */
static inline __attribute__((always_inline)) void tile_ahead(const struct kv_tile *tile, size_t i,
                                                             enum dtype dtype) {
    if (dtype != DTYPE_F32)
        _mm_prefetch((const char *)tile->ahead + 2 * i, _MM_HINT_T0);
}

/* The tile at position j of the n that the group reads; behind the last keys come the first values.
 * A group of several rows gets floats in scratch. */
static inline struct kv_tile tile_open(const struct split_work *w, uint32_t which, uint32_t j,
                                       uint32_t n) {
    struct kv_tile tile = {.data = tile_address(w, which, j), .dtype = w->kv->dtype};
    tile.ahead = tile.data;
    if (j + KV_PAGE_TOKENS < n)
        tile.ahead = tile_address(w, which, j + KV_PAGE_TOKENS);
    else if (which == 0)
        tile.ahead = tile_address(w, 1, 0);
    if (w->n_rows == 1 || tile.dtype == DTYPE_F32)
        return tile;
    size_t n_elements = (size_t)KV_PAGE_TOKENS * w->kv->d_head;
    if (which == 1 && n - j < KV_PAGE_TOKENS)
        n_elements = (size_t)(n - j) * w->kv->d_head;
    for (size_t i = 0; i < n_elements; i += 16) {
        f32x16 x = tile.dtype == DTYPE_F16 ? tile_load(tile.data, i, DTYPE_F16)
                                           : tile_load(tile.data, i, DTYPE_BF16);
        f32x16_store(w->tile + i, x);
    }
    return (struct kv_tile){.data = (const unsigned char *)(const void *)w->tile,
                            .ahead = tile.ahead,
                            .dtype = DTYPE_F32};
}

/* The products of n_q queries with the keys of a page. Here and below n_q and dtype are constants
 * where it is used. */
static inline __attribute__((always_inline)) void score_block(float *scores, const float *q,
                                                              const struct kv_tile *keys,
                                                              uint32_t d, int n_q,
                                                              enum dtype dtype) {
    for (int from = 0; from < KV_PAGE_TOKENS; from += 16 * VECTOR_BLOCK) {
        f32x16 sum[QUERY_BLOCK][VECTOR_BLOCK];
        for (int r = 0; r < n_q; r++) {
            for (int c = 0; c < VECTOR_BLOCK; c++)
                sum[r][c] = f32x16_zero();
        }
        for (uint32_t i = 0; i < d; i++) {
            f32x16 key[VECTOR_BLOCK];
            size_t at = (size_t)i * KV_PAGE_TOKENS + from;
            tile_ahead(keys, at, dtype);
            for (int c = 0; c < VECTOR_BLOCK; c++)
                key[c] = tile_load(keys->data, at + 16 * c, dtype);
            for (int r = 0; r < n_q; r++) {
                f32x16 q_i = f32x16_set1(q[(size_t)r * d + i]);
                for (int c = 0; c < VECTOR_BLOCK; c++)
                    sum[r][c] = f32x16_fma(q_i, key[c], sum[r][c]);
            }
        }
        for (int r = 0; r < n_q; r++) {
            for (int c = 0; c < VECTOR_BLOCK; c++)
                f32x16_store(scores + (size_t)r * ATTENTION_SPLIT + from + 16 * c, sum[r][c]);
        }
    }
}

/* acc += weights x values of n positions, position after position, for n_q queries and n_c * 16
 * elements from i on. */
static inline __attribute__((always_inline)) void value_block(float *acc, const float *weights,
                                                              const struct kv_tile *values,
                                                              uint32_t i, uint32_t n, uint32_t d,
                                                              int n_q, int n_c, enum dtype dtype) {
    f32x16 sum[QUERY_BLOCK][VECTOR_BLOCK];
    for (int r = 0; r < n_q; r++) {
        for (int c = 0; c < n_c; c++)
            sum[r][c] = f32x16_load(acc + (size_t)r * d + i + 16 * c);
    }
    for (uint32_t j = 0; j < n; j++) {
        f32x16 value[VECTOR_BLOCK];
        size_t at = (size_t)j * d + i;
        tile_ahead(values, at, dtype);
        for (int c = 0; c < n_c; c++)
            value[c] = tile_load(values->data, at + 16 * c, dtype);
        for (int r = 0; r < n_q; r++) {
            f32x16 weight = f32x16_set1(weights[(size_t)r * ATTENTION_SPLIT + j]);
            for (int c = 0; c < n_c; c++)
                sum[r][c] = f32x16_fma(weight, value[c], sum[r][c]);
        }
    }
    for (int r = 0; r < n_q; r++) {
        for (int c = 0; c < n_c; c++)
            f32x16_store(acc + (size_t)r * d + i + 16 * c, sum[r][c]);
    }
}

/* What a block of queries meets in one tile: their scores, or their weights and results. */
struct query_block {
    const float *q; /* [d_head] each, one behind the other */
    float *scores;  /* [ATTENTION_SPLIT] each, at the tile's first position */
    float *acc;     /* [d_head] each, or NULL: scores are wanted */
    uint32_t n;     /* positions of the tile that the queries see */
};

static inline __attribute__((always_inline)) void block_typed(const struct query_block *b,
                                                              const struct kv_tile *tile,
                                                              uint32_t d, int n_q,
                                                              enum dtype dtype) {
    if (!b->acc) {
        score_block(b->scores, b->q, tile, d, n_q, dtype);
        return;
    }
    uint32_t i = 0;
    for (; i + 16 * VECTOR_BLOCK <= d; i += 16 * VECTOR_BLOCK)
        value_block(b->acc, b->scores, tile, i, b->n, d, n_q, VECTOR_BLOCK, dtype);
    for (; i < d; i += 16)
        value_block(b->acc, b->scores, tile, i, b->n, d, n_q, 1, dtype);
}

static inline __attribute__((always_inline)) void
block_run(const struct query_block *b, const struct kv_tile *tile, uint32_t d, int n_q) {
    if (tile->dtype == DTYPE_F32)
        block_typed(b, tile, d, n_q, DTYPE_F32);
    else if (tile->dtype == DTYPE_F16)
        block_typed(b, tile, d, n_q, DTYPE_F16);
    else
        block_typed(b, tile, d, n_q, DTYPE_BF16);
}

/* All rows of the group that see the tile at position j. acc: the group's, or NULL for scores. */
static inline void tile_run(const struct split_work *w, const struct kv_tile *tile, uint32_t j,
                            float *acc) {
    uint32_t d = w->kv->d_head, n_heads = w->n_heads;
    for (uint32_t row = 0; row < w->n_rows; row++) {
        uint32_t n_row = split_positions(w->pos + row, w->split);
        if (j >= n_row)
            continue;
        uint32_t n = n_row - j < KV_PAGE_TOKENS ? n_row - j : KV_PAGE_TOKENS, n_q;
        for (uint32_t h = 0; h < n_heads; h += n_q) {
            size_t query = (size_t)row * n_heads + h;
            struct query_block b = {.q = w->q + row * w->q_row_stride + (size_t)h * d,
                                    .scores = w->scores + query * ATTENTION_SPLIT + j,
                                    .acc = acc ? acc + query * d : NULL,
                                    .n = n};
            uint32_t left = n_heads - h;
            n_q = left >= QUERY_BLOCK ? QUERY_BLOCK : left >= 4 ? 4 : left >= 2 ? 2 : 1;
            if (n_q == QUERY_BLOCK && d == HEAD_USUAL)
                block_run(&b, tile, HEAD_USUAL, QUERY_BLOCK);
            else if (n_q == QUERY_BLOCK)
                block_run(&b, tile, d, QUERY_BLOCK);
            else if (n_q == 4)
                block_run(&b, tile, d, 4);
            else if (n_q == 2)
                block_run(&b, tile, d, 2);
            else
                block_run(&b, tile, d, 1);
        }
    }
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
    uint32_t n = split_positions(w->pos + w->n_rows - 1, w->split);
    for (uint32_t j = 0; j < n; j += KV_PAGE_TOKENS) {
        struct kv_tile keys = tile_open(w, 0, j, n);
        tile_run(w, &keys, j, NULL);
    }
    for (uint32_t row = 0; row < w->n_rows; row++) {
        uint32_t n_row = split_positions(w->pos + row, w->split);
        for (uint32_t h = 0; n_row && h < w->n_heads; h++) {
            uint32_t query = row * w->n_heads + h;
            split_weights(w->scores + (size_t)query * ATTENTION_SPLIT, n_row, w->scale,
                          &out->largest[query], &out->sum[query]);
        }
    }
    memset(out->acc, 0, (size_t)w->n_rows * w->n_heads * w->kv->d_head * sizeof(float));
    for (uint32_t j = 0; j < n; j += KV_PAGE_TOKENS) {
        struct kv_tile values = tile_open(w, 1, j, n);
        tile_run(w, &values, j, out->acc);
    }
}

#endif
