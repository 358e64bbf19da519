/* SPDX-License-Identifier: Apache-2.0 */
/* out[t][i] = w[i] * x[t][i] / sqrt(mean_i(x[t][i]^2) + eps)
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467. GGUF weights already hold the "1 +" of the
 * family's zero-centred norms.
 * Tolerance: relative 2e-6 per element against rmsnorm_ref while |x| is below 1e17, so that the
 * sum of squares stays in the range of float. */
#ifndef SHOAL_KERNELS_RMSNORM_RMSNORM_H
#define SHOAL_KERNELS_RMSNORM_RMSNORM_H

#include "kernels/device/context.h"
#include "kernels/quant/activation.h"

struct rmsnorm_args {
    float *out;           /* [n_tokens, d], may be x */
    const float *x;       /* [n_tokens, d] */
    const float *w;       /* [d] */
    uint32_t n_tokens, d; /* d a multiple of 16 */
    float eps;
    struct act_block *blocks; /* [n_tokens, d / 32] of out (activation.h), or NULL */
};
typedef void rmsnorm_fn(struct kernel_ctx *k, const struct rmsnorm_args *a);
rmsnorm_fn rmsnorm_ref, rmsnorm_avx2, rmsnorm_avx512;

#endif
