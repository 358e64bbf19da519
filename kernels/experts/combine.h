/* SPDX-License-Identifier: Apache-2.0 */
/* Adding the experts' results of a token by buckets and their tree (experts.h). The same code in
 * every variant, for the order is a promise between ranks.
 *
 * The adds depend only on the token's expert ids: they are listed once and then carried out over
 * columns. A node of the tree keeps its sum in the row of its first pair, so the root is row 0. */
#ifndef SHOAL_KERNELS_EXPERTS_COMBINE_H
#define SHOAL_KERNELS_EXPERTS_COMBINE_H

#include <assert.h>
#include <string.h>

#include "kernels/experts/experts.h"

/* Columns that one call adds: with 8 rows of them they stay in the first-level cache. */
#define COMBINE_COLUMNS 256

struct combine_add {
    uint32_t to, from; /* slots: row `to` += row `from` */
};

/* top_k - 1 adds. Level 0 joins the slots of a bucket in order, level l the nodes of 2^l buckets,
 * of which there are at most two. */
static inline void combine_list(const uint32_t *ids, uint32_t top_k, uint32_t n_experts,
                                struct combine_add adds[EXPERT_TOP_K_MAX]) {
    uint32_t bucket[EXPERT_TOP_K_MAX], slot[EXPERT_TOP_K_MAX];
    uint32_t n_nodes = top_k, n_adds = 0;
    for (uint32_t s = 0; s < top_k; s++) {
        bucket[s] = (uint32_t)((uint64_t)ids[s] * EXPERT_BUCKETS / n_experts);
        slot[s] = s;
    }
    for (uint32_t width = 1; width <= EXPERT_BUCKETS; width *= 2) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < n_nodes; i++) {
            if (n > 0 && bucket[n - 1] / width == bucket[i] / width) {
                adds[n_adds++] = (struct combine_add){.to = slot[n - 1], .from = slot[i]};
            } else {
                bucket[n] = bucket[i];
                slot[n++] = slot[i];
            }
        }
        n_nodes = n;
    }
    assert(n_nodes == 1 && n_adds == top_k - 1);
}

/* Columns begin..end-1 of one token: y = the sum of weight * row. The rows are used up. */
static inline void combine_columns(const struct experts_args *a, uint32_t token,
                                   const struct combine_add *adds, uint64_t begin, uint64_t end) {
    uint64_t d = a->down->d_out, n = end - begin;
    float *rows = a->down_out + (uint64_t)token * a->top_k * d + begin;
    for (uint32_t s = 0; s < a->top_k; s++) {
        float weight = a->weights[(uint64_t)token * a->top_k + s];
        for (uint64_t i = 0; i < n; i++)
            rows[s * d + i] *= weight;
    }
    for (uint32_t j = 0; j + 1 < a->top_k; j++) {
        float *to = rows + adds[j].to * d;
        const float *from = rows + adds[j].from * d;
        for (uint64_t i = 0; i < n; i++)
            to[i] += from[i];
    }
    memcpy(a->y + token * d + begin, rows, n * sizeof *rows);
}

/* The share of one thread: pieces of COMBINE_COLUMNS columns of all tokens, in order. */
static inline void combine_share(const struct experts_args *a, uint32_t thread_idx,
                                 uint32_t n_threads) {
    uint64_t d = a->down->d_out;
    uint64_t n_pieces = (d + COMBINE_COLUMNS - 1) / COMBINE_COLUMNS;
    uint64_t begin, end;
    thread_range(a->x->n_tokens * n_pieces, thread_idx, n_threads, &begin, &end);
    struct combine_add adds[EXPERT_TOP_K_MAX];
    for (uint64_t i = begin; i < end; i++) {
        uint32_t token = (uint32_t)(i / n_pieces);
        uint64_t piece = i % n_pieces;
        if (i == begin || piece == 0)
            combine_list(a->ids + (uint64_t)token * a->top_k, a->top_k, a->down->n_experts, adds);
        uint64_t last = (piece + 1) * COMBINE_COLUMNS;
        combine_columns(a, token, adds, piece * COMBINE_COLUMNS, last < d ? last : d);
    }
}

#endif
