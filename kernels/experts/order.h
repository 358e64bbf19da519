/* SPDX-License-Identifier: Apache-2.0 */
/* The choices of a step, sorted by expert: which rows each expert has to multiply.
 *
 * A pair is one choice of one token, numbered token * top_k + slot; its number is also its row in
 * the scratch of experts_args. A counting sort keeps the pairs of an expert in the order of
 * tokens. Built by one thread before the others start; a view into args->order. */
#ifndef SHOAL_KERNELS_EXPERTS_ORDER_H
#define SHOAL_KERNELS_EXPERTS_ORDER_H

#include <assert.h>
#include <string.h>

#include "kernels/experts/experts.h"

struct expert_order {
    const uint32_t *pairs;  /* [n_pairs], grouped by expert */
    const uint32_t *begin;  /* [n_experts + 1]: where an expert's pairs begin */
    const uint32_t *active; /* [n_active]: the experts that have any, rising */
    uint32_t n_active;
    uint32_t n_pairs;
};

static inline struct expert_order expert_order_build(const struct experts_args *a) {
    uint32_t n_experts = a->gate->n_experts;
    uint32_t n_pairs = a->x->n_tokens * a->top_k;
    uint32_t *pairs = a->order;
    uint32_t *begin = pairs + n_pairs;
    uint32_t *active = begin + n_experts + 1;
    uint32_t n_active = 0;

    /* Counts go one place up, so that their running sum is where each expert begins; placing the
     * pairs then moves begin[e] to the end of e, which is the beginning of e + 1. */
    memset(begin, 0, ((size_t)n_experts + 1) * sizeof *begin);
    for (uint32_t p = 0; p < n_pairs; p++) {
        assert(a->ids[p] < n_experts);
        begin[a->ids[p] + 1]++;
    }
    for (uint32_t e = 0; e < n_experts; e++) {
        if (begin[e + 1] > 0)
            active[n_active++] = e;
        begin[e + 1] += begin[e];
    }
    for (uint32_t p = 0; p < n_pairs; p++)
        pairs[begin[a->ids[p]]++] = p;
    memmove(begin + 1, begin, n_experts * sizeof *begin);
    begin[0] = 0;
    return (struct expert_order){
        .pairs = pairs, .begin = begin, .active = active, .n_active = n_active, .n_pairs = n_pairs};
}

#endif
