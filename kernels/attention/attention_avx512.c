/* SPDX-License-Identifier: Apache-2.0 */
/* attention.h for AVX-512: 16 lanes are one register. */
#include "kernels/attention/attention.h"

#include "kernels/attention/attention_simd.h"

void attention_avx512(struct kernel_ctx *k, const struct attention_args *a) {
    attention_simd(k, a);
}
