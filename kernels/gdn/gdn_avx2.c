/* SPDX-License-Identifier: Apache-2.0 */
/* gdn.h for AVX2: 16 lanes are two registers. */
#include "kernels/gdn/gdn.h"

#include "kernels/gdn/gdn_mix_simd.h"
#include "kernels/gdn/gdn_simd.h"
#include "kernels/gdn/gdn_step_simd.h"

void gdn_conv_avx2(struct kernel_ctx *k, const struct gdn_conv_args *a) {
    gdn_conv_simd(k, a);
}

void gdn_step_avx2(struct kernel_ctx *k, const struct gdn_step_args *a) {
    gdn_step_simd(k, a);
}

void gdn_gate_avx2(struct kernel_ctx *k, const struct gdn_gate_args *a) {
    gdn_gate_simd(k, a);
}

void gdn_mix_avx2(struct kernel_ctx *k, const struct gdn_mix_args *a) {
    gdn_mix_simd(k, a);
}
