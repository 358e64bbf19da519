/* SPDX-License-Identifier: Apache-2.0 */
/* Which experts are chosen, in which order, with which weights, and what a broken token gets. */
#include "kernels/router/router.h"

#include "tests/kernels/support_kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

static void route(const float *logits, uint32_t n_tokens, uint32_t n_experts, uint32_t top_k,
                  uint32_t *ids, float *weights) {
    struct kernel_ctx k = kernel_ctx_open(1);
    struct router_args a = {.ids = ids,
                            .weights = weights,
                            .logits = logits,
                            .n_tokens = n_tokens,
                            .n_experts = n_experts,
                            .top_k = top_k};
    router_ref(&k, &a);
    kernel_ctx_close(&k);
}

/* Twelve experts, four chosen. Computed with PyTorch 2.15 in float64: softmax over all, topk,
 * renormalised, sorted by expert. */
static void values_are_those_of_pytorch(void **state) {
    (void)state;
    static const uint32_t want_ids[] = {1, 4, 5, 8};
    static const float want[] = {0.265915961f, 0.187817888f, 0.0434772543f, 0.502788897f};
    struct arena arena = {0};
    float *logits = wave_floats(&arena, 12, 1.7, 0.4), weights[4];
    uint32_t ids[4];
    for (size_t i = 0; i < 12; i++)
        logits[i] *= 5;
    route(logits, 1, 12, 4, ids, weights);
    assert_memory_equal(ids, want_ids, sizeof ids);
    for (size_t i = 0; i < 4; i++)
        assert_true(fabsf(weights[i] - want[i]) <= 1e-7f);
    arena_free(&arena);
}

static void equal_logits_go_to_the_lower_expert(void **state) {
    (void)state;
    static const float logits[] = {1, 2, 2, 1, 2, 2, 1};
    static const uint32_t want_ids[] = {1, 2, 4};
    uint32_t ids[3];
    float weights[3];
    route(logits, 1, 7, 3, ids, weights);
    assert_memory_equal(ids, want_ids, sizeof ids);
    for (size_t i = 0; i < 3; i++)
        assert_true(weights[i] == 1.0f / 3);
}

static void all_experts_may_be_chosen(void **state) {
    (void)state;
    static const float logits[] = {-1000, 0, 1000};
    uint32_t ids[3];
    float weights[3];
    route(logits, 1, 3, 3, ids, weights);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(ids[i], i);
        assert_true(weights[i] == (i == 2 ? 1.0f : 0.0f));
    }
}

static void a_nan_is_chosen_last_and_seen_in_the_weights(void **state) {
    (void)state;
    static const float some[] = {NAN, 1, NAN, 3, 2}, all[] = {NAN, NAN, NAN};
    static const uint32_t without[] = {1, 3, 4}, with[] = {0, 1, 3, 4}, lowest[] = {0, 1};
    uint32_t ids[4];
    float weights[4];
    route(some, 1, 5, 3, ids, weights);
    assert_memory_equal(ids, without, sizeof without);
    assert_true(weights[0] + weights[1] + weights[2] > 0.999f);
    route(some, 1, 5, 4, ids, weights);
    assert_memory_equal(ids, with, sizeof with);
    assert_true(isnan(weights[0]));
    route(all, 1, 3, 2, ids, weights);
    assert_memory_equal(ids, lowest, sizeof lowest);
    assert_true(isnan(weights[0]) && isnan(weights[1]));
}

struct ranked {
    float logit;
    uint32_t id;
};

static int by_logit_then_id(const void *left, const void *right) {
    const struct ranked *l = left, *r = right;
    if (l->logit != r->logit)
        return l->logit > r->logit ? -1 : 1;
    return l->id < r->id ? -1 : 1;
}

static int by_id(const void *left, const void *right) {
    uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
    return l < r ? -1 : l > r;
}

/* Against a sort, with many equal logits, at the family's shapes. */
static void choice_is_that_of_a_sort(void **state) {
    (void)state;
    static const uint32_t shapes[][2] = {{1, 1}, {16, 4}, {128, 8}, {256, 8}, {512, 10}, {512, 32}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct arena arena = {0};
        uint32_t n_tokens = 40, n = shapes[s][0], top_k = shapes[s][1];
        float *logits = random_floats(&arena, (size_t)n_tokens * n, s, 20);
        float *weights = floats(&arena, (size_t)n_tokens * top_k);
        uint32_t *ids = arena_array(&arena, (size_t)n_tokens * top_k, sizeof *ids);
        struct ranked *ranked = arena_array(&arena, n, sizeof *ranked);
        for (size_t i = 0; i < (size_t)n_tokens * n; i++)
            logits[i] = roundf(logits[i]);
        route(logits, n_tokens, n, top_k, ids, weights);
        for (uint32_t t = 0; t < n_tokens; t++) {
            uint32_t want[ROUTER_TOP_K_MAX];
            double sum = 0;
            for (uint32_t i = 0; i < n; i++)
                ranked[i] = (struct ranked){.logit = logits[(size_t)t * n + i], .id = i};
            qsort(ranked, n, sizeof *ranked, by_logit_then_id);
            for (uint32_t i = 0; i < top_k; i++) {
                want[i] = ranked[i].id;
                sum += exp((double)ranked[i].logit);
            }
            qsort(want, top_k, sizeof *want, by_id);
            assert_memory_equal(ids + (size_t)t * top_k, want, top_k * sizeof *want);
            for (uint32_t i = 0; i < top_k; i++) {
                double exact = exp((double)logits[(size_t)t * n + want[i]]) / sum;
                assert_true(fabs(weights[(size_t)t * top_k + i] - exact) <= 1e-7 * exact);
            }
        }
        arena_free(&arena);
    }
}

static void bits_do_not_depend_on_threads_or_batch(void **state) {
    (void)state;
    struct arena arena = {0};
    const uint32_t n_tokens = 33, n_experts = 256, top_k = 8;
    float *logits = random_floats(&arena, (size_t)n_tokens * n_experts, 1, 3);
    float *first = floats(&arena, (size_t)n_tokens * top_k);
    float *weights = floats(&arena, (size_t)n_tokens * top_k);
    uint32_t *ids = arena_array(&arena, (size_t)n_tokens * top_k, sizeof *ids);
    for (uint32_t t = 0; t < n_tokens; t++)
        route(logits + (size_t)t * n_experts, 1, n_experts, top_k, ids, first + (size_t)t * top_k);
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads++) {
        struct kernel_ctx k = kernel_ctx_open(n_threads);
        struct router_args a = {.ids = ids,
                                .weights = weights,
                                .logits = logits,
                                .n_tokens = n_tokens,
                                .n_experts = n_experts,
                                .top_k = top_k};
        router_ref(&k, &a);
        assert_true(same_bits(weights, first, (size_t)n_tokens * top_k));
        kernel_ctx_close(&k);
    }
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_pytorch),
        cmocka_unit_test(equal_logits_go_to_the_lower_expert),
        cmocka_unit_test(all_experts_may_be_chosen),
        cmocka_unit_test(a_nan_is_chosen_last_and_seen_in_the_weights),
        cmocka_unit_test(choice_is_that_of_a_sort),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
