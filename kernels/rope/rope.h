/* SPDX-License-Identifier: Apache-2.0 */
/* Head norm and rotary embedding of queries or keys, out of the packed projection.
 *
 *     y = w * x / sqrt(mean(x^2) + eps)                    per head of d_head
 *     out[i]          = y[i] cos(a_i) - y[i + R/2] sin(a_i)        i < R/2
 *     out[i + R/2]    = y[i + R/2] cos(a_i) + y[i] sin(a_i)
 *     out[i]          = y[i]                                       i >= R
 * Sources: Su et al. 2021, arXiv:2104.09864 (half-split pairing as in GPT-NeoX); head norms:
 * Qwen3 report, arXiv:2505.09388. Only the first R = n_rot dimensions rotate.
 * Tolerance: relative 2e-6 of the head's largest element against rope_ref. */
#ifndef SHOAL_KERNELS_ROPE_ROPE_H
#define SHOAL_KERNELS_ROPE_ROPE_H

#include "kernels/device/context.h"

struct rope_args {
    float *out;            /* [n_tokens, n_heads, d_head], contiguous */
    const float *x;        /* token t, head h at x + t*token_stride + h*head_stride */
    uint64_t token_stride; /* in floats */
    uint64_t head_stride;
    const float *w;       /* [d_head] norm weight */
    const float *cos_sin; /* [n_tokens, n_rot/2, 2]: cos(a_i), sin(a_i), scaled for YaRN */
    uint32_t n_tokens, n_heads, d_head, n_rot; /* d_head, n_rot multiples of 32 */
    float eps;
};
typedef void rope_fn(struct kernel_ctx *k, const struct rope_args *a);
rope_fn rope_ref, rope_avx2, rope_avx512;

#endif
