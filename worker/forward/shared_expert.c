/* SPDX-License-Identifier: Apache-2.0 */
/* The division is a search for the smallest largest load: ranks take parts in their order, each as
 * many as fit under a limit, so that a rank's parts are one run and it can add them itself. */
#include "worker/forward/shared_expert.h"

#include "tensor/panels.h"

#include <assert.h>
#include <string.h>

/* More ranks in an attention group than there are parts gain nothing from a search. */
#define RANKS_MAX 64u

static uint64_t expert_bytes(const struct bound_ffn *w) {
    return w->gate_exps.d_out * w->gate_exps.row_bytes + w->up_exps.d_out * w->up_exps.row_bytes +
           w->down_exps.d_out * w->down_exps.row_bytes;
}

/* Bytes of a part that is not empty: its rows of gate and up, its columns of down. */
static uint64_t part_bytes(const struct bound_ffn *w, uint32_t n_parts) {
    const struct matrix *gate = &w->gate_shared.w, *up = &w->up_shared.w;
    const struct matrix *down = &w->down_shared.linear.w;
    return (gate->d_out * gate->row_bytes + up->d_out * up->row_bytes +
            down->d_out * down->row_bytes) /
           n_parts;
}

/* Bytes of the experts that each rank of the attention group has to read for these rows. */
static void expert_loads(const struct forward *f, const struct bound_ffn *w, const uint32_t *ids,
                         uint64_t *loads) {
    uint64_t seen[ROUTER_EXPERTS_MAX / 64] = {0};
    uint64_t each = expert_bytes(w);
    memset(loads, 0, f->n_tp * sizeof *loads);
    for (size_t i = 0; i < (size_t)f->n_tokens * f->hp->top_k; i++) {
        uint64_t bit = (uint64_t)1 << ids[i] % 64;
        if (seen[ids[i] / 64] & bit)
            continue;
        seen[ids[i] / 64] |= bit;
        for (uint32_t r = 0; r < f->n_tp; r++) {
            const struct index_range *own = &f->tp_experts[r];
            if (ids[i] >= own->begin && ids[i] < own->end)
                loads[r] += each;
        }
    }
}

/* Gives the parts to the ranks in order, none more than fits under the limit; false: some are
 * left. */
static bool divide_under(uint64_t limit, const uint64_t *loads, uint32_t n_ranks, uint64_t each,
                         const struct ksplit *split, struct leaf_range *parts) {
    uint32_t p = 0;
    for (uint32_t r = 0; r < n_ranks; r++) {
        uint64_t load = loads[r];
        parts[r].begin = p;
        while (p < KSPLIT_PARTS) {
            uint64_t cost = ksplit_part_empty(split, p) ? 0 : each;
            if (load + cost > limit)
                break;
            load += cost;
            p++;
        }
        parts[r].end = p;
    }
    return p == KSPLIT_PARTS;
}

/* The limit is some rank's load with some number of parts: all of them are tried. */
static void divide(const uint64_t *loads, uint32_t n_ranks, const struct bound_ffn *w,
                   struct leaf_range *parts) {
    const struct ksplit *split = &w->down_shared.linear.split;
    uint32_t n_parts = 0;
    for (uint32_t p = 0; p < KSPLIT_PARTS; p++)
        n_parts += !ksplit_part_empty(split, p);
    uint64_t each = part_bytes(w, n_parts), best = UINT64_MAX;
    struct leaf_range tried[RANKS_MAX];
    for (uint32_t r = 0; r < n_ranks; r++) {
        for (uint32_t n = 0; n <= n_parts; n++) {
            uint64_t limit = loads[r] + n * each;
            if (limit < best && divide_under(limit, loads, n_ranks, each, split, tried)) {
                best = limit;
                memcpy(parts, tried, n_ranks * sizeof *parts);
            }
        }
    }
    assert(best != UINT64_MAX);
}

void shared_expert_divide(const struct forward *f, const struct bound_ffn *w, const uint32_t *ids,
                          struct shared_turn *turn) {
    const struct ksplit *split = &w->down_shared.linear.split;
    const struct leaf_range *parts = w->shared_parts;
    struct leaf_range divided[RANKS_MAX];
    if (f->n_tp > 1 && f->n_tp <= RANKS_MAX && f->n_tokens <= SHARED_EXPERT_FEW) {
        uint64_t loads[RANKS_MAX];
        expert_loads(f, w, ids, loads);
        divide(loads, f->n_tp, w, divided);
        parts = divided;
    }
    exchange_sum_layout_init(&turn->sum, split, parts, f->n_tp, f->tp_idx);
    for (uint32_t i = 0; i < turn->sum.n_own_roots; i++)
        turn->roots[i] = ksplit_some(split, turn->sum.own[i].begin, turn->sum.own[i].end);
    uint32_t first = split->part_begin[parts[f->tp_idx].begin];
    uint32_t end = split->part_begin[parts[f->tp_idx].end];
    turn->own = (struct krun){0, 0};
    if (first < end)
        turn->own = (struct krun){split->runs[first].begin, split->runs[end - 1].end};
    turn->gate = matrix_rows(&w->gate_shared.w, turn->own.begin, turn->own.end);
    turn->up = matrix_rows(&w->up_shared.w, turn->own.begin, turn->own.end);
}

uint32_t shared_expert_products(const struct forward *f, const struct bound_ffn *w,
                                const struct shared_turn *turn, const struct activation *in,
                                struct matmul_args products[2]) {
    uint32_t d = f->hp->d_ff_shared, first = turn->own.begin;
    if (first == turn->own.end)
        return 0;
    products[0] =
        forward_product(&w->gate_shared, in, forward_floats(f, f->plan.shared_gate) + first, d);
    products[1] =
        forward_product(&w->up_shared, in, forward_floats(f, f->plan.shared_up) + first, d);
    products[0].w = &turn->gate;
    products[1].w = &turn->up;
    return 2;
}

uint32_t shared_expert_roots(struct forward *f, const struct bound_ffn *w,
                             const struct shared_turn *turn, struct activation *hidden,
                             struct matmul_args products[KSPLIT_PARTS]) {
    uint32_t d = f->hp->d_ff_shared, d_model = f->hp->d_model, first = turn->own.begin;
    float *gate = forward_floats(f, f->plan.shared_gate),
          *up = forward_floats(f, f->plan.shared_up);
    float *y = forward_floats(f, f->plan.shared_out);
    if (f->n_tp > 1)
        y = exchange_roots(f->exchange);
    *hidden = forward_blocks(f, f->plan.shared_blocks, gate, d);
    if (turn->own.end > first)
        f->kernels->swiglu(f->ctx, &(struct swiglu_args){.out = gate + first,
                                                         .gate = gate + first,
                                                         .up = up + first,
                                                         .n = turn->own.end - first,
                                                         .n_rows = f->n_tokens,
                                                         .stride = d,
                                                         .blocks = hidden->blocks + first / 32});
    for (uint32_t i = 0; i < turn->sum.n_own_roots; i++) {
        products[i] = forward_product(&w->down_shared.linear, hidden,
                                      y + (size_t)i * f->n_tokens * d_model, d_model);
        products[i].split = &turn->roots[i];
    }
    return turn->sum.n_own_roots;
}
