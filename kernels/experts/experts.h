/* SPDX-License-Identifier: Apache-2.0 */
/* The routed experts of one layer: for token t with chosen experts e and weights c_e
 *
 *     y[t] = sum_e c_e * down_e( silu(gate_e x[t]) * (up_e x[t]) )
 *
 * Work goes expert by expert over the tokens that chose it, so that a weight is read once per
 * step. The hidden vector of (token, expert) is quantised like any activation. Products are those
 * of matmul.h: gate and up in one part, down by `down_split`.
 *
 * Combining: expert ids are cut into EXPERT_BUCKETS fixed buckets (bucket = id * 64 /
 * n_experts_all); inside a bucket results are added by rising id, buckets by the pairwise tree of
 * 64 leaves, empty ones skipped.
 *
 * A rank holds the experts of its own buckets; choices of others are passed over. It adds within
 * the subtrees that lie in its buckets (tensor/tree.h), and y holds their roots, token by token and
 * in order: of a token none, one or several, exactly one where all buckets are own.
 *
 *     own buckets 0..31    y = t0: left half        t1: left half        t3: left half   (t2: none)
 *     own buckets 5..7     y = t0: 5, (6+7)         t1: (6+7)            t3: 5
 *
 * Shazeer et al. 2017, arXiv:1701.06538. Tolerance as matmul.h. */
#ifndef SHOAL_KERNELS_EXPERTS_EXPERTS_H
#define SHOAL_KERNELS_EXPERTS_EXPERTS_H

#include "kernels/matmul/matmul.h"
#include "tensor/tree.h"

#define EXPERT_BUCKETS   64
#define EXPERT_TOP_K_MAX 32 /* models of the family choose 8 or 10 */

struct experts_args {
    float *y;                                /* [roots of all tokens, d_model] */
    const struct activation *x;              /* [n_tokens, d_model], quantised; n_tokens may be 0 */
    const uint32_t *ids;                     /* [n_tokens, top_k] of all experts, rising per token
                                                (router.h) */
    const float *weights;                    /* [n_tokens, top_k] */
    uint32_t top_k;                          /* 1..EXPERT_TOP_K_MAX */
    uint32_t n_experts_all;                  /* of the model */
    uint32_t first_expert;                   /* id of own expert 0 */
    struct leaf_range buckets;               /* own: those of the own experts, and no others' */
    const struct expert_matrices *gate, *up; /* [n own experts, d_ff, d_model], d_ff in 32s */
    const struct expert_matrices *down;      /* [n own experts, d_model, d_ff] */
    const struct ksplit *whole;              /* of d_model columns, one part */
    const struct ksplit *down_split;         /* of d_ff columns */
    const struct matmul_args *beside;        /* [n_beside] products done in the same meeting as down
                                                (those of the shared expert), of any n_tokens */
    uint32_t n_beside;                       /* 0..MATMUL_PRODUCTS_MAX */
    /* Scratch, given by the caller because it grows with the step: */
    float *gate_out, *up_out;        /* [n_tokens * top_k, d_ff]; gate_out ends as the hidden */
    struct act_block *hidden_blocks; /* [n_tokens * top_k, d_ff / 32] */
    float *down_out;                 /* [n_tokens * top_k, d_model] */
    uint32_t *order;                 /* [n_tokens * (top_k + 1) + 2 * n own experts + 1] */
};
typedef void experts_fn(struct kernel_ctx *k, const struct experts_args *a);
experts_fn experts_ref, experts_avx2, experts_avx512;

#endif
