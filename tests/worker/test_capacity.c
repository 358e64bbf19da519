/* SPDX-License-Identifier: Apache-2.0 */
/* Capacities: the same on all ranks, even within a node, and no finer than noise allows. */
#include "worker/capacity.h"

#include "tests/support/thread_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define N_RANKS 6

struct run {
    const double *speeds; /* [N_RANKS]; NULL: measured */
    struct plan_rank ranks[N_RANKS][N_RANKS];
    double measured[N_RANKS];
};

static enum status share(struct group *group, void *user, struct error *err) {
    struct run *run = user;
    uint32_t own = group->rank_idx;
    if (run->speeds)
        run->measured[own] = run->speeds[own];
    else
        TRY(capacity_measure(group, 1, &run->measured[own], err));
    return capacity_share(group, run->measured[own], run->ranks[own], err);
}

static void run_ranks(struct run *run, uint32_t n_nodes) {
    struct error err;
    if (thread_group_run(N_RANKS, n_nodes, share, run, &err) != OK)
        fail_msg("%s", err.text);
    for (uint32_t who = 0; who < N_RANKS; who++) {
        for (uint32_t i = 0; i < N_RANKS; i++) {
            const struct plan_rank *rank = &run->ranks[who][i];
            assert_int_equal(rank->node, group_pretended_node(i, N_RANKS, n_nodes));
            assert_true(rank->capacity == run->ranks[0][i].capacity);
        }
    }
}

static void expect_quarters(const double *speeds, uint32_t n_nodes, const uint32_t *quarters) {
    struct run run = {.speeds = speeds};
    run_ranks(&run, n_nodes);
    for (uint32_t i = 0; i < N_RANKS; i++)
        assert_true(run.ranks[0][i].capacity == quarters[i]);
}

static void noise_makes_no_difference(void **state) {
    (void)state;
    expect_quarters((const double[]){30e9, 28e9, 31e9, 27.5e9, 29e9, 30e9}, 3,
                    (const uint32_t[]){4, 4, 4, 4, 4, 4});
}

static void slow_nodes_have_less(void **state) {
    (void)state;
    expect_quarters((const double[]){40e9, 40e9, 21e9, 19e9, 31e9, 30e9}, 3,
                    (const uint32_t[]){4, 4, 2, 2, 3, 3});
    expect_quarters((const double[]){40e9, 40e9, 40e9, 1e9, 1e9, 1e9}, 2,
                    (const uint32_t[]){4, 4, 4, 1, 1, 1});
}

/* They share its memory: who was faster at one moment is not at the next. */
static void ranks_of_a_node_are_equal(void **state) {
    (void)state;
    expect_quarters((const double[]){10e9, 50e9, 30e9, 5e9, 20e9, 5e9}, 2,
                    (const uint32_t[]){4, 4, 4, 1, 1, 1});
}

static void every_rank_measures_itself(void **state) {
    (void)state;
    struct run run = {.speeds = NULL};
    run_ranks(&run, 2);
    for (uint32_t i = 0; i < N_RANKS; i++) {
        assert_true(run.measured[i] > 0);
        assert_true(run.ranks[0][i].capacity >= 1 && run.ranks[0][i].capacity <= 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_makes_no_difference),
        cmocka_unit_test(slow_nodes_have_less),
        cmocka_unit_test(ranks_of_a_node_are_equal),
        cmocka_unit_test(every_rank_measures_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
