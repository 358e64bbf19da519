/* SPDX-License-Identifier: Apache-2.0 */
/* elementwise.h for AVX2: 16 lanes are two registers. */
#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/elementwise_simd.h"

void swiglu_avx2(struct kernel_ctx *k, const struct swiglu_args *a) {
    swiglu_simd(k, a);
}

void add_avx2(struct kernel_ctx *k, const struct add_args *a) {
    add_simd(k, a);
}

void add_shared_avx2(struct kernel_ctx *k, const struct add_shared_args *a) {
    add_shared_simd(k, a);
}
