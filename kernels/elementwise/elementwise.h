/* SPDX-License-Identifier: Apache-2.0 */
/* The small operations between the large ones. Tolerance: relative 2e-6 per element against the
 * reference, or 1e-36: below e^-88 a silu may become zero early. */
#ifndef SHOAL_KERNELS_ELEMENTWISE_ELEMENTWISE_H
#define SHOAL_KERNELS_ELEMENTWISE_ELEMENTWISE_H

#include "kernels/device/context.h"
#include "kernels/quant/activation.h"

/* out[i] = silu(gate[i]) * up[i];  silu(x) = x / (1 + exp(-x)) */
struct swiglu_args {
    float
        *out; /* [n_rows, n], may be gate or up; rows lie `stride` apart, as those of the others */
    const float *gate, *up;
    uint64_t n;              /* a multiple of 16, of 32 if blocks are wanted; so is the stride */
    uint64_t n_rows, stride; /* stride at least n; any if there is one row */
    struct act_block
        *blocks; /* [n_rows, n / 32] of out (activation.h), stride / 32 apart; or NULL */
};
typedef void swiglu_fn(struct kernel_ctx *k, const struct swiglu_args *a);
swiglu_fn swiglu_ref, swiglu_avx2, swiglu_avx512;

/* x[i] += y[i] */
struct add_args {
    float *x;
    const float *y;
    uint64_t n; /* a multiple of 16 */
};
typedef void add_fn(struct kernel_ctx *k, const struct add_args *a);
add_fn add_ref, add_avx2, add_avx512;

/* x[t][i] += routed[t][i] + sigmoid(gate[t]) * shared[t][i]
 * in this order: the product, then the inner sum, then the residual (no fused step). */
struct add_shared_args {
    float *x;             /* [n_tokens, d] */
    const float *routed;  /* [n_tokens, d] */
    const float *shared;  /* [n_tokens, d] */
    const float *gate;    /* [n_tokens] logits of the shared expert's gate */
    uint32_t n_tokens, d; /* d a multiple of 16 */
};
typedef void add_shared_fn(struct kernel_ctx *k, const struct add_shared_args *a);
add_shared_fn add_shared_ref, add_shared_avx2, add_shared_avx512;

#endif
