/* SPDX-License-Identifier: Apache-2.0 */
/* Every stage of sampling on eight logits whose shares can be worked out by hand. */
#include "worker/sampling/sampler.h"

#include "worker/sampling/logprobs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 8

static const float logits[N] = {1.0f, 3.0f, 2.0f, -INFINITY, 0.5f, 2.5f, -1.0f, 3.0f};

static struct sampler_params plain(float temperature) {
    return (struct sampler_params){
        .temperature = temperature, .top_p = 1.0f, .repeat_penalty = 1.0f, .seed = 7};
}

static void make(struct sampler *s, const struct sampler_params *params, struct arena *arena) {
    struct error err;
    if (sampler_init(s, params, N, arena, &err) != OK)
        fail_msg("%s", err.text);
}

/* How often each token comes in n draws at positions 0..n-1. */
static void count(struct sampler *s, uint32_t n, uint32_t counts[N]) {
    memset(counts, 0, N * sizeof *counts);
    for (uint32_t position = 0; position < n; position++)
        counts[sampler_pick(s, logits, position)]++;
}

static void greedy_takes_the_lowest_of_equal_maxima(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler s;
    struct sampler_params params = plain(0);
    make(&s, &params, &arena);
    assert_int_equal(sampler_pick(&s, logits, 0), 1);
    arena_free(&arena);
}

static void draws_follow_the_softmax(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler s;
    struct sampler_params params = plain(0.7f);
    uint32_t counts[N], n = 200000;
    make(&s, &params, &arena);
    count(&s, n, counts);
    double total = 0;
    for (int i = 0; i < N; i++)
        total += exp(logits[i] / 0.7);
    for (int i = 0; i < N; i++) {
        double p = exp(logits[i] / 0.7) / total;
        /* five standard deviations */
        assert_true(fabs(counts[i] - n * p) <= 5 * sqrt(n * p * (1 - p)) + 1e-9);
    }
    assert_int_equal(counts[3], 0);
    arena_free(&arena);
}

static void top_k_keeps_k(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler s;
    struct sampler_params params = plain(5.0f);
    uint32_t counts[N];
    params.top_k = 3; /* 3.0, 3.0, 2.5 */
    make(&s, &params, &arena);
    count(&s, 5000, counts);
    for (int i = 0; i < N; i++)
        assert_int_equal(counts[i] > 0, i == 1 || i == 7 || i == 5);
    arena_free(&arena);
}

static void top_p_keeps_the_smallest_sufficient_set(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler s;
    struct sampler_params params = plain(1.0f);
    uint32_t counts[N];
    /* Shares: 1, 7: 0.303 each; 5: 0.184; 2: 0.112; ... 0.7 needs three of them. */
    params.top_p = 0.7f;
    make(&s, &params, &arena);
    count(&s, 5000, counts);
    for (int i = 0; i < N; i++)
        assert_int_equal(counts[i] > 0, i == 1 || i == 7 || i == 5);
    /* The same after top-k, and with nothing but the best. */
    params.top_k = 6;
    sampler_reset(&s, &params);
    count(&s, 5000, counts);
    for (int i = 0; i < N; i++)
        assert_int_equal(counts[i] > 0, i == 1 || i == 7 || i == 5);
    params.top_p = 0.0f;
    sampler_reset(&s, &params);
    count(&s, 100, counts);
    assert_int_equal(counts[1], 100);
    arena_free(&arena);
}

static void min_p_drops_the_improbable(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler s;
    struct sampler_params params = plain(1.0f);
    uint32_t counts[N];
    params.min_p = 0.5f; /* e^-0.5 = 0.61 stays, e^-1 = 0.37 goes */
    make(&s, &params, &arena);
    count(&s, 5000, counts);
    for (int i = 0; i < N; i++)
        assert_int_equal(counts[i] > 0, i == 1 || i == 7 || i == 5);
    arena_free(&arena);
}

static void a_draw_depends_on_seed_choice_and_position_only(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler a, b;
    struct sampler_params params = plain(1.0f);
    make(&a, &params, &arena);
    make(&b, &params, &arena);
    for (uint64_t position = 100; position < 200; position++)
        sampler_pick(&a, logits, position); /* history must not matter */
    for (uint64_t position = 0; position < 200; position++)
        assert_int_equal(sampler_pick(&a, logits, position), sampler_pick(&b, logits, position));
    int n_other = 0;
    params.choice = 1;
    sampler_reset(&b, &params);
    for (uint64_t position = 0; position < 200; position++)
        n_other += sampler_pick(&a, logits, position) != sampler_pick(&b, logits, position);
    assert_true(n_other > 50);
    arena_free(&arena);
}

static void penalties_and_bias_change_the_best(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler s;
    struct sampler_params params = plain(0);
    params.presence_penalty = 0.25f;
    make(&s, &params, &arena);
    sampler_accept(&s, 1);
    assert_int_equal(sampler_pick(&s, logits, 0), 7); /* 2.75 < 3 */
    params.presence_penalty = 0;
    params.frequency_penalty = 0.25f;
    sampler_reset(&s, &params);
    for (int i = 0; i < 3; i++) {
        sampler_accept(&s, 1);
        sampler_accept(&s, 7);
    }
    assert_int_equal(sampler_pick(&s, logits, 0), 5); /* 3 - 0.75 < 2.5 */
    params.frequency_penalty = 0;
    params.repeat_penalty = 2.0f;
    sampler_reset(&s, &params);
    int32_t prompt[] = {1, 7, 5};
    sampler_saw_prompt(&s, prompt, 3);
    assert_int_equal(sampler_pick(&s, logits, 0), 2);
    struct logit_bias bias = {.id = 6, .bias = 10};
    params = plain(0);
    params.bias = &bias;
    params.n_bias = 1;
    sampler_reset(&s, &params);
    assert_int_equal(sampler_pick(&s, logits, 0), 6);
    bias = (struct logit_bias){.id = 3, .bias = 100}; /* not in the vocabulary: stays out */
    assert_int_equal(sampler_pick(&s, logits, 0), 1);
    arena_free(&arena);
}

static void a_sampler_that_forgets_is_like_new(void **state) {
    (void)state;
    struct arena arena = {0};
    struct sampler s;
    struct sampler_params params = plain(0);
    params.repeat_penalty = 4;
    params.frequency_penalty = 0.5f;
    make(&s, &params, &arena);
    const int32_t seen[] = {1, 7, 5, 5};
    assert_int_equal(sampler_pick(&s, logits, 0), 1);
    sampler_saw_prompt(&s, seen, 2);
    sampler_accept(&s, seen[2]);
    sampler_accept(&s, seen[3]);
    assert_int_equal(sampler_pick(&s, logits, 4), 2);
    sampler_forget(&s, seen, 4);
    assert_int_equal(sampler_pick(&s, logits, 4), 1);
    arena_free(&arena);
}

static void wrong_parameters_are_named(void **state) {
    (void)state;
    struct error err;
    struct sampler_params params = plain(-1);
    assert_int_equal(sampler_params_check(&params, N, &err), ERR_INPUT);
    assert_string_equal(err.text, "temperature: -1 is not in 0..100");
    params = plain(NAN);
    assert_int_equal(sampler_params_check(&params, N, &err), ERR_INPUT);
    params = plain(1);
    struct logit_bias bias = {.id = N, .bias = 1};
    params.bias = &bias;
    params.n_bias = 1;
    assert_int_equal(sampler_params_check(&params, N, &err), ERR_INPUT);
    assert_string_equal(err.text, "logit_bias: token 8 is outside the vocabulary of 8");
}

static void top_k_of_logits_is_sorted_and_normal(void **state) {
    (void)state;
    struct token_logprob top[N];
    assert_int_equal(logits_top_k(logits, N, N, top), N - 1);
    static const int32_t order[] = {1, 7, 5, 2, 0, 4, 6};
    double sum = 0;
    for (int i = 0; i < N - 1; i++) {
        assert_int_equal(top[i].id, order[i]);
        sum += exp(top[i].logprob);
    }
    assert_true(fabs(sum - 1) < 1e-12);
    for (uint32_t k = 0; k < N; k++) {
        struct token_logprob fewer[N];
        assert_int_equal(logits_top_k(logits, N, k, fewer), k < N - 1 ? k : N - 1);
        for (uint32_t i = 0; i < k && i < N - 1; i++)
            assert_int_equal(fewer[i].id, order[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_lowest_of_equal_maxima),
        cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(top_k_keeps_k),
        cmocka_unit_test(top_p_keeps_the_smallest_sufficient_set),
        cmocka_unit_test(min_p_drops_the_improbable),
        cmocka_unit_test(a_draw_depends_on_seed_choice_and_position_only),
        cmocka_unit_test(penalties_and_bias_change_the_best),
        cmocka_unit_test(a_sampler_that_forgets_is_like_new),
        cmocka_unit_test(wrong_parameters_are_named),
        cmocka_unit_test(top_k_of_logits_is_sorted_and_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
