/* SPDX-License-Identifier: Apache-2.0 */
/* activation.h for AVX2. */
#include "kernels/quant/activation.h"

#include "kernels/quant/activation_simd.h"

void activation_quantise_avx2(struct kernel_ctx *k, const struct activation *a) {
    activation_quantise_simd(k, a);
}
