/* SPDX-License-Identifier: Apache-2.0 */
/* rmsnorm.h for AVX-512: 16 lanes are one register. */
#include "kernels/rmsnorm/rmsnorm.h"

#include "kernels/rmsnorm/rmsnorm_simd.h"

void rmsnorm_avx512(struct kernel_ctx *k, const struct rmsnorm_args *a) {
    rmsnorm_simd(k, a);
}
