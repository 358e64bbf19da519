/* SPDX-License-Identifier: Apache-2.0 */
/* Adding the experts' results of a token by buckets and their tree (experts.h). The same code in
 * every variant, for the order is a promise between ranks.
 *
 * The adds depend only on the token's expert ids: they are listed once and then carried out over
 * columns. A node of the tree keeps its sum in the row of its first pair. */
#ifndef SHOAL_KERNELS_EXPERTS_COMBINE_H
#define SHOAL_KERNELS_EXPERTS_COMBINE_H

#include <string.h>

#include "kernels/experts/experts.h"
#include "kernels/experts/order.h"

/* Columns that one call adds: with 8 rows of them they stay in the first-level cache. */
#define COMBINE_COLUMNS 256

/* What one token has here. Slots of own experts follow each other, for ids rise. */
struct combine_list {
    struct tree_add adds[EXPERT_TOP_K_MAX];   /* of slots */
    struct tree_term roots[EXPERT_TOP_K_MAX]; /* slots that hold the sums at last */
    uint32_t slot_begin, n_slots, n_adds, n_roots;
};

static inline void combine_list_make(const struct experts_args *a, uint32_t token,
                                     struct combine_list *list) {
    const uint32_t *ids = a->ids + (uint64_t)token * a->top_k;
    uint32_t n = 0, expert;
    for (uint32_t s = 0; s < a->top_k; s++) {
        if (expert_is_own(a, ids[s], &expert))
            list->roots[n++] = (struct tree_term){.leaf = expert_bucket(a, ids[s]), .term = s};
    }
    list->slot_begin = n > 0 ? list->roots[0].term : 0;
    list->n_slots = n;
    list->n_roots = tree_fold(EXPERT_BUCKETS, a->buckets, list->roots, n, list->adds);
    list->n_adds = n - list->n_roots;
}

/* Columns begin..end-1 of one token, whose rows of y are those from `y_row` on: sums of weight *
 * row. The rows are used up. */
static inline void combine_columns(const struct experts_args *a, const struct combine_list *list,
                                   uint32_t token, uint64_t y_row, uint64_t begin, uint64_t end) {
    uint64_t d = a->down->d_out, n = end - begin;
    float *rows = a->down_out + (uint64_t)token * a->top_k * d + begin;
    for (uint32_t s = list->slot_begin; s < list->slot_begin + list->n_slots; s++) {
        float weight = a->weights[(uint64_t)token * a->top_k + s];
        for (uint64_t i = 0; i < n; i++)
            rows[s * d + i] *= weight;
    }
    for (uint32_t j = 0; j < list->n_adds; j++) {
        float *to = rows + list->adds[j].to * d;
        const float *from = rows + list->adds[j].from * d;
        for (uint64_t i = 0; i < n; i++)
            to[i] += from[i];
    }
    for (uint32_t r = 0; r < list->n_roots; r++)
        memcpy(a->y + (y_row + r) * d + begin, rows + list->roots[r].term * d, n * sizeof *rows);
}

/* The share of one thread: pieces of COMBINE_COLUMNS columns of all tokens, in order. */
static inline void combine_share(const struct experts_args *a, const struct expert_order *order,
                                 uint32_t thread_idx, uint32_t n_threads) {
    uint64_t d = a->down->d_out;
    uint64_t n_pieces = (d + COMBINE_COLUMNS - 1) / COMBINE_COLUMNS;
    uint64_t begin, end;
    thread_range(a->x->n_tokens * n_pieces, thread_idx, n_threads, &begin, &end);
    struct combine_list list;
    for (uint64_t i = begin; i < end; i++) {
        uint32_t token = (uint32_t)(i / n_pieces);
        uint64_t piece = i % n_pieces;
        if (i == begin || piece == 0)
            combine_list_make(a, token, &list);
        uint64_t last = (piece + 1) * COMBINE_COLUMNS;
        if (list.n_slots > 0)
            combine_columns(a, &list, token, order->y_begin[token], piece * COMBINE_COLUMNS,
                            last < d ? last : d);
    }
}

#endif
