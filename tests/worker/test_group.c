/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker group promises, for groups of one to eight threads on one to four nodes. */
#include "base/clock.h"
#include "base/rng.h"
#include "tests/support/thread_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct shape {
    uint32_t n_ranks, n_nodes;
};

static const struct shape shapes[] = {{1, 1}, {2, 1}, {2, 2}, {3, 2}, {4, 4},
                                      {5, 2}, {8, 1}, {8, 2}, {8, 4}};
#define N_SHAPES (sizeof shapes / sizeof shapes[0])

static void run_all_shapes(thread_group_fn *fn) {
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct error err;
        if (thread_group_run(shapes[i].n_ranks, shapes[i].n_nodes, fn, NULL, &err) != OK)
            fail_msg("%u ranks on %u nodes: %s", shapes[i].n_ranks, shapes[i].n_nodes, err.text);
    }
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return error_set(err, ERR_INPUT, "line %d: not so: %s", __LINE__, #condition);         \
    } while (0)

/* ---- values ---- */

static enum status broadcast_many(struct group *group, void *user, struct error *err) {
    (void)user;
    unsigned char *data = malloc(GROUP_BROADCAST_MAX);
    if (!data)
        return error_set(err, ERR_NOMEM, "no memory");
    static const uint64_t sizes[] = {1, 0, 17, GROUP_BROADCAST_MAX, 4096, 3};
    enum status status = OK;
    for (uint64_t i = 0; !status && i < 60; i++) {
        uint64_t bytes = sizes[i % 6], key = i;
        if (group->rank_idx == 0) {
            for (uint64_t k = 0; k < bytes; k++)
                data[k] = (unsigned char)rng_u64(key, k);
        } else {
            memset(data, 0, bytes);
            bytes = 1;
        }
        status = group_broadcast(group, data, GROUP_BROADCAST_MAX, &bytes, err);
        if (!status && bytes != sizes[i % 6])
            status = error_set(err, ERR_INPUT, "%llu bytes", (unsigned long long)bytes);
        for (uint64_t k = 0; !status && k < bytes; k++) {
            if (data[k] != (unsigned char)rng_u64(key, k))
                status = error_set(err, ERR_INPUT, "message %llu, byte %llu is wrong",
                                   (unsigned long long)i, (unsigned long long)k);
        }
    }
    free(data);
    return status;
}

static void the_leaders_bytes_reach_all(void **state) {
    (void)state;
    run_all_shapes(broadcast_many);
}

static enum status gather_many(struct group *group, void *user, struct error *err) {
    (void)user;
    uint64_t own[GROUP_GATHER_MAX / 8], all[8 * GROUP_GATHER_MAX / 8];
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t n = i % 3 == 0 ? GROUP_GATHER_MAX / 8 : 1 + i % 5;
        for (uint64_t k = 0; k < n; k++)
            own[k] = rng_u64(i * 100 + group->rank_idx, k);
        TRY(group_all_gather(group, own, n * 8, all, err));
        for (uint64_t k = 0; k < n * group->n_ranks; k++)
            CHECK(all[k] == rng_u64(i * 100 + k / n, k % n));
    }
    return OK;
}

static void everybody_gets_the_facts_of_all(void **state) {
    (void)state;
    run_all_shapes(gather_many);
}

static _Atomic uint32_t n_arrived;

static enum status count_arrivals(struct group *group, void *user, struct error *err) {
    (void)user;
    if (group->rank_idx == 0)
        atomic_store(&n_arrived, 0);
    TRY(group_barrier(group, err));
    for (uint32_t i = 1; i <= 300; i++) {
        atomic_fetch_add(&n_arrived, 1);
        TRY(group_barrier(group, err));
        CHECK(atomic_load(&n_arrived) == i * group->n_ranks);
        TRY(group_barrier(group, err));
    }
    return OK;
}

static void nobody_passes_a_barrier_before_all_came(void **state) {
    (void)state;
    run_all_shapes(count_arrivals);
}

static enum status resize(struct group *group, void *user, struct error *err) {
    (void)user;
    uint32_t own = group->rank_idx - group->node_rank_begin;
    TRY(group_resize_windows(group, 100000, err));
    memset(window_part(group->window, own), (int)group->rank_idx + 1, 100000);
    TRY(group_barrier(group, err));
    for (uint32_t i = 0; i < group->n_node_ranks; i++) {
        const unsigned char *part = window_part(group->window, i);
        CHECK(part[99999] == group->node_rank_begin + i + 1);
    }
    TRY(group_resize_windows(group, 200000, err));
    CHECK(*(unsigned char *)window_part(group->window, own) == 0);
    return OK;
}

static void windows_grow_on_all_nodes(void **state) {
    (void)state;
    run_all_shapes(resize);
}

/* ---- errors ---- */

/* In round r rank r fails, and rank 3 with it where there is one. */
static enum status fail_in_turns(struct group *group, void *user, struct error *err) {
    (void)user;
    for (uint32_t round = 0; round < group->n_ranks; round++) {
        struct error own = {.status = OK, .text = ""};
        bool fails = group->rank_idx == round || (round < 3 && group->rank_idx == 3);
        group_set_phase(group, PHASE_LOAD, round);
        TRY(group_agree(group, OK, err));
        if (fails)
            error_set(&own, ERR_LIMIT, "tensor %u is too large", group->rank_idx);
        CHECK(group_agree(group, own.status, &own) == ERR_LIMIT);
        char wanted[96], who[48] = "";
        if (!fails)
            snprintf(who, sizeof who, "rank %u: phase load, layer %u: ", round, round);
        snprintf(wanted, sizeof wanted, "%stensor %u is too large", who,
                 fails ? group->rank_idx : round);
        CHECK(strcmp(own.text, wanted) == 0);
    }
    return OK;
}

static void one_error_becomes_everyones_with_its_text(void **state) {
    (void)state;
    run_all_shapes(fail_in_turns);
}

static enum status say_too_much(struct group *group, void *user, struct error *err) {
    (void)user;
    char data[8] = "";
    uint64_t bytes = 9;
    if (group->rank_idx == 0)
        CHECK(group_broadcast(group, data, 8, &bytes, err) == ERR_LIMIT);
    bytes = 8;
    enum status status = group_broadcast(group, data, group->rank_idx == 0 ? 8 : 7, &bytes, err);
    CHECK(status == (group->rank_idx == 0 ? OK : ERR_LIMIT));
    return group_barrier(group, err);
}

static void a_message_that_does_not_fit_is_refused(void **state) {
    (void)state;
    struct error err;
    if (thread_group_run(4, 2, say_too_much, NULL, &err) != OK)
        fail_msg("%s", err.text);
}

/* The rank that `user` names stays away; all others must learn so, one way or the other. */
static enum status stay_away(struct group *group, void *user, struct error *err) {
    uint32_t away = *(uint32_t *)user;
    TRY(group_barrier(group, err));
    if (group->rank_idx == away)
        return OK;
    enum status status = group_barrier(group, err);
    CHECK(status == ERR_COMM);
    if (group->ranks[away].node == group->node_idx) {
        char text[64];
        snprintf(text, sizeof text, "rank %u did not come within 300 ms", away);
        CHECK(strcmp(err->text, text) == 0);
    }
    return OK;
}

static void a_missing_rank_is_an_error_on_all_others(void **state) {
    (void)state;
    struct thread_group_options options = {.n_ranks = 4, .n_nodes = 2, .timeout_ms = 300};
    for (uint32_t away = 0; away < 4; away++) {
        struct error err;
        if (thread_group_run_with(&options, stay_away, &away, &err) != OK)
            fail_msg("rank %u away: %s", away, err.text);
    }
}

static enum status fail_alone(struct group *group, void *user, struct error *err) {
    uint32_t failing = *(uint32_t *)user;
    TRY(group_barrier(group, err));
    if (group->rank_idx == failing)
        return error_set(err, ERR_DEVICE, "out of paper");
    enum status status = group_barrier(group, err);
    CHECK(status == ERR_CANCELLED && group_is_aborted(group));
    CHECK(group_barrier(group, err) == ERR_CANCELLED);
    return status;
}

static void an_abort_ends_the_waits_of_all(void **state) {
    (void)state;
    for (uint32_t failing = 0; failing < 4; failing++) {
        struct error err;
        uint64_t begin_ns = clock_ns();
        assert_int_equal(thread_group_run(4, 2, fail_alone, &failing, &err), ERR_DEVICE);
        assert_non_null(strstr(err.text, ": out of paper"));
        assert_true(clock_seconds_since(begin_ns) * 1000 < THREAD_GROUP_TIMEOUT_MS);
    }
}

static void phases_have_names(void **state) {
    (void)state;
    assert_string_equal(group_phase_name(PHASE_EXCHANGE), "exchange");
    assert_string_equal(group_phase_name(PHASE_SELF_TEST), "self-test");
    assert_string_equal(group_phase_name((enum group_phase)77), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leaders_bytes_reach_all),
        cmocka_unit_test(everybody_gets_the_facts_of_all),
        cmocka_unit_test(nobody_passes_a_barrier_before_all_came),
        cmocka_unit_test(windows_grow_on_all_nodes),
        cmocka_unit_test(one_error_becomes_everyones_with_its_text),
        cmocka_unit_test(a_message_that_does_not_fit_is_refused),
        cmocka_unit_test(a_missing_rank_is_an_error_on_all_others),
        cmocka_unit_test(an_abort_ends_the_waits_of_all),
        cmocka_unit_test(phases_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
