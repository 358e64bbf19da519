/* SPDX-License-Identifier: Apache-2.0 */
/* The norm against its formula, its reference, and itself in other batches. */
#include "kernels/rmsnorm/rmsnorm.h"

#include "tests/kernels/support_kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

static void a_row_of_3_and_4_has_the_value_of_the_formula(void **state) {
    (void)state;
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float x[16], w[16], out[16];
    for (uint32_t i = 0; i < 16; i++) {
        x[i] = i % 2 ? 4 : 3; /* mean of squares 12.5 */
        w[i] = (float)i;
    }
    for (size_t n = 0; n < v.n; n++) {
        struct rmsnorm_args a = {.out = out, .x = x, .w = w, .n_tokens = 1, .d = 16, .eps = 1e-6f};
        v.table[n].rmsnorm(&k, &a);
        for (uint32_t i = 0; i < 16; i++) {
            double exact = (i % 2 ? 4 : 3) * i / sqrt(12.5 + 1e-6);
            assert_true(fabs(out[i] - exact) <= 2e-6 * exact);
        }
    }
    kernel_ctx_close(&k);
}

static void variants_agree_with_the_reference_at_every_size_of_input(void **state) {
    (void)state;
    static const float sizes[] = {0, 1e-42f, 1e-30f, 1e-4f, 1, 300, 1e17f};
    static const uint32_t widths[] = {16, 48, 128, 2048};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] * 4; i++) {
        struct arena arena = {0};
        uint32_t d = widths[i % 4], n_tokens = 11;
        size_t n_floats = (size_t)n_tokens * d;
        float *want = floats(&arena, n_floats), *got = floats(&arena, n_floats);
        struct rmsnorm_args a = {.out = want,
                                 .x = random_floats(&arena, n_floats, i, sizes[i / 4]),
                                 .w = random_floats(&arena, d, 100, 2),
                                 .n_tokens = n_tokens,
                                 .d = d,
                                 .eps = 1e-6f};
        rmsnorm_ref(&k, &a);
        a.out = got;
        for (size_t n = 1; n < v.n; n++) {
            v.table[n].rmsnorm(&k, &a);
            assert_true(worst_relative(got, want, n_floats, 1e-37) <= 2e-6);
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

static void bits_do_not_depend_on_variant_threads_or_batch(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    const uint32_t n_tokens = 37, d = 2048;
    size_t n_floats = (size_t)n_tokens * d;
    float *x = random_floats(&arena, n_floats, 1, 1), *w = random_floats(&arena, d, 2, 1);
    float *first = NULL;
    for (size_t n = 1; n < v.n; n++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            float *out = floats(&arena, n_floats);
            struct rmsnorm_args a = {
                .out = out, .x = x, .w = w, .n_tokens = n_tokens, .d = d, .eps = 1e-6f};
            v.table[n].rmsnorm(&k, &a);
            if (!first)
                first = out;
            assert_true(same_bits(out, first, n_floats));
            a.n_tokens = 1;
            for (size_t t = 0; t < n_tokens; t++) {
                a.x = x + t * d;
                a.out = out + t * d;
                v.table[n].rmsnorm(&k, &a);
            }
            assert_true(same_bits(out, first, n_floats));
            kernel_ctx_close(&k);
        }
    }
    arena_free(&arena);
}

static void output_may_be_the_input(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    const size_t n_floats = (size_t)5 * 64;
    float *x = random_floats(&arena, n_floats, 5, 1), *w = random_floats(&arena, 64, 6, 1);
    float *apart = floats(&arena, n_floats), *same = floats(&arena, n_floats);
    for (size_t n = 0; n < v.n; n++) {
        struct rmsnorm_args a = {
            .out = apart, .x = x, .w = w, .n_tokens = 5, .d = 64, .eps = 1e-6f};
        v.table[n].rmsnorm(&k, &a);
        memcpy(same, x, n_floats * sizeof *x);
        a.x = a.out = same;
        v.table[n].rmsnorm(&k, &a);
        assert_true(same_bits(same, apart, n_floats));
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_of_3_and_4_has_the_value_of_the_formula),
        cmocka_unit_test(variants_agree_with_the_reference_at_every_size_of_input),
        cmocka_unit_test(bits_do_not_depend_on_variant_threads_or_batch),
        cmocka_unit_test(output_may_be_the_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
