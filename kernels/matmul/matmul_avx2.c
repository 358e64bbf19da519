/* SPDX-License-Identifier: Apache-2.0 */
/* matmul.h for AVX2, and the panels that experts_avx2.c uses too. */
#include "kernels/matmul/matmul.h"

#include "kernels/matmul/matmul_simd.h"

void matmul_panels_avx2(const struct panel_args *a, uint32_t panel, uint32_t n_panels,
                        struct panel_scratch *scratch) {
    matmul_panels_simd(a, panel, n_panels, scratch);
}

void matmul_avx2(struct kernel_ctx *k, const struct matmul_args *products, uint32_t n) {
    matmul_simd(k, products, n);
}
