/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs come from base/rng.h or from sines, so that a failing case can be made again anywhere. */
#include "tests/kernels/support_kernels.h"

#include "bench/kernel_data.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

void variants_init(struct variants *variants) {
    static const char *const names[VARIANTS_MAX] = {"ref", "avx2", "avx512"};
    variants->n = 0;
    for (size_t i = 0; i < VARIANTS_MAX; i++) {
        if (kernels_init(&variants->table[variants->n], names[i], NULL) == OK)
            variants->n++;
    }
    assert_true(variants->n >= 1);
}

struct kernel_ctx kernel_ctx_open(uint32_t n_threads) {
    struct kernel_ctx k;
    struct error err;
    struct thread_pool_options options = {.n_threads = n_threads};
    assert_int_equal(thread_pool_open(&k.pool, &options, &err), OK);
    k.scratch = aligned_alloc(64, (size_t)n_threads * KERNEL_SCRATCH_BYTES);
    assert_non_null(k.scratch);
    /* NaNs: whoever reads scratch before writing it is found. */
    memset(k.scratch, 0xff, (size_t)n_threads * KERNEL_SCRATCH_BYTES);
    return k;
}

void kernel_ctx_close(struct kernel_ctx *k) {
    thread_pool_close(k->pool);
    free(k->scratch);
}

float *floats(struct arena *arena, size_t n) {
    float *x = arena_array(arena, n, sizeof *x);
    assert_non_null(x);
    return x;
}

void fill_random(float *x, size_t n, uint64_t key, float size) {
    random_fill(x, n, key, size);
}

float *random_floats(struct arena *arena, size_t n, uint64_t key, float size) {
    float *x = floats(arena, n);
    fill_random(x, n, key, size);
    return x;
}

float *wave_floats(struct arena *arena, size_t n, double step, double start) {
    float *x = floats(arena, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)sin(step * (double)i + start);
    return x;
}

double relative_l2(const float *got, const float *want, size_t n) {
    return relative_error(got, want, n);
}

double worst_relative(const float *got, const float *want, size_t n, double least) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(want[i]) || got[i] == want[i])
            continue;
        double size = fabs((double)want[i]);
        double relative = fabs((double)got[i] - want[i]) / (size > least ? size : least);
        if (!(relative <= worst))
            worst = isnan(relative) ? INFINITY : relative;
    }
    return worst;
}

bool same_bits(const float *a, const float *b, size_t n) {
    return memcmp(a, b, n * sizeof *a) == 0;
}
