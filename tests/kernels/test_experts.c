/* SPDX-License-Identifier: Apache-2.0 */
/* experts.h: every variant against its own operations put together one by one, bit for bit; the
 * fast ones against each other and near the reference; threads and batches. */
#include "kernels/experts/experts.h"

#include "tests/kernels/check_experts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#define N(array) (sizeof(array) / sizeof(array)[0])

/* Few and many experts (several per bucket from 128 on), all tokens on the same ones, widths
 * that are no multiple of a panel or of a combining piece, more tokens per expert than a pass. */
static const struct experts_case cases[] = {
    {DTYPE_Q4_K, DTYPE_Q5_K, 8, 2, 5, 256, 256, ROUTING_RANDOM},
    {DTYPE_Q8_0, DTYPE_Q8_0, 512, 10, 3, 96, 64, ROUTING_RANDOM},
    {DTYPE_Q8_0, DTYPE_Q4_0, 256, 8, 4, 288, 32, ROUTING_NEIGHBOURS},
    {DTYPE_IQ2_XXS, DTYPE_IQ4_XS, 16, 4, 9, 512, 512, ROUTING_RANDOM},
    {DTYPE_BF16, DTYPE_F16, 32, 8, 3, 72, 96, ROUTING_RANDOM},
    {DTYPE_Q6_K, DTYPE_F32, 5, 3, 2, 256, 64, ROUTING_RANDOM},
    {DTYPE_F32, DTYPE_IQ4_NL, 7, 1, 6, 64, 160, ROUTING_RANDOM},
    {DTYPE_Q8_0, DTYPE_Q8_0, 3, 2, 150, 32, 32, ROUTING_SAME},
};

static void every_variant_is_the_sum_of_its_operations(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < N(cases); i++) {
        struct arena arena = {0};
        struct experts_data data = experts_case_data(&cases[i], &arena);
        size_t n = (size_t)cases[i].n_tokens * cases[i].d_model;
        float *before = NULL;
        for (size_t v = 0; v < variants.n; v++) {
            float *want = experts_data_compose(&data, &variants.table[v], &k, &arena);
            float *got = experts_data_run(&data, &variants.table[v], &k, &arena);
            if (!same_bits(got, want, n))
                fail_msg("%s: case %zu", variants.table[v].name, i);
            if (v >= 2 && !same_bits(got, before, n))
                fail_msg("case %zu: %s is not %s", i, variants.table[v].name,
                         variants.table[v - 1].name);
            before = got;
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

static void fast_is_near_the_reference(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    const struct experts_case c = {DTYPE_Q4_K, DTYPE_Q6_K, 16, 4, 8, 512, 256, ROUTING_RANDOM};
    struct arena arena = {0};
    struct experts_data data = experts_case_data(&c, &arena);
    float *want = experts_data_run(&data, &variants.table[0], &k, &arena);
    for (size_t v = 1; v < variants.n; v++) {
        float *got = experts_data_run(&data, &variants.table[v], &k, &arena);
        double error = relative_l2(got, want, (size_t)c.n_tokens * c.d_model);
        if (!(error <= 2e-2)) /* two products in a row, each within 1e-2 */
            fail_msg("%s: relative error %g", variants.table[v].name, error);
    }
    arena_free(&arena);
    kernel_ctx_close(&k);
}

static void threads_do_not_show(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    const struct experts_case c = {DTYPE_Q5_K, DTYPE_Q3_K, 24, 6, 11, 512, 256, ROUTING_RANDOM};
    struct arena arena = {0};
    struct experts_data data = experts_case_data(&c, &arena);
    for (size_t v = 0; v < variants.n; v++) {
        float *want = NULL;
        for (uint32_t n_threads = 1; n_threads <= 7; n_threads += 2) {
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            float *got = experts_data_run(&data, &variants.table[v], &k, &arena);
            want = want ? want : got;
            assert_true(same_bits(got, want, (size_t)c.n_tokens * c.d_model));
            kernel_ctx_close(&k);
        }
    }
    arena_free(&arena);
}

static void other_tokens_do_not_show(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    const struct experts_case c = {DTYPE_Q4_K, DTYPE_Q4_K, 8, 3, 21, 256, 256, ROUTING_RANDOM};
    struct arena arena = {0};
    struct experts_data data = experts_case_data(&c, &arena);
    for (size_t v = 0; v < variants.n; v++) {
        float *want = experts_data_run(&data, &variants.table[v], &k, &arena);
        for (uint32_t t = 0; t < c.n_tokens; t++) {
            struct experts_data one = data;
            one.x.n_tokens = 1;
            one.x.x += (size_t)t * c.d_model;
            one.x.blocks += (size_t)t * (c.d_model / ACT_BLOCK);
            one.ids += (size_t)t * c.top_k;
            one.weights += (size_t)t * c.top_k;
            float *got = experts_data_run(&one, &variants.table[v], &k, &arena);
            assert_true(same_bits(got, want + (size_t)t * c.d_model, c.d_model));
        }
    }
    arena_free(&arena);
    kernel_ctx_close(&k);
}

/* Its matrix has panels beyond those of the experts, and rows that fill no panel. */
static void a_product_beside_changes_nothing_and_is_done(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(3);
    const struct experts_case c = {DTYPE_Q4_K, DTYPE_Q6_K, 8, 3, 5, 256, 256, ROUTING_RANDOM};
    const struct matmul_case product = {
        .dtype = DTYPE_Q8_0, .d_out = 1000, .d_in = 128, .n_tokens = 5};
    struct arena arena = {0};
    struct experts_data data = experts_case_data(&c, &arena);
    struct matmul_data other = matmul_case_data(&product, &arena);
    for (size_t v = 0; v < variants.n; v++) {
        size_t n = (size_t)product.n_tokens * product.d_out;
        struct matrix w = matrix_for(&variants.table[v], &other.w, &arena);
        struct matmul_args beside = {.y = floats(&arena, n),
                                     .y_stride = product.d_out,
                                     .x = &other.x,
                                     .w = &w,
                                     .split = &other.split};
        struct experts_data both = data;
        both.beside = &beside;
        float *alone = experts_data_run(&data, &variants.table[v], &k, &arena);
        float *got = experts_data_run(&both, &variants.table[v], &k, &arena);
        assert_true(same_bits(got, alone, (size_t)c.n_tokens * c.d_model));
        assert_true(
            same_bits(beside.y, matmul_data_run(&other, &variants.table[v], &k, &arena), n));
    }
    arena_free(&arena);
    kernel_ctx_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_is_the_sum_of_its_operations),
        cmocka_unit_test(fast_is_near_the_reference),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(other_tokens_do_not_show),
        cmocka_unit_test(a_product_beside_changes_nothing_and_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
