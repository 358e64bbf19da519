/* SPDX-License-Identifier: Apache-2.0 */
/* The choices of a step, sorted by expert: which rows each own expert has to multiply, and where
 * the results of each token go.
 *
 * A pair is one choice of one token, numbered token * top_k + slot; its number is also its row in
 * the scratch of experts_args. Pairs of other ranks' experts are left out. A counting sort keeps
 * the pairs of an expert in the order of tokens. Built by one thread before the others start; a
 * view into args->order. */
#ifndef SHOAL_KERNELS_EXPERTS_ORDER_H
#define SHOAL_KERNELS_EXPERTS_ORDER_H

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/experts/experts.h"

struct expert_order {
    const uint32_t *pairs;   /* [n_pairs], grouped by expert */
    const uint32_t *begin;   /* [n own experts + 1]: where an expert's pairs begin */
    const uint32_t *active;  /* [n_active]: the own experts that have any, rising */
    const uint32_t *y_begin; /* [n_tokens]: a token's first row of y */
    uint32_t n_active;
    uint32_t n_pairs;
};

static inline uint32_t expert_bucket(const struct experts_args *a, uint32_t id) {
    return (uint32_t)((uint64_t)id * EXPERT_BUCKETS / a->n_experts_all);
}

/* Its place among the own ones; false if it is another rank's. */
static inline bool expert_is_own(const struct experts_args *a, uint32_t id, uint32_t *expert) {
    *expert = id - a->first_expert;
    return id >= a->first_expert && *expert < a->gate->n_experts;
}

/* roots[bucket] = first bucket of the largest own subtree that holds it, the same for two buckets
 * exactly if the tree joins them here. */
static inline void order_roots(struct leaf_range own, uint8_t roots[EXPERT_BUCKETS]) {
    for (uint32_t bucket = own.begin; bucket < own.end; bucket++) {
        uint32_t begin = bucket;
        for (uint32_t width = 2; width <= EXPERT_BUCKETS; width *= 2) {
            uint32_t wider = bucket / width * width;
            if (wider < own.begin || wider + width > own.end)
                break;
            begin = wider;
        }
        roots[bucket] = (uint8_t)begin;
    }
}

/* Where each token's rows of y begin. Ids rise, so the choices under one root are neighbours. */
static inline void order_rows(const struct experts_args *a, uint32_t *y_begin) {
    uint8_t roots[EXPERT_BUCKETS];
    order_roots(a->buckets, roots);
    uint32_t n_rows = 0;
    for (uint32_t t = 0; t < a->x->n_tokens; t++) {
        const uint32_t *ids = a->ids + (size_t)t * a->top_k;
        uint32_t last = EXPERT_BUCKETS, expert;
        y_begin[t] = n_rows;
        for (uint32_t s = 0; s < a->top_k; s++) {
            if (!expert_is_own(a, ids[s], &expert))
                continue;
            uint32_t root = roots[expert_bucket(a, ids[s])];
            n_rows += root != last;
            last = root;
        }
    }
}

/* The own experts are exactly those of the own buckets: what is added here is all there is. */
static inline void order_check(const struct experts_args *a) {
    uint32_t begin = a->first_expert, end = begin + a->gate->n_experts;
    assert(a->top_k >= 1 && a->top_k <= EXPERT_TOP_K_MAX);
    assert(end <= a->n_experts_all && a->buckets.end <= EXPERT_BUCKETS);
    if (begin == end)
        return;
    assert(expert_bucket(a, begin) >= a->buckets.begin);
    assert(expert_bucket(a, end - 1) < a->buckets.end);
    assert(begin == 0 || expert_bucket(a, begin - 1) < a->buckets.begin);
    assert(end == a->n_experts_all || expert_bucket(a, end) >= a->buckets.end);
}

static inline struct expert_order expert_order_build(const struct experts_args *a) {
    order_check(a);
    uint32_t n_experts = a->gate->n_experts, expert;
    uint32_t n_choices = a->x->n_tokens * a->top_k;
    uint32_t *y_begin = a->order;
    uint32_t *begin = y_begin + a->x->n_tokens;
    uint32_t *active = begin + n_experts + 1;
    uint32_t *pairs = active + n_experts;
    uint32_t n_active = 0;

    /* Counts go one place up, so that their running sum is where each expert begins; placing the
     * pairs then moves begin[e] to the end of e, which is the beginning of e + 1. */
    memset(begin, 0, ((size_t)n_experts + 1) * sizeof *begin);
    for (uint32_t p = 0; p < n_choices; p++) {
        assert(a->ids[p] < a->n_experts_all);
        if (expert_is_own(a, a->ids[p], &expert))
            begin[expert + 1]++;
    }
    for (uint32_t e = 0; e < n_experts; e++) {
        if (begin[e + 1] > 0)
            active[n_active++] = e;
        begin[e + 1] += begin[e];
    }
    uint32_t n_pairs = begin[n_experts];
    for (uint32_t p = 0; p < n_choices; p++) {
        if (expert_is_own(a, a->ids[p], &expert))
            pairs[begin[expert]++] = p;
    }
    memmove(begin + 1, begin, n_experts * sizeof *begin);
    begin[0] = 0;
    order_rows(a, y_begin);
    return (struct expert_order){.pairs = pairs,
                                 .begin = begin,
                                 .active = active,
                                 .y_begin = y_begin,
                                 .n_active = n_active,
                                 .n_pairs = n_pairs};
}

#endif
