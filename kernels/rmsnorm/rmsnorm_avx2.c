/* SPDX-License-Identifier: Apache-2.0 */
/* rmsnorm.h for AVX2: 16 lanes are two registers. */
#include "kernels/rmsnorm/rmsnorm.h"

#include "kernels/rmsnorm/rmsnorm_simd.h"

void rmsnorm_avx2(struct kernel_ctx *k, const struct rmsnorm_args *a) {
    rmsnorm_simd(k, a);
}
