/* SPDX-License-Identifier: Apache-2.0 */
/* attention.h over all threads: how the work is divided, and how splits are merged.
 *
 * 1. An item is (group of queries, split); a group is a block of consecutive rows of a sequence
 *    with the query heads of one KV head (attention_split_simd.h). Prefill has many groups, decode
 *    has many splits; either way there are many items.
 * 2. Items are done in waves of as many as partial results fit scratch: first all threads compute
 *    the wave's partial results, then all threads merge them, each query by one thread, splits in
 *    order. So memory is bounded for any context, and one row may use all threads.
 * 3. Items come group by group, so at most one group is unfinished at the end of a wave. Its sums
 *    so far wait in `out`, its largest scores and weights in `carry`, of which there are two: in
 *    one phase a thread may read the last wave's while another writes this wave's. */
#ifndef SHOAL_KERNELS_ATTENTION_ATTENTION_SIMD_H
#define SHOAL_KERNELS_ATTENTION_ATTENTION_SIMD_H

#include "base/size.h"
#include "kernels/attention/attention_split_simd.h"
#include "kernels/device/parallel.h"
#include "kernels/quant/activation_simd.h"

#include <assert.h>

/* Queries of a group at most, unless one row has more: 64 KB of sums for d_head 256, which leaves
 * room for several partial results and reads each key tile 64 times. */
#define GROUP_QUERIES 64

/* An item: the place of its group among the rows, and its split. */
struct attention_item {
    uint32_t entry; /* of args.rows */
    uint32_t row;   /* first of the group, within the entry */
    uint32_t kv_head;
    uint32_t split;
};

/* Largest score and sum of weights of a query so far; its values are in `out`. */
struct attention_carry {
    float largest, sum;
};

struct attention_job {
    struct attention_args args;
    const struct kernel_ctx *k;
    uint32_t n_kv_heads; /* that the query heads read */
    uint32_t heads_max;  /* query heads of a group */
    uint32_t rows_max;   /* of a group */
    size_t tile_bytes, scores_bytes, carry_bytes, partial_bytes;
    uint32_t n_partials; /* in each thread's scratch */
    struct attention_item wave_begin;
    uint32_t wave_idx, wave_items;
};

/* The query heads that read the item's KV head: the first may have fewer before this rank's, the
 * last fewer behind. */
static inline uint32_t group_head(const struct attention_job *job,
                                  const struct attention_item *item) {
    uint32_t whole = item->kv_head * job->args.heads_per_kv;
    return whole > job->args.first_head ? whole - job->args.first_head : 0;
}

static inline uint32_t group_heads(const struct attention_job *job,
                                   const struct attention_item *item) {
    uint32_t end = (item->kv_head + 1) * job->args.heads_per_kv - job->args.first_head;
    return (end < job->args.n_heads ? end : job->args.n_heads) - group_head(job, item);
}

static inline uint32_t group_rows(const struct attention_job *job,
                                  const struct attention_item *item) {
    uint32_t left = job->args.rows[item->entry].n_rows - item->row;
    return left < job->rows_max ? left : job->rows_max;
}

static inline uint32_t group_splits(const struct attention_job *job,
                                    const struct attention_item *item) {
    uint32_t last = item->row + group_rows(job, item) - 1;
    return (job->args.rows[item->entry].pos_begin + last) / ATTENTION_SPLIT + 1;
}

/* Moves to the next group: KV heads of the same rows first. */
static inline void next_group(const struct attention_job *job, struct attention_item *item) {
    item->split = 0;
    if (++item->kv_head < job->n_kv_heads)
        return;
    item->kv_head = 0;
    item->row += group_rows(job, item);
    if (item->row < job->args.rows[item->entry].n_rows)
        return;
    item->row = 0;
    item->entry++;
}

/* Moves on by one item. */
static inline void next_item(const struct attention_job *job, struct attention_item *item) {
    if (++item->split == group_splits(job, item))
        next_group(job, item);
}

/* Partial result `idx` of the wave. Which thread's scratch it lies in says nothing about who
 * computes it. */
static inline struct split_partial partial_at(const struct attention_job *job, uint32_t idx) {
    unsigned char *scratch = kernel_scratch(job->k, idx / job->n_partials);
    size_t n_queries = (size_t)job->rows_max * job->heads_max;
    size_t fixed = job->tile_bytes + job->scores_bytes + 2 * job->carry_bytes;
    float *at = (float *)(void *)(scratch + fixed + idx % job->n_partials * job->partial_bytes);
    return (struct split_partial){.acc = at,
                                  .largest = at + n_queries * job->args.kv->d_head,
                                  .sum = at + n_queries * (job->args.kv->d_head + 1)};
}

/* The carries that a wave leaves behind, in the first thread's scratch. */
static inline struct attention_carry *carry_of(const struct attention_job *job, uint32_t wave_idx) {
    unsigned char *at = (unsigned char *)kernel_scratch(job->k, 0) + job->tile_bytes +
                        job->scores_bytes + wave_idx % 2 * job->carry_bytes;
    return (struct attention_carry *)(void *)at;
}

static void attention_partials(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct attention_job *job = arg;
    const struct attention_args *a = &job->args;
    uint32_t d = a->kv->d_head;
    unsigned char *scratch = kernel_scratch(job->k, thread_idx);
    struct attention_item item = job->wave_begin;
    for (uint32_t i = 0; i < job->wave_items; i++, next_item(job, &item)) {
        if (i % n_threads != thread_idx)
            continue;
        const struct kv_rows *rows = &a->rows[item.entry];
        struct split_work work = {
            .kv = a->kv,
            .pages = rows->pages,
            .kv_head = item.kv_head,
            .split = item.split,
            .q = a->q +
                 ((uint64_t)(rows->row_begin + item.row) * a->n_heads + group_head(job, &item)) * d,
            .q_row_stride = (uint64_t)a->n_heads * d,
            .n_rows = group_rows(job, &item),
            .n_heads = group_heads(job, &item),
            .pos = rows->pos_begin + item.row,
            .scale = a->scale,
            .tile = (float *)(void *)scratch,
            .scores = (float *)(void *)(scratch + job->tile_bytes),
        };
        struct split_partial partial = partial_at(job, i);
        split_attend(&work, &partial);
    }
}

static inline float exp_of(float x) {
    float lanes[16];
    f32x16_store(lanes, f32x16_exp(f32x16_set1(x)));
    return lanes[0];
}

/* Adds one split to what `out` and `sofar` hold. */
static inline void merge_split(float *out, struct attention_carry *sofar, const float *acc,
                               float largest, float sum, uint32_t d) {
    float both = sofar->largest > largest ? sofar->largest : largest;
    float factor = exp_of(sofar->largest - both), factor_split = exp_of(largest - both);
    f32x16 f = f32x16_set1(factor), f_split = f32x16_set1(factor_split);
    for (uint32_t i = 0; i < d; i += 16) {
        f32x16 old = f32x16_mul(f32x16_load(out + i), f);
        f32x16_store(out + i, f32x16_fma(f32x16_load(acc + i), f_split, old));
    }
    sofar->sum = fmaf(sum, factor_split, sofar->sum * factor);
    sofar->largest = both;
}

/* out / sum, times the gate's sigmoid if there is one. */
static inline void finish_query(float *out, float sum, const float *gate, uint32_t d) {
    f32x16 total = f32x16_set1(sum);
    for (uint32_t i = 0; i < d; i += 16) {
        f32x16 y = f32x16_div(f32x16_load(out + i), total);
        if (gate)
            y = f32x16_mul(y, f32x16_sigmoid(f32x16_load(gate + i)));
        f32x16_store(out + i, y);
    }
}

/* One query of a group whose splits item.split .. item.split+n_splits-1 are the partial results
 * from `idx` on. */
static inline void merge_query(const struct attention_job *job, const struct attention_item *item,
                               uint32_t query, uint32_t idx, uint32_t n_splits) {
    const struct attention_args *a = &job->args;
    const struct kv_rows *rows = &a->rows[item->entry];
    uint32_t d = a->kv->d_head, n_heads = group_heads(job, item);
    uint32_t row = item->row + query / n_heads;
    uint32_t head = group_head(job, item) + query % n_heads;
    uint64_t token = (uint64_t)rows->row_begin + row;
    float *out = a->out + (token * a->n_heads + head) * d;
    struct attention_carry sofar = {0};
    if (item->split > 0)
        sofar = carry_of(job, job->wave_idx + 1)[query];
    for (uint32_t s = 0; s < n_splits; s++) {
        if (split_positions(rows->pos_begin + row, item->split + s) == 0)
            break;
        struct split_partial partial = partial_at(job, idx + s);
        const float *acc = partial.acc + (size_t)query * d;
        if (item->split + s == 0) {
            memcpy(out, acc, d * sizeof(float));
            sofar.largest = partial.largest[query];
            sofar.sum = partial.sum[query];
        } else {
            merge_split(out, &sofar, acc, partial.largest[query], partial.sum[query], d);
        }
    }
    if (item->split + n_splits < group_splits(job, item)) {
        carry_of(job, job->wave_idx)[query] = sofar;
        return;
    }
    const float *gate =
        a->gate ? a->gate + token * a->gate_token_stride + head * a->gate_head_stride : NULL;
    finish_query(out, sofar.sum, gate, d);
    if (a->blocks)
        activation_quantise_run(out, a->blocks + (token * a->n_heads + head) * (d / ACT_BLOCK), d);
}

static void attention_merge(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct attention_job *job = arg;
    struct attention_item item = job->wave_begin;
    uint32_t turn = 0;
    for (uint32_t i = 0; i < job->wave_items;) {
        uint32_t n_splits = group_splits(job, &item) - item.split;
        if (n_splits > job->wave_items - i)
            n_splits = job->wave_items - i;
        uint32_t n_queries = group_rows(job, &item) * group_heads(job, &item);
        for (uint32_t query = 0; query < n_queries; query++) {
            if (turn++ % n_threads == thread_idx)
                merge_query(job, &item, query, i, n_splits);
        }
        i += n_splits;
        next_group(job, &item);
    }
}

/* Lays out scratch: tile, scores, two carries, then as many partial results as fit. */
static inline void plan_scratch(struct attention_job *job, uint32_t n_rows_max) {
    uint32_t d = job->args.kv->d_head;
    uint32_t rows = GROUP_QUERIES / job->heads_max;
    if (rows > n_rows_max)
        rows = n_rows_max;
    job->rows_max = rows ? rows : 1;
    size_t n_queries = (size_t)job->rows_max * job->heads_max;
    job->tile_bytes = (size_t)KV_PAGE_TOKENS * d * sizeof(float);
    job->scores_bytes = n_queries * ATTENTION_SPLIT * sizeof(float);
    job->carry_bytes = align_up(n_queries * sizeof(struct attention_carry), 64);
    job->partial_bytes = align_up(n_queries * (d + 2) * sizeof(float), 64);
    size_t fixed = job->tile_bytes + job->scores_bytes + 2 * job->carry_bytes;
    assert(fixed + job->partial_bytes <= KERNEL_SCRATCH_BYTES);
    job->n_partials = (uint32_t)((KERNEL_SCRATCH_BYTES - fixed) / job->partial_bytes);
}

static inline void attention_simd(struct kernel_ctx *k, const struct attention_args *a) {
    if (a->n_heads == 0)
        return;
    struct attention_job job = {
        .args = *a,
        .k = k,
        .n_kv_heads = (a->first_head + a->n_heads - 1) / a->heads_per_kv + 1,
        .heads_max = a->n_heads < a->heads_per_kv ? a->n_heads : a->heads_per_kv};
    assert(a->first_head < a->heads_per_kv && job.n_kv_heads <= a->kv->n_kv_heads);
    assert(!a->blocks || a->kv->d_head % ACT_BLOCK == 0);
    uint32_t n_rows_max = 0;
    uint64_t n_floats = 0, n_items = 0;
    for (uint32_t e = 0; e < a->n_rows_entries; e++) {
        assert(a->rows[e].n_rows > 0);
        if (a->rows[e].n_rows > n_rows_max)
            n_rows_max = a->rows[e].n_rows;
        n_floats += (uint64_t)2 * (a->rows[e].pos_begin + a->rows[e].n_rows) * a->kv->n_kv_heads *
                    a->kv->d_head;
    }
    plan_scratch(&job, n_rows_max);
    struct attention_item item = {0};
    while (item.entry < a->n_rows_entries) {
        n_items += group_splits(&job, &item);
        next_group(&job, &item);
    }
    uint64_t wave_max = (uint64_t)job.n_partials * thread_pool_n_threads(k->pool);
    for (; n_items; n_items -= job.wave_items, job.wave_idx++) {
        job.wave_items = (uint32_t)(n_items < wave_max ? n_items : wave_max);
        parallel_run(k, attention_partials, &job, n_floats);
        parallel_run(k, attention_merge, &job, n_floats);
        for (uint32_t i = 0; i < job.wave_items; i++)
            next_item(&job, &job.wave_begin);
    }
}

#endif
