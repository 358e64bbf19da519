/* SPDX-License-Identifier: Apache-2.0 */
/* rope.h for 16 lanes. The norm's sum is that of rmsnorm_simd.h; the rotation takes two products
 * and a sum, nothing fused, so that sine and cosine are treated alike. Tokens over threads. */
#ifndef SHOAL_KERNELS_ROPE_ROPE_SIMD_H
#define SHOAL_KERNELS_ROPE_ROPE_SIMD_H

#include "kernels/device/parallel.h"
#include "kernels/device/simd.h"
#include "kernels/rmsnorm/rmsnorm_simd.h"
#include "kernels/rope/rope.h"

static inline void rope_head(float *out, const float *x, const float *cos_sin,
                             const struct rope_args *a) {
    f32x16 scale = f32x16_set1(rms_scale(x, a->d_head, a->eps));
    uint32_t half = a->n_rot / 2;
    for (uint32_t i = 0; i < half; i += 16) {
        f32x16 first = f32x16_mul(f32x16_load(x + i), scale);
        f32x16 second = f32x16_mul(f32x16_load(x + half + i), scale);
        f32x16 cos_a, sin_a;
        first = f32x16_mul(first, f32x16_load(a->w + i));
        second = f32x16_mul(second, f32x16_load(a->w + half + i));
        f32x16_load_pairs(cos_sin + 2 * i, &cos_a, &sin_a);
        f32x16_store(out + i, f32x16_sub(f32x16_mul(first, cos_a), f32x16_mul(second, sin_a)));
        f32x16_store(out + half + i,
                     f32x16_add(f32x16_mul(second, cos_a), f32x16_mul(first, sin_a)));
    }
    for (uint32_t i = a->n_rot; i < a->d_head; i += 16) {
        f32x16 unit = f32x16_mul(f32x16_load(x + i), scale);
        f32x16_store(out + i, f32x16_mul(unit, f32x16_load(a->w + i)));
    }
}

static void rope_tokens(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct rope_args *a = arg;
    uint64_t begin, end;
    thread_range(a->n_tokens, thread_idx, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        for (uint64_t h = 0; h < a->n_heads; h++)
            rope_head(a->out + (t * a->n_heads + h) * a->d_head,
                      a->x + t * a->token_stride + h * a->head_stride, a->cos_sin + t * a->n_rot,
                      a);
    }
}

static inline void rope_simd(struct kernel_ctx *k, const struct rope_args *a) {
    struct rope_args args = *a;
    parallel_run(k, rope_tokens, &args, (uint64_t)a->n_tokens * a->n_heads * a->d_head);
}

#endif
