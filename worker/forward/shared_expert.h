/* SPDX-License-Identifier: Apache-2.0 */
/* The shared expert within an attention group: every rank holds all of it, and each step decides
 * who computes which parts of its width.
 *
 * With few tokens the routed experts are spread unevenly: of 8 chosen ones the busier of two ranks
 * has 5.1 on average. The shared expert costs about as much as two of them (it has 8 bits where
 * they have four), so its parts go to whoever has least to do. With many tokens the routed experts
 * are even and the parts are divided once and for all. Either way a part's sum has the same bits
 * and takes the same place in the tree (tensor/ksplit.h). */
#ifndef SHOAL_WORKER_FORWARD_SHARED_EXPERT_H
#define SHOAL_WORKER_FORWARD_SHARED_EXPERT_H

#include "worker/forward/forward.h"

/* Up to so many tokens the division follows the routed experts. From here on every rank has about
 * the same number of them (256 experts, 8 chosen, 2 ranks: the busier one has 4 % more than the
 * mean at 64 tokens). */
#define SHARED_EXPERT_FEW 32u

/* What this rank computes of it in one step, and how all parts come together. */
struct shared_turn {
    struct exchange_sum_layout sum;
    struct ksplit roots[KSPLIT_PARTS]; /* [sum.n_own_roots] */
    struct krun own;                   /* columns of the width; begin == end: none */
    struct matrix gate, up;            /* their rows */
};

/* `ids` [n_tokens, top_k]: the choices of the step's rows, the same on all ranks of the group.
 * Alone the turn is everything. */
void shared_expert_divide(const struct forward *f, const struct bound_ffn *w, const uint32_t *ids,
                          struct shared_turn *turn);

/* The products of gate and up for the turn's columns; at most two, none without columns. */
uint32_t shared_expert_products(const struct forward *f, const struct bound_ffn *w,
                                const struct shared_turn *turn, const struct activation *in,
                                struct matmul_args products[2]);

/* Their SwiGLU; then the products of down, whose results are on their way to shared_out or to the
 * exchange. `hidden` is borrowed by the products. */
uint32_t shared_expert_roots(struct forward *f, const struct bound_ffn *w,
                             const struct shared_turn *turn, struct activation *hidden,
                             struct matmul_args products[KSPLIT_PARTS]);

#endif
