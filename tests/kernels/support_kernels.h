/* SPDX-License-Identifier: Apache-2.0 */
/* What every kernel test needs: the variants of this machine, threads to run them on, inputs that
 * any language can make again, and two ways to compare. */
#ifndef SHOAL_TESTS_KERNELS_SUPPORT_KERNELS_H
#define SHOAL_TESTS_KERNELS_SUPPORT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "kernels/kernels.h"

#define VARIANTS_MAX 3

/* The variants that this machine runs, the reference first. */
struct variants {
    struct kernels table[VARIANTS_MAX];
    size_t n;
};

void variants_init(struct variants *variants);

/* Threads and scratch; a failure fails the test. */
struct kernel_ctx kernel_ctx_open(uint32_t n_threads);
void kernel_ctx_close(struct kernel_ctx *k);

/* n floats of zero; a failure fails the test. */
float *floats(struct arena *arena, size_t n);

/* Uniform in [-size, size), a function of (key, i) alone. */
void fill_random(float *x, size_t n, uint64_t key, float size);
float *random_floats(struct arena *arena, size_t n, uint64_t key, float size);

/* x[i] = sin(step * i + start), rounded once: the inputs of values computed elsewhere. */
float *wave_floats(struct arena *arena, size_t n, double step, double start);

/* |got - want| / |want| in the Euclidean norm; 0 if both are zero. Infinite if got has a NaN. */
double relative_l2(const float *got, const float *want, size_t n);

/* The largest |got - want| / max(|want|, least). Infinite if got has a NaN where want has none. */
double worst_relative(const float *got, const float *want, size_t n, double least);

bool same_bits(const float *a, const float *b, size_t n);

#endif
