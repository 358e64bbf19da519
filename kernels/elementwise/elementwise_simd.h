/* SPDX-License-Identifier: Apache-2.0 */
/* elementwise.h for 16 lanes; every element stands alone, ranges of 16 over threads. */
#ifndef SHOAL_KERNELS_ELEMENTWISE_ELEMENTWISE_SIMD_H
#define SHOAL_KERNELS_ELEMENTWISE_ELEMENTWISE_SIMD_H

#include "kernels/device/parallel.h"
#include "kernels/device/simd.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/quant/activation_simd.h"

#include <assert.h>

/* Elements begin .. end-1 of one row. */
static inline void swiglu_row(const struct swiglu_args *a, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i += 16) {
        f32x16 gate = f32x16_silu(f32x16_load(a->gate + i));
        f32x16_store(a->out + i, f32x16_mul(gate, f32x16_load(a->up + i)));
        if (a->blocks && i % ACT_BLOCK != 0)
            activation_quantise_block(a->out + i - 16, &a->blocks[i / ACT_BLOCK]);
    }
}

/* Ranges of 32 if they are quantised at once, of all rows in order. */
static void swiglu_range(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct swiglu_args *a = arg;
    uint64_t begin, end, unit = a->blocks ? ACT_BLOCK : 16, n_each = a->n / unit;
    thread_range(a->n_rows * n_each, thread_idx, n_threads, &begin, &end);
    while (begin < end) {
        uint64_t row = begin / n_each, first = begin - row * n_each;
        uint64_t n = end - begin < n_each - first ? end - begin : n_each - first;
        uint64_t offset = row * a->stride + first * unit;
        swiglu_row(a, offset, offset + n * unit);
        begin += n;
    }
}

static void add_range(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct add_args *a = arg;
    uint64_t begin, end;
    thread_range(a->n / 16, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = 16 * begin; i < 16 * end; i += 16)
        f32x16_store(a->x + i, f32x16_add(f32x16_load(a->x + i), f32x16_load(a->y + i)));
}

static void add_shared_rows(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct add_shared_args *a = arg;
    uint64_t begin, end;
    thread_range(a->n_tokens, thread_idx, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        f32x16 gate = f32x16_sigmoid(f32x16_set1(a->gate[t]));
        for (uint64_t i = t * a->d; i < (t + 1) * a->d; i += 16) {
            f32x16 shared = f32x16_mul(gate, f32x16_load(a->shared + i));
            f32x16 both = f32x16_add(f32x16_load(a->routed + i), shared);
            f32x16_store(a->x + i, f32x16_add(f32x16_load(a->x + i), both));
        }
    }
}

static inline void swiglu_simd(struct kernel_ctx *k, const struct swiglu_args *a) {
    struct swiglu_args args = *a;
    assert(!a->blocks || (a->n % ACT_BLOCK == 0 && (a->n_rows <= 1 || a->stride % ACT_BLOCK == 0)));
    parallel_run(k, swiglu_range, &args, 2 * a->n * a->n_rows);
}

static inline void add_simd(struct kernel_ctx *k, const struct add_args *a) {
    struct add_args args = *a;
    parallel_run(k, add_range, &args, 2 * a->n);
}

static inline void add_shared_simd(struct kernel_ctx *k, const struct add_shared_args *a) {
    struct add_shared_args args = *a;
    parallel_run(k, add_shared_rows, &args, (uint64_t)3 * a->n_tokens * a->d);
}

#endif
