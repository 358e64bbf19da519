/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of scaling on invented runs whose results are known by hand. */
#include "bench/scale.h"
#include "bench/scale_plot.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-9 * (1 + fabs(expected))))
        fail_msg("%.12g instead of %.12g", value, expected);
}

static double sum_of(const double *shares) {
    double sum = 0;
    for (int part = 0; part < SCALE_PARTS_N; part++)
        sum += shares[part];
    return sum;
}

/* Two ranks for 10 s: one computes 6 s and is waited for, the other computes 4 s and waits. */
static void shares_are_parts_of_the_time_of_all_ranks(void **state) {
    (void)state;
    struct engine_rank_report ranks[2] = {
        {.run_ns = 8000000000,
         .traffic = {.weight_bytes = 500, .state_bytes = 60, .kv_bytes = 40, .expert_rows = 30},
         .exchange = {.sum_ns = 1000000000, .combine_ns = 1000000000, .node_bytes = 70}},
        {.run_ns = 9000000000,
         .traffic = {.weight_bytes = 400, .expert_rows = 10},
         .exchange = {.dispatch_ns = 1000000000,
                      .logits_ns = 500000000,
                      .wait_ns = 3500000000,
                      .return_bytes = 30}}};
    struct scale_run run = {.test = {.n_gen = 10, .n_seqs = 2}, .n_ranks = 2};
    struct scale_observed o = {
        .seconds = 10, .n_tokens = 20, .ranks = ranks, .read_bytes_per_s = 150};
    scale_run_evaluate(&run, &o);
    assert_near(run.tokens_per_s, 2);
    assert_near(run.shares[SCALE_COMPUTE], 0.5); /* 6 + 4 of 20 */
    assert_near(run.shares[SCALE_SUM], 0.05);
    assert_near(run.shares[SCALE_DISPATCH], 0.05);
    assert_near(run.shares[SCALE_COMBINE], 0.05);
    assert_near(run.shares[SCALE_LOGITS], 0.025);
    assert_near(run.shares[SCALE_WAIT], 0.175);
    assert_near(run.shares[SCALE_HOST], 0.15); /* 2 + 1 */
    assert_near(sum_of(run.shares), 1);
    assert_near(run.expert_load, 1.5); /* 30 of a mean of 20 */
    assert_near(run.bytes_per_token, 50);
    assert_near(run.sent_bytes_per_token, 5);
    /* The busiest reads 600 bytes at half of 150 B/s, and 1.5 s are between steps. */
    assert_near(run.predicted_tokens_per_s, 20 / 9.5);
}

static void what_is_not_known_is_not_a_number(void **state) {
    (void)state;
    struct engine_rank_report rank = {.run_ns = 1000, .traffic = {.weight_bytes = 100}};
    struct scale_run run = {.test = {.n_gen = 1, .n_seqs = 1}, .n_ranks = 1};
    struct scale_observed o = {
        .seconds = 1e-6, .n_tokens = 1, .ranks = &rank, .read_bytes_per_s = NAN};
    scale_run_evaluate(&run, &o);
    assert_true(isnan(run.predicted_tokens_per_s));
    assert_true(isnan(run.expert_load)); /* a dense model */
    o.read_bytes_per_s = 1e9;
    run.test = (struct model_bench_case){.n_prompt = 1, .n_seqs = 1};
    scale_run_evaluate(&run, &o);
    assert_true(isnan(run.predicted_tokens_per_s)); /* prompts are bound by arithmetic */
}

/* A follower may end its last step a little after the leader's clock was read. */
static void clocks_that_differ_leave_shares_that_add_up(void **state) {
    (void)state;
    struct engine_rank_report ranks[2] = {
        {.run_ns = 900, .exchange = {.wait_ns = 100}},
        {.run_ns = 1100, .exchange = {.wait_ns = 800, .sum_ns = 400}}};
    struct scale_run run = {.test = {.n_gen = 1, .n_seqs = 1}, .n_ranks = 2};
    struct scale_observed o = {
        .seconds = 1e-6, .n_tokens = 1, .ranks = ranks, .read_bytes_per_s = NAN};
    scale_run_evaluate(&run, &o);
    assert_near(sum_of(run.shares), 1);
    for (int part = 0; part < SCALE_PARTS_N; part++)
        assert_true(run.shares[part] >= 0);
}

static void group_sizes_double_up_to_the_last(void **state) {
    (void)state;
    static const struct {
        uint32_t n_ranks, n, sizes[SCALE_SIZES_MAX];
    } cases[] = {{1, 1, {1}},
                 {2, 2, {1, 2}},
                 {6, 4, {1, 2, 4, 6}},
                 {8, 4, {1, 2, 4, 8}},
                 {PLAN_RANKS_MAX, 11, {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t sizes[SCALE_SIZES_MAX];
        uint32_t n = scale_group_sizes(cases[i].n_ranks, sizes);
        assert_int_equal(n, cases[i].n);
        assert_memory_equal(sizes, cases[i].sizes, n * sizeof *sizes);
    }
    uint32_t most[SCALE_SIZES_MAX];
    assert_int_equal(scale_group_sizes(1023, most), 11);
}

static struct scale_run run_of(uint32_t n_ranks, uint32_t n_seqs, uint32_t round, double ts) {
    struct scale_run run = {
        .test = {.n_gen = 4, .n_seqs = n_seqs},
        .n_ranks = n_ranks,
        .round = round,
        .tokens_per_s = ts,
        .shares = {[SCALE_COMPUTE] = 1 - 0.1 * round, [SCALE_WAIT] = 0.1 * round},
        .read_bytes_per_s = 1e9,
        .bytes_per_token = 100,
        .expert_load = n_ranks,
        .predicted_tokens_per_s = 2 * ts};
    return run;
}

/* The machine is half as fast in the second round, which must not show in the speed-up. */
static void speedups_are_of_one_round(void **state) {
    (void)state;
    const struct scale_run runs[] = {
        run_of(1, 1, 0, 100), run_of(2, 1, 0, 150), run_of(2, 2, 0, 180),
        run_of(2, 1, 1, 80),  run_of(2, 2, 1, 95),  run_of(1, 1, 1, 50),
        run_of(1, 1, 2, 100), run_of(2, 1, 2, 140), run_of(2, 2, 2, 190),
    };
    uint32_t n = sizeof runs / sizeof runs[0];
    struct scale_series *series = calloc(1, sizeof *series);
    assert_non_null(series);
    series->test = runs[0].test;
    scale_series_make(series, runs, n);
    assert_int_equal(series->n_points, 2);
    const struct scale_point *one = &series->points[0], *two = &series->points[1];
    assert_int_equal(one->n_ranks, 1);
    assert_near(one->speedup, 1);
    assert_near(one->efficiency, 1);
    assert_near(one->tokens_per_s, 100);
    assert_int_equal(two->n_ranks, 2);
    assert_int_equal(two->n_seqs, 1);
    assert_int_equal(two->n_rounds, 3);
    assert_near(two->speedup, 1.5); /* of 1.5, 1.6 and 1.4 */
    assert_near(two->efficiency, 0.75);
    assert_near(two->tokens_per_s, 140);
    assert_near(two->predicted_tokens_per_s, 280);
    assert_near(two->prediction_error, 1);
    assert_near(two->shares[SCALE_COMPUTE], 0.9);
    assert_near(sum_of(two->shares), 1);

    *series = (struct scale_series){.test = runs[0].test, .is_weak = true};
    scale_series_make(series, runs, n);
    assert_int_equal(series->n_points, 2);
    assert_int_equal(series->points[1].n_seqs, 2);
    assert_near(series->points[1].speedup, 1.9); /* of 1.8, 1.9 and 1.9 */
    free(series);
}

/* Something ended the measurement within a round: what it lacks is left out. */
static void rounds_without_one_rank_have_no_speedup(void **state) {
    (void)state;
    const struct scale_run runs[] = {run_of(1, 1, 0, 100), run_of(2, 1, 0, 150),
                                     run_of(4, 1, 1, 90), run_of(2, 1, 1, 10)};
    struct scale_series *series = calloc(1, sizeof *series);
    assert_non_null(series);
    series->test = runs[0].test;
    scale_series_make(series, runs, sizeof runs / sizeof runs[0]);
    assert_int_equal(series->n_points, 2);
    assert_int_equal(series->points[1].n_rounds, 1);
    assert_near(series->points[1].tokens_per_s, 150);
    free(series);
}

static void marks_on_axes_are_round_numbers(void **state) {
    (void)state;
    assert_near(scale_plot_step(2.08, 6), 0.5);
    assert_near(scale_plot_step(8, 6), 2);
    assert_near(scale_plot_step(64, 6), 20);
    assert_near(scale_plot_step(6, 6), 1);
    assert_near(scale_plot_step(600, 6), 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_parts_of_the_time_of_all_ranks),
        cmocka_unit_test(what_is_not_known_is_not_a_number),
        cmocka_unit_test(clocks_that_differ_leave_shares_that_add_up),
        cmocka_unit_test(group_sizes_double_up_to_the_last),
        cmocka_unit_test(speedups_are_of_one_round),
        cmocka_unit_test(rounds_without_one_rank_have_no_speedup),
        cmocka_unit_test(marks_on_axes_are_round_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
