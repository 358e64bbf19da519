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
            float *want = experts_data_compose(&data, &variants.table[v], &k, NULL, NULL, &arena);
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

/* Whole, halves, thirds (subtrees of several sizes), single buckets, ranks without any. */
static const uint32_t cuts[][7] = {
    {0, 64}, {0, 32, 64}, {0, 21, 43, 64}, {0, 0, 1, 33, 34, 64}, {0, 13, 13, 50, 63, 64},
};

/* All roots of a token, share by share, added by the tree over everything. */
static void fold_token(struct tree_term *terms, uint32_t n, float *const *rows, uint32_t d) {
    struct tree_add adds[EXPERT_BUCKETS];
    uint32_t n_left =
        tree_fold(EXPERT_BUCKETS, (struct leaf_range){0, EXPERT_BUCKETS}, terms, n, adds);
    assert_int_equal(n_left, 1);
    for (uint32_t j = 0; j + 1 < n; j++) {
        for (uint32_t i = 0; i < d; i++)
            rows[adds[j].to][i] += rows[adds[j].from][i];
    }
}

static void check_cut(const struct experts_data *data, const uint32_t *cut,
                      const struct kernels *kernels, struct kernel_ctx *k) {
    struct arena arena = {0};
    uint32_t d = data->gate.d_in, n_tokens = data->x.n_tokens, n_shares = 0;
    float *y[6];
    uint32_t *leaves[6], *n_rows[6];
    for (; cut[n_shares] < EXPERT_BUCKETS; n_shares++) {
        struct leaf_range buckets = {cut[n_shares], cut[n_shares + 1]};
        struct experts_data share = experts_data_share(data, buckets);
        leaves[n_shares] = arena_array(&arena, experts_data_rows(data), sizeof(uint32_t));
        n_rows[n_shares] = arena_array(&arena, n_tokens, sizeof(uint32_t));
        y[n_shares] = experts_data_run(&share, kernels, k, &arena);
        float *want =
            experts_data_compose(&share, kernels, k, leaves[n_shares], n_rows[n_shares], &arena);
        if (!same_bits(y[n_shares], want, experts_data_rows(data) * d))
            fail_msg("%s: buckets %u to %u", kernels->name, buckets.begin, buckets.end);
    }
    float *whole = experts_data_run(data, kernels, k, &arena);
    for (uint32_t t = 0; t < n_tokens; t++) {
        struct tree_term terms[EXPERT_BUCKETS];
        float *rows[EXPERT_BUCKETS];
        uint32_t n = 0;
        for (uint32_t i = 0; i < n_shares; i++) {
            for (uint32_t r = 0; r < n_rows[i][t]; r++, n++, y[i] += d) {
                terms[n] = (struct tree_term){.leaf = *leaves[i]++, .term = n};
                rows[n] = y[i];
            }
        }
        fold_token(terms, n, rows, d);
        assert_true(same_bits(rows[0], whole + (size_t)t * d, d));
    }
    arena_free(&arena);
}

static void shares_hold_the_roots_of_the_whole(void **state) {
    (void)state;
    static const struct experts_case shared[] = {
        {DTYPE_Q4_K, DTYPE_Q6_K, 8, 3, 7, 256, 256, ROUTING_RANDOM},
        {DTYPE_Q8_0, DTYPE_Q8_0, 512, 10, 3, 96, 64, ROUTING_RANDOM},
        {DTYPE_Q8_0, DTYPE_Q4_0, 200, 8, 4, 288, 32, ROUTING_NEIGHBOURS},
        {DTYPE_BF16, DTYPE_F32, 64, 5, 9, 72, 32, ROUTING_RANDOM},
    };
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < N(shared); i++) {
        struct arena arena = {0};
        struct experts_data data = experts_case_data(&shared[i], &arena);
        for (size_t c = 0; c < N(cuts); c++) {
            for (size_t v = 0; v < variants.n; v++)
                check_cut(&data, cuts[c], &variants.table[v], &k);
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

/* Two products over one matrix, each of some parts of its columns, as a rank has of its part of a
 * shared expert; the matrix has rows that fill no panel. */
static void check_beside(const struct experts_data *data, const struct kernels *kernels,
                         struct kernel_ctx *k, uint32_t n_tokens) {
    const struct matmul_case product = {.dtype = DTYPE_Q8_0,
                                        .d_out = 1000,
                                        .d_in = 2048,
                                        .n_tokens = n_tokens,
                                        .split = SPLIT_RUNS};
    const struct leaf_range own[] = {{2, 4}, {4, 5}};
    struct arena arena = {0};
    struct matmul_data parts[N(own)];
    struct matmul_args beside[N(own)];
    struct matmul_data other = matmul_case_data(&product, &arena);
    struct matrix w = matrix_for(kernels, &other.w, &arena);
    size_t n = (size_t)n_tokens * product.d_out;
    for (size_t i = 0; i < N(own); i++) {
        parts[i] = other;
        parts[i].split = split_parts(&other.split, own[i]);
        beside[i] = (struct matmul_args){.y = floats(&arena, n + 1),
                                         .y_stride = product.d_out,
                                         .x = &parts[i].x,
                                         .w = &w,
                                         .split = &parts[i].split};
    }
    struct experts_data both = *data;
    both.beside = beside;
    both.n_beside = N(own);
    float *alone = experts_data_run(data, kernels, k, &arena);
    float *got = experts_data_run(&both, kernels, k, &arena);
    assert_true(same_bits(got, alone, experts_data_rows(data) * data->gate.d_in));
    for (size_t i = 0; i < N(own); i++)
        assert_true(same_bits(beside[i].y, matmul_data_run(&parts[i], kernels, k, &arena), n));
    arena_free(&arena);
}

static void products_beside_change_nothing_and_are_done(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(3);
    const struct experts_case c = {DTYPE_Q4_K, DTYPE_Q6_K, 8, 3, 5, 256, 256, ROUTING_RANDOM};
    struct arena arena = {0};
    struct experts_data data = experts_case_data(&c, &arena), no_tokens = data;
    no_tokens.x.n_tokens = 0;
    const struct experts_data no_experts = experts_data_share(&data, (struct leaf_range){9, 9});
    for (size_t v = 0; v < variants.n; v++) {
        for (uint32_t n_tokens = 0; n_tokens <= 5; n_tokens += 5) {
            check_beside(&data, &variants.table[v], &k, n_tokens);
            check_beside(&no_tokens, &variants.table[v], &k, n_tokens);
            check_beside(&no_experts, &variants.table[v], &k, n_tokens);
        }
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
        cmocka_unit_test(shares_hold_the_roots_of_the_whole),
        cmocka_unit_test(products_beside_change_nothing_and_are_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
