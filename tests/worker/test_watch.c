/* SPDX-License-Identifier: Apache-2.0 */
/* Who is lost, by times alone: silence, standstill, and what is neither. */
#include "worker/link/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define N_RANKS 3u
#define SECOND  1000000000ull

static const struct watch_limits limits = {.silence_ns = 3 * SECOND, .stall_ns = 30 * SECOND};

/* All ranks are heard at `at_ns`; those in `moving` (bits) have done something since. */
static void hear(struct watched ranks[N_RANKS], enum group_phase phase, unsigned moving,
                 uint64_t at_ns) {
    for (uint32_t r = 0; r < N_RANKS; r++) {
        struct rank_report report = ranks[r].last;
        report.phase = phase;
        report.counter += moving >> r & 1u;
        watched_hear(&ranks[r], &report, at_ns);
    }
}

static enum watch_verdict check(struct watched ranks[N_RANKS], uint64_t now_ns, uint32_t *culprit) {
    return watch_check(ranks, N_RANKS, &limits, now_ns, culprit);
}

static void who_waits_while_another_loads_is_well(void **state) {
    (void)state;
    struct watched ranks[N_RANKS] = {0};
    uint32_t culprit;
    for (uint64_t t = 1; t <= 300; t++) {
        hear(ranks, PHASE_LOAD, 1u << 1, t * SECOND);
        assert_int_equal(check(ranks, t * SECOND, &culprit), WATCH_FINE);
    }
}

static void a_group_in_which_nobody_goes_on_stalls_by_the_rank_that_is_behind(void **state) {
    (void)state;
    struct watched ranks[N_RANKS] = {0};
    uint32_t culprit = 99;
    hear(ranks, PHASE_STEP, 7, SECOND);
    ranks[0].last.layer = 5;
    ranks[1].last.layer = 4;
    ranks[2].last.layer = 5;
    for (uint64_t t = 2; t <= 31; t++) {
        hear(ranks, PHASE_STEP, 0, t * SECOND);
        assert_int_equal(check(ranks, t * SECOND, &culprit), WATCH_FINE);
    }
    hear(ranks, PHASE_STEP, 0, 32 * SECOND);
    assert_int_equal(check(ranks, 32 * SECOND, &culprit), WATCH_STALLED);
    assert_int_equal(culprit, 1);
}

static void who_waits_for_others_is_not_the_culprit(void **state) {
    (void)state;
    struct watched ranks[N_RANKS] = {0};
    uint32_t culprit = 99;
    hear(ranks, PHASE_EXCHANGE, 7, SECOND);
    for (uint64_t t = 2; t <= 32; t++) {
        hear(ranks, PHASE_EXCHANGE, 0, t * SECOND);
        ranks[2].last.phase = PHASE_STEP;
    }
    assert_int_equal(check(ranks, 32 * SECOND, &culprit), WATCH_STALLED);
    assert_int_equal(culprit, 2);
}

static void a_group_at_rest_never_stalls(void **state) {
    (void)state;
    struct watched ranks[N_RANKS] = {0};
    uint32_t culprit;
    for (uint64_t t = 1; t <= 300; t++) {
        hear(ranks, PHASE_IDLE, t == 1 ? 7 : 0, t * SECOND);
        assert_int_equal(check(ranks, t * SECOND, &culprit), WATCH_FINE);
    }
}

static void a_silent_rank_is_named_whatever_the_group_does(void **state) {
    (void)state;
    struct watched ranks[N_RANKS] = {0};
    uint32_t culprit = 99;
    hear(ranks, PHASE_IDLE, 7, SECOND);
    for (uint32_t r = 0; r < 2; r++)
        watched_hear(&ranks[r], &ranks[r].last, 3 * SECOND);
    assert_int_equal(check(ranks, 4 * SECOND, &culprit), WATCH_FINE);
    assert_int_equal(check(ranks, 4 * SECOND + 1, &culprit), WATCH_SILENT);
    assert_int_equal(culprit, 2);
}

static void ranks_that_never_came_are_not_watched(void **state) {
    (void)state;
    struct watched ranks[N_RANKS] = {0};
    uint32_t culprit;
    struct rank_report report = {.phase = PHASE_IDLE};
    watched_hear(&ranks[0], &report, 100 * SECOND);
    assert_int_equal(check(ranks, 101 * SECOND, &culprit), WATCH_FINE);
}

/* A watcher that did not run for a minute has heard nobody in it, which says nothing of them. */
static void the_clock_stands_still_while_the_watcher_does(void **state) {
    (void)state;
    struct watch_clock clock = {.step_max_ns = SECOND};
    watch_clock_tick(&clock, 10 * SECOND);
    uint64_t begin = clock.now_ns;
    watch_clock_tick(&clock, 10 * SECOND + SECOND / 2);
    assert_int_equal(clock.now_ns - begin, SECOND / 2);
    watch_clock_tick(&clock, 70 * SECOND);
    assert_int_equal(clock.now_ns - begin, SECOND / 2 + SECOND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_while_another_loads_is_well),
        cmocka_unit_test(a_group_in_which_nobody_goes_on_stalls_by_the_rank_that_is_behind),
        cmocka_unit_test(who_waits_for_others_is_not_the_culprit),
        cmocka_unit_test(a_group_at_rest_never_stalls),
        cmocka_unit_test(a_silent_rank_is_named_whatever_the_group_does),
        cmocka_unit_test(ranks_that_never_came_are_not_watched),
        cmocka_unit_test(the_clock_stands_still_while_the_watcher_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
