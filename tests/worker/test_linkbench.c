/* SPDX-License-Identifier: Apache-2.0 */
/* The link benchmark measures every pair once, and notices links that lie or say nothing. */
#include "tests/support/thread_group.h"
#include "worker/comm/linkbench.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return error_set(err, ERR_INPUT, "line %d: not so: %s", __LINE__, #condition);         \
    } while (0)

static enum status check_rows(const struct group *group, const struct linkbench_results *results,
                              struct error *err) {
    uint32_t n = group->n_ranks, n_pairs = 0, n_wide = 0, n_nodes_wide = 0;
    for (uint32_t i = 0; i < results->n_rows; i++) {
        const struct linkbench_row *row = &results->rows[i];
        CHECK(row->first < row->last && row->last < n);
        for (uint32_t s = 0; s < results->n_sizes; s++)
            CHECK(row->us[s] > 0 && isfinite(row->us[s]));
        CHECK(row->alpha_us >= 0 && row->beta_gb_s > 0);
        bool crosses = group->ranks[row->first].node != group->ranks[row->last].node;
        CHECK(row->between_nodes == crosses);
        n_pairs += row->kind == LINKBENCH_PAIR;
        n_wide += row->kind != LINKBENCH_PAIR && row->last - row->first + 1 == n;
        n_nodes_wide += row->kind != LINKBENCH_PAIR && row->last - row->first + 1 < n;
        if (row->kind != LINKBENCH_PAIR || i == 0)
            continue;
        const struct linkbench_row *before = row - 1; /* sorted, so no pair stands twice */
        CHECK(before->first < row->first || before->last < row->last);
    }
    uint32_t n_shared = 0; /* nodes of several ranks */
    for (uint32_t i = 0; i < n; i++)
        n_shared += i > 0 && group->ranks[i - 1].node == group->ranks[i].node &&
                    (i + 1 == n || group->ranks[i + 1].node != group->ranks[i].node);
    CHECK(n_pairs == n * (n - 1) / 2);
    CHECK(n_wide == (n > 1 ? 2 : 0));
    CHECK(n_nodes_wide == (group->n_nodes > 1 ? 2 * n_shared : 0));
    return OK;
}

static enum status measure(struct group *group, void *user, struct error *err) {
    const struct linkbench_options *options = user;
    struct linkbench_results results;
    TRY(linkbench_run(group, options, &results, err));
    CHECK(results.n_sizes == options->n_sizes && results.sizes[0] == options->sizes[0]);
    enum status status = check_rows(group, &results, err);
    linkbench_results_free(&results);
    return status;
}

static void every_pair_and_group_is_measured(void **state) {
    (void)state;
    static const uint32_t shapes[][2] = {{1, 1}, {2, 1}, {2, 2}, {3, 2}, {5, 2}, {6, 1}, {8, 4}};
    struct linkbench_options options = {.sizes = {8, 1024, 65536}, .n_sizes = 3, .n_rounds = 3};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct error err;
        if (thread_group_run(shapes[i][0], shapes[i][1], measure, &options, &err) != OK)
            fail_msg("%u ranks on %u nodes: %s", shapes[i][0], shapes[i][1], err.text);
    }
}

static void many_ranks_are_measured_together(void **state) {
    (void)state;
    struct linkbench_options options = {.sizes = {1024}, .n_sizes = 1, .n_rounds = 2};
    struct error err;
    for (uint32_t n = LINKBENCH_ALONE_RANKS + 1; n <= LINKBENCH_ALONE_RANKS + 2; n++) {
        if (thread_group_run(n, 3, measure, &options, &err) != OK)
            fail_msg("%u ranks: %s", n, err.text);
    }
}

/* ---- links with faults ---- */

/* In front of the transport of one rank: something happens to one of its messages. */
struct faulty {
    struct transport base;
    struct transport *real;
    uint32_t n_sent, fault_at; /* the fault_at-th message of some bytes */
    bool loses;                /* otherwise a bit is changed */
    unsigned char copy[65536];
};

static struct faulty *faulty_of(struct transport *t) {
    return (struct faulty *)(void *)t;
}

static enum status faulty_send(struct transport *t, uint32_t to, uint32_t tag, const void *data,
                               uint64_t bytes, transport_request *out, struct error *err) {
    struct faulty *f = faulty_of(t);
    if (bytes < 1024 || bytes > sizeof f->copy || ++f->n_sent != f->fault_at)
        return f->real->ops->send(f->real, to, tag, data, bytes, out, err);
    memcpy(f->copy, data, bytes);
    f->copy[bytes / 2] ^= 4;
    return f->real->ops->send(f->real, to, f->loses ? TRANSPORT_TAG_MAX : tag, f->copy, bytes, out,
                              err);
}

static enum status faulty_receive(struct transport *t, uint32_t from, uint32_t tag, void *data,
                                  uint64_t capacity, transport_request *out, struct error *err) {
    struct transport *real = faulty_of(t)->real;
    return real->ops->receive(real, from, tag, data, capacity, out, err);
}

static enum status faulty_wait(struct transport *t, const transport_request *requests, uint32_t n,
                               uint64_t *got, struct error *err) {
    struct transport *real = faulty_of(t)->real;
    return real->ops->wait(real, requests, n, got, err);
}

static const struct transport_ops faulty_ops = {
    .send = faulty_send, .receive = faulty_receive, .wait = faulty_wait};

struct fault {
    uint32_t at;
    bool loses;
    struct linkbench_options options;
    enum status statuses[4];
    struct error errors[4];
};

/* Rank 1 has the fault; the real transport is back before the group ends. */
static enum status measure_with_fault(struct group *group, void *user, struct error *err) {
    struct fault *fault = user;
    struct linkbench_results results = {0};
    struct transport *real = group->transport;
    struct faulty *f = calloc(1, sizeof *f);
    CHECK(f);
    f->base.ops = &faulty_ops;
    f->real = real;
    f->fault_at = fault->at;
    f->loses = fault->loses;
    if (group->rank_idx == 1)
        group->transport = &f->base;
    uint32_t own = group->rank_idx;
    fault->statuses[own] = linkbench_run(group, &fault->options, &results, &fault->errors[own]);
    group->transport = real;
    linkbench_results_free(&results);
    free(f);
    return OK;
}

static void a_wrong_value_is_an_error_that_names_the_pair(void **state) {
    (void)state;
    struct fault fault = {.at = 3, .options = {.sizes = {1024, 4096}, .n_sizes = 2, .n_rounds = 3}};
    struct error err;
    if (thread_group_run(4, 2, measure_with_fault, &fault, &err) != OK)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(fault.statuses[i], ERR_COMM);
        const char *text = fault.errors[i].text;
        const char *link = strstr(text, "link of ranks 1 and ");
        if (!link || !strstr(link, "1024 bytes, round 2: byte 512: "))
            fail_msg("rank %u: %s", i, text);
    }
}

static void a_wrong_value_of_a_collective_is_an_error(void **state) {
    (void)state;
    /* Messages of rank 1 in its one pair between nodes: 4; then come gathering and sums. */
    static const struct {
        uint32_t at;
        const char *text;
    } cases[] = {{6, "all-gather of ranks 0 to 1, 2048 bytes, round 1: block of rank 1: byte 512"},
                 {9, "sum of ranks 0 to 1, 2048 bytes, round 0: element 256: the sum is"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fault fault = {.at = cases[i].at,
                              .options = {.sizes = {2048}, .n_sizes = 1, .n_rounds = 3}};
        struct error err;
        if (thread_group_run(2, 2, measure_with_fault, &fault, &err) != OK)
            fail_msg("%s", err.text);
        assert_int_equal(fault.statuses[0], ERR_COMM);
        if (!strstr(fault.errors[0].text, cases[i].text))
            fail_msg("%s", fault.errors[0].text);
    }
}

static void a_lost_message_names_the_pair_after_the_deadline(void **state) {
    (void)state;
    struct thread_group_options group = {.n_ranks = 2, .n_nodes = 2, .timeout_ms = 300};
    struct fault fault = {
        .at = 2, .loses = true, .options = {.sizes = {1024}, .n_sizes = 1, .n_rounds = 3}};
    struct error err;
    if (thread_group_run_with(&group, measure_with_fault, &fault, &err) != OK)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(fault.statuses[i], ERR_COMM);
        if (!strstr(fault.errors[i].text, "link of ranks 0 and 1, 1024 bytes, round 1: "))
            fail_msg("rank %u: %s", i, fault.errors[i].text);
    }
}

static void the_kinds_have_names(void **state) {
    (void)state;
    assert_string_equal(linkbench_kind_name(LINKBENCH_ALL_GATHER), "all-gather");
    struct linkbench_options full = linkbench_full();
    assert_int_equal(full.n_sizes, LINKBENCH_SIZES_MAX);
    assert_int_equal(full.sizes[0], 1024);
    assert_int_equal(full.sizes[full.n_sizes - 1], LINKBENCH_BYTES_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_and_group_is_measured),
        cmocka_unit_test(many_ranks_are_measured_together),
        cmocka_unit_test(a_wrong_value_is_an_error_that_names_the_pair),
        cmocka_unit_test(a_wrong_value_of_a_collective_is_an_error),
        cmocka_unit_test(a_lost_message_names_the_pair_after_the_deadline),
        cmocka_unit_test(the_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
