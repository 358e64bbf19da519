/* SPDX-License-Identifier: Apache-2.0 */
/* experts.h for AVX-512. */
#include "kernels/experts/experts.h"

#include "kernels/experts/experts_simd.h"

void experts_avx512(struct kernel_ctx *k, const struct experts_args *a) {
    experts_simd(k, a, matmul_panels_avx512);
}
