/* SPDX-License-Identifier: Apache-2.0 */
/* rope.h for AVX2: 16 lanes are two registers. */
#include "kernels/rope/rope.h"

#include "kernels/rope/rope_simd.h"

void rope_avx2(struct kernel_ctx *k, const struct rope_args *a) {
    rope_simd(k, a);
}
