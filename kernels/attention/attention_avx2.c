/* SPDX-License-Identifier: Apache-2.0 */
/* attention.h for AVX2: 16 lanes are two registers. */
#include "kernels/attention/attention.h"

#include "kernels/attention/attention_simd.h"

void attention_avx2(struct kernel_ctx *k, const struct attention_args *a) {
    attention_simd(k, a);
}
