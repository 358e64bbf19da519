/* SPDX-License-Identifier: Apache-2.0 */
/* The routed experts of one layer: for token t with chosen experts e and weights c_e
 *
 *     y[t] = sum_e c_e * down_e( silu(gate_e x[t]) * (up_e x[t]) )
 *
 * Work goes expert by expert over the tokens that chose it, so that a weight is read once per
 * step. The hidden vector of (token, expert) is quantised like any activation. Products are those
 * of matmul.h: gate and up in one part, down by `down_split`.
 *
 * Combining: expert ids are cut into EXPERT_BUCKETS fixed buckets (bucket = id * 64 / n_experts);
 * inside a bucket results are added by rising id, buckets by the pairwise tree of 64 leaves,
 * empty ones skipped. A rank that owns whole subtrees may therefore add before it sends.
 * Shazeer et al. 2017, arXiv:1701.06538. Tolerance as matmul.h. */
#ifndef SHOAL_KERNELS_EXPERTS_EXPERTS_H
#define SHOAL_KERNELS_EXPERTS_EXPERTS_H

#include "kernels/matmul/matmul.h"

#define EXPERT_BUCKETS   64
#define EXPERT_TOP_K_MAX 32 /* models of the family choose 8 or 10 */

struct experts_args {
    float *y;                                /* [n_tokens, d_model] */
    const struct activation *x;              /* [n_tokens, d_model], quantised */
    const uint32_t *ids;                     /* [n_tokens, top_k], rising per token (router.h) */
    const float *weights;                    /* [n_tokens, top_k] */
    uint32_t top_k;                          /* 1..EXPERT_TOP_K_MAX */
    const struct expert_matrices *gate, *up; /* [n_experts, d_ff, d_model], d_ff in 32s */
    const struct expert_matrices *down;      /* [n_experts, d_model, d_ff] */
    const struct ksplit *whole;              /* of d_model columns, one part */
    const struct ksplit *down_split;         /* of d_ff columns */
    const struct matmul_args *beside;        /* a product done in the same meeting as down (that of
                                                the shared expert); NULL: none */
    /* Scratch, given by the caller because it grows with the step: */
    float *gate_out, *up_out;        /* [n_tokens * top_k, d_ff]; gate_out ends as the hidden */
    struct act_block *hidden_blocks; /* [n_tokens * top_k, d_ff / 32] */
    float *down_out;                 /* [n_tokens * top_k, d_model] */
    uint32_t *order;                 /* [n_tokens * top_k + 2 * n_experts + 2] */
};
typedef void experts_fn(struct kernel_ctx *k, const struct experts_args *a);
experts_fn experts_ref, experts_avx2, experts_avx512;

#endif
