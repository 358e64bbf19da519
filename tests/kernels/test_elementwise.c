/* SPDX-License-Identifier: Apache-2.0 */
/* SwiGLU, sums and the shared expert: formulas, edges of the exponential, equal bits. */
#include "kernels/elementwise/elementwise.h"

#include "tensor/f16.h"
#include "tests/kernels/support_kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

static void swiglu_agrees_with_the_formula_over_the_whole_range_of_float(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    /* Every 4099th finite float, of both signs. */
    const size_t n_floats = 2 * (0x7f800000u / 4099) / 16 * 16;
    float *gate = floats(&arena, n_floats), *up = floats(&arena, n_floats);
    float *out = floats(&arena, n_floats);
    for (size_t i = 0; i < n_floats; i++) {
        gate[i] = f32_from_bits((uint32_t)(i / 2) * 4099 | (uint32_t)(i % 2) << 31);
        up[i] = i % 3 ? 1 : -0.5f;
    }
    struct swiglu_args a = {.out = out, .gate = gate, .up = up, .n = n_floats, .n_rows = 1};
    for (size_t n = 0; n < v.n; n++) {
        v.table[n].swiglu(&k, &a);
        for (size_t i = 0; i < n_floats; i++) {
            double x = (double)gate[i], exact = x / (1 + exp(-x)) * up[i];
            assert_true(fabs(out[i] - exact) <= fmax(2e-6 * fabs(exact), 1e-36));
        }
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void nan_and_infinity_are_not_hidden(void **state) {
    (void)state;
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float gate[16] = {NAN, INFINITY, -INFINITY, 0}, up[16], out[16];
    for (size_t i = 0; i < 16; i++)
        up[i] = 1;
    struct swiglu_args a = {.out = out, .gate = gate, .up = up, .n = 16, .n_rows = 1};
    for (size_t n = 0; n < v.n; n++) {
        v.table[n].swiglu(&k, &a);
        assert_true(isnan(out[0]));
        assert_true(isinf(out[1]) && out[1] > 0);
        assert_true(isnan(out[2]));
        assert_true(out[3] == 0);
    }
    kernel_ctx_close(&k);
}

static void swiglu_may_write_over_either_input(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float *gate = random_floats(&arena, 48, 1, 4), *up = random_floats(&arena, 48, 2, 4);
    float *apart = floats(&arena, 48), *same = floats(&arena, 48);
    for (size_t n = 0; n < v.n; n++) {
        struct swiglu_args a = {.out = apart, .gate = gate, .up = up, .n = 48, .n_rows = 1};
        v.table[n].swiglu(&k, &a);
        memcpy(same, gate, 48 * sizeof *same);
        a = (struct swiglu_args){.out = same, .gate = same, .up = up, .n = 48, .n_rows = 1};
        v.table[n].swiglu(&k, &a);
        assert_true(same_bits(same, apart, 48));
        memcpy(same, up, 48 * sizeof *same);
        a = (struct swiglu_args){.out = same, .gate = gate, .up = same, .n = 48, .n_rows = 1};
        v.table[n].swiglu(&k, &a);
        assert_true(same_bits(same, apart, 48));
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

/* Columns 32 .. 95 of rows of 160: what a rank that holds a part of a width computes. */
static void swiglu_of_columns_leaves_the_others_alone(void **state) {
    (void)state;
    enum { ROWS = 300, STRIDE = 160, FIRST = 32, N = 64 };
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    float *gate = random_floats(&arena, ROWS * STRIDE, 1, 4);
    float *up = random_floats(&arena, ROWS * STRIDE, 2, 4);
    float *all = floats(&arena, ROWS * STRIDE), *some = floats(&arena, ROWS * STRIDE);
    for (size_t n = 0; n < v.n; n++) {
        struct swiglu_args a = {
            .out = all, .gate = gate, .up = up, .n = ROWS * STRIDE, .n_rows = 1};
        v.table[n].swiglu(&k, &a);
        memset(some, 0, ROWS * STRIDE * sizeof *some);
        a = (struct swiglu_args){.out = some + FIRST,
                                 .gate = gate + FIRST,
                                 .up = up + FIRST,
                                 .n = N,
                                 .n_rows = ROWS,
                                 .stride = STRIDE};
        v.table[n].swiglu(&k, &a);
        for (size_t i = 0; i < ROWS * STRIDE; i++) {
            bool inside = i % STRIDE >= FIRST && i % STRIDE < FIRST + N;
            assert_true(some[i] == (inside ? all[i] : 0));
        }
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void add_has_the_same_bits_in_every_variant(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    const size_t n_floats = 40000;
    float *x = random_floats(&arena, n_floats, 1, 1), *y = random_floats(&arena, n_floats, 2, 1e3f);
    float *sum = floats(&arena, n_floats);
    for (size_t n = 0; n < v.n; n++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            memcpy(sum, x, n_floats * sizeof *x);
            struct add_args a = {.x = sum, .y = y, .n = n_floats};
            v.table[n].add(&k, &a);
            for (size_t i = 0; i < n_floats; i++)
                assert_true(sum[i] == x[i] + y[i]);
            kernel_ctx_close(&k);
        }
    }
    arena_free(&arena);
}

/* 3 + (0.25 + sigmoid(0) * 0.5), and with gates far out, where sigmoid is 1 and 0. */
static void add_shared_weighs_the_shared_expert_by_its_gate(void **state) {
    (void)state;
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float gate[3] = {0, 200, -200}, x[48], routed[48], shared[48];
    for (size_t n = 0; n < v.n; n++) {
        for (size_t i = 0; i < 48; i++) {
            x[i] = 3;
            routed[i] = 0.25f;
            shared[i] = 0.5f;
        }
        struct add_shared_args a = {
            .x = x, .routed = routed, .shared = shared, .gate = gate, .n_tokens = 3, .d = 16};
        v.table[n].add_shared(&k, &a);
        for (size_t i = 0; i < 16; i++) {
            assert_true(x[i] == 3.5f);
            assert_true(x[16 + i] == 3.75f);
            assert_true(x[32 + i] == 3.25f);
        }
    }
    kernel_ctx_close(&k);
}

static void add_shared_agrees_with_the_reference_and_keeps_its_bits(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    const uint32_t n_tokens = 19, d = 512;
    const size_t n_floats = (size_t)n_tokens * d;
    float *x = random_floats(&arena, n_floats, 1, 1), *want = floats(&arena, n_floats);
    struct add_shared_args a = {.routed = random_floats(&arena, n_floats, 2, 1),
                                .shared = random_floats(&arena, n_floats, 3, 1),
                                .gate = random_floats(&arena, n_tokens, 4, 5),
                                .n_tokens = n_tokens,
                                .d = d};
    struct kernel_ctx k1 = kernel_ctx_open(1);
    memcpy(want, x, n_floats * sizeof *x);
    a.x = want;
    add_shared_ref(&k1, &a);
    kernel_ctx_close(&k1);
    float *first = NULL;
    for (size_t n = 1; n < v.n; n++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            float *got = floats(&arena, n_floats);
            memcpy(got, x, n_floats * sizeof *x);
            a.x = got;
            v.table[n].add_shared(&k, &a);
            if (!first)
                first = got;
            assert_true(same_bits(got, first, n_floats));
            /* Terms of size 1 may cancel; the error is relative to them. */
            assert_true(worst_relative(got, want, n_floats, 1) <= 2e-6);
            kernel_ctx_close(&k);
        }
    }
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swiglu_agrees_with_the_formula_over_the_whole_range_of_float),
        cmocka_unit_test(nan_and_infinity_are_not_hidden),
        cmocka_unit_test(swiglu_may_write_over_either_input),
        cmocka_unit_test(swiglu_of_columns_leaves_the_others_alone),
        cmocka_unit_test(add_has_the_same_bits_in_every_variant),
        cmocka_unit_test(add_shared_weighs_the_shared_expert_by_its_gate),
        cmocka_unit_test(add_shared_agrees_with_the_reference_and_keeps_its_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
