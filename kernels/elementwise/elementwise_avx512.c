/* SPDX-License-Identifier: Apache-2.0 */
/* elementwise.h for AVX-512: 16 lanes are one register. */
#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/elementwise_simd.h"

void swiglu_avx512(struct kernel_ctx *k, const struct swiglu_args *a) {
    swiglu_simd(k, a);
}

void add_avx512(struct kernel_ctx *k, const struct add_args *a) {
    add_simd(k, a);
}

void add_shared_avx512(struct kernel_ctx *k, const struct add_shared_args *a) {
    add_shared_simd(k, a);
}
