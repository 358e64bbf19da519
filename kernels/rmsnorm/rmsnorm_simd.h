/* SPDX-License-Identifier: Apache-2.0 */
/* rmsnorm.h for 16 lanes: lane l sums the squares of the columns with i mod 16 = l in order, then
 * f32x16_sum adds the lanes; the root and the division are IEEE's. Rows over threads. */
#ifndef SHOAL_KERNELS_RMSNORM_RMSNORM_SIMD_H
#define SHOAL_KERNELS_RMSNORM_RMSNORM_SIMD_H

#include "kernels/device/parallel.h"
#include "kernels/device/simd.h"
#include "kernels/quant/activation_simd.h"
#include "kernels/rmsnorm/rmsnorm.h"

#include <assert.h>

/* 1 / sqrt(mean(x^2) + eps) of d elements. */
static inline float rms_scale(const float *x, uint32_t d, float eps) {
    f32x16 sum = f32x16_zero();
    for (uint32_t i = 0; i < d; i += 16) {
        f32x16 v = f32x16_load(x + i);
        sum = f32x16_fma(v, v, sum);
    }
    return 1.0f / sqrtf(f32x16_sum(sum) / (float)d + eps);
}

static void rmsnorm_rows(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct rmsnorm_args *a = arg;
    uint64_t begin, end;
    thread_range(a->n_tokens, thread_idx, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        const float *x = a->x + t * a->d;
        float *out = a->out + t * a->d;
        f32x16 scale = f32x16_set1(rms_scale(x, a->d, a->eps));
        for (uint32_t i = 0; i < a->d; i += 16) {
            f32x16 unit = f32x16_mul(f32x16_load(x + i), scale);
            f32x16_store(out + i, f32x16_mul(unit, f32x16_load(a->w + i)));
        }
        if (a->blocks)
            activation_quantise_run(out, a->blocks + t * (a->d / ACT_BLOCK), a->d);
    }
}

static inline void rmsnorm_simd(struct kernel_ctx *k, const struct rmsnorm_args *a) {
    assert(!a->blocks || a->d % ACT_BLOCK == 0);
    struct rmsnorm_args args = *a;
    parallel_run(k, rmsnorm_rows, &args, (uint64_t)a->n_tokens * a->d);
}

#endif
