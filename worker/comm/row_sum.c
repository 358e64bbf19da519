/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops are written in steps of 16, which a compiler makes vectors of without being told
 * to trade size for speed. They are bound by memory: a wider vector than the baseline's gains
 * nothing. */
#include "worker/comm/row_sum.h"

#include "kernels/device/parallel.h"

#include <stdbool.h>
#include <string.h>

/* Columns that are added at a time: the sums on their way stay in the first-level cache. */
#define ROW_SUM_COLUMNS 256
#define ROW_SUM_STEP    16

static void add_pair(float *restrict to, const float *restrict a, const float *restrict b,
                     uint64_t n) {
    uint64_t i = 0;
    for (; i + ROW_SUM_STEP <= n; i += ROW_SUM_STEP) {
        for (uint64_t j = 0; j < ROW_SUM_STEP; j++)
            to[i + j] = a[i + j] + b[i + j];
    }
    for (; i < n; i++)
        to[i] = a[i] + b[i];
}

static void add_to(float *restrict to, const float *restrict from, uint64_t n) {
    uint64_t i = 0;
    for (; i + ROW_SUM_STEP <= n; i += ROW_SUM_STEP) {
        for (uint64_t j = 0; j < ROW_SUM_STEP; j++)
            to[i + j] += from[i + j];
    }
    for (; i < n; i++)
        to[i] += from[i];
}

/* A sum that somebody else's memory begins moves to a place of ours with its first add. */
static void sum_columns(const struct row_sum *sum, float *out, uint64_t d, uint64_t begin,
                        uint64_t end) {
    float scratch[ROW_SUM_TERMS_MAX][ROW_SUM_COLUMNS];
    float *place[ROW_SUM_TERMS_MAX];
    bool is_begun[ROW_SUM_TERMS_MAX] = {false};
    uint64_t n = end - begin;
    for (uint32_t i = 0; i < sum->n_terms; i++)
        place[i] = scratch[i];
    for (uint32_t r = 0; r < sum->n_roots; r++)
        place[sum->roots[r]] = out + r * d + begin;
    for (uint32_t j = 0; j < sum->n_adds; j++) {
        uint32_t to = sum->adds[j].to, from = sum->adds[j].from;
        const float *added = is_begun[from] ? place[from] : sum->terms[from] + begin;
        if (is_begun[to])
            add_to(place[to], added, n);
        else
            add_pair(place[to], sum->terms[to] + begin, added, n);
        is_begun[to] = true;
    }
    for (uint32_t r = 0; r < sum->n_roots; r++) {
        uint32_t root = sum->roots[r];
        if (!is_begun[root])
            memcpy(place[root], sum->terms[root] + begin, n * sizeof *out);
    }
}

/* The share of one thread: pieces of ROW_SUM_COLUMNS columns of all rows, in order. */
static void sum_share(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct row_sums *sums = arg;
    uint64_t d = sums->d, n_rows = sums->row_end - sums->row_begin;
    uint64_t n_pieces = (d + ROW_SUM_COLUMNS - 1) / ROW_SUM_COLUMNS;
    uint64_t begin, end;
    thread_range(n_rows * n_pieces, thread_idx, n_threads, &begin, &end);
    struct row_sum sum;
    float *out = NULL;
    for (uint64_t i = begin; i < end; i++) {
        uint64_t piece = i % n_pieces;
        if (i == begin || piece == 0)
            out = sums->list(sums->user, sums->row_begin + (uint32_t)(i / n_pieces), &sum);
        uint64_t last = (piece + 1) * ROW_SUM_COLUMNS;
        sum_columns(&sum, out, d, piece * ROW_SUM_COLUMNS, last < d ? last : d);
    }
}

void row_sums_run(struct thread_pool *pool, const struct row_sums *sums) {
    struct kernel_ctx ctx = {.pool = pool};
    struct row_sums job = *sums;
    uint64_t n_floats = (uint64_t)(job.row_end - job.row_begin) * job.d * job.n_terms;
    parallel_run(&ctx, sum_share, &job, n_floats);
}

struct copy_job {
    const struct row_copy *copies;
    uint32_t n;
};

/* Every thread takes a piece of every copy. */
static void copy_share(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct copy_job *job = arg;
    for (uint32_t i = 0; i < job->n; i++) {
        const struct row_copy *copy = &job->copies[i];
        uint64_t begin, end;
        thread_range(copy->bytes, thread_idx, n_threads, &begin, &end);
        if (begin < end)
            memcpy((unsigned char *)copy->to + begin, (const unsigned char *)copy->from + begin,
                   end - begin);
    }
}

void row_copies_run(struct thread_pool *pool, const struct row_copy *copies, uint32_t n) {
    struct kernel_ctx ctx = {.pool = pool};
    struct copy_job job = {.copies = copies, .n = n};
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += copies[i].bytes;
    parallel_run(&ctx, copy_share, &job, bytes / sizeof(float));
}
