/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between nodes that are not what the exchange sends: rank 1 of two nodes writes them by
 * hand, and rank 0 refuses each by a text that names the sender. */
#include "tests/worker/support_exchange.h"

#include "worker/comm/exchange_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define D_MODEL 32
#define TOP_K   4
#define N_ROWS  2

struct message {
    struct exchange_header header;
    struct {
        struct act_block block;
        uint32_t ids[TOP_K];
        float weights[TOP_K];
    } rows[N_ROWS];
};

struct forged {
    struct exchange_case c;
    struct message message;
    uint64_t bytes;
};

static enum status take_rows(struct exchange_rank *rank, struct error *err) {
    struct activation x = {.d = D_MODEL};
    struct exchange_work work;
    TRY(exchange_dispatch(rank->ex, &(struct exchange_home){.x = &x}, &work, err));
    CHECK(work.x.n_tokens <= N_ROWS);
    return OK;
}

static enum status send_forged(struct group *group, const struct forged *forged,
                               struct error *err) {
    struct transport *t = group->transport;
    transport_request requests[2];
    struct message other;
    TRY(t->ops->receive(t, 0, EXCHANGE_TAG_ROWS, &other, sizeof other, &requests[0], err));
    TRY(t->ops->send(t, 0, EXCHANGE_TAG_ROWS, &forged->message, forged->bytes, &requests[1], err));
    return t->ops->wait(t, requests, 2, NULL, err);
}

static enum status rank_main(struct group *group, void *user, struct error *err) {
    const struct forged *forged = user;
    struct exchange_rank rank;
    TRY(exchange_rank_open(&rank, group, &forged->c, err));
    enum status status =
        group->rank_idx == 0 ? take_rows(&rank, err) : send_forged(group, forged, err);
    exchange_rank_close(&rank);
    return status;
}

/* Right in every byte. */
static struct forged good_message(void) {
    struct forged forged = {
        .c = {.n_ranks = 2,
              .n_nodes = 2,
              .n_groups = 2,
              .strategy = EXCHANGE_ALLTOALL,
              .d_model = D_MODEL,
              .n_heads = 8,
              .n_experts = 64,
              .top_k = TOP_K,
              .n_step_tokens = 8,
              .n_threads = 1},
        .message = {.header = {.n_dispatches = 1,
                               .n_rows = N_ROWS,
                               .row_bytes = sizeof(struct act_block) + TOP_K * 8},
                    .rows = {{.ids = {0, 1, 2, 63}}, {.ids = {5, 9, 31, 32}}}},
        .bytes = sizeof(struct message)};
    return forged;
}

static void assert_refused(struct forged *forged, const char *text) {
    struct error err = {.status = OK, .text = ""};
    assert_int_equal(thread_group_run(2, 2, rank_main, forged, &err), ERR_COMM);
    if (!strstr(err.text, text) || !strstr(err.text, "rank 1"))
        fail_msg("'%s' does not name rank 1 and '%s'", err.text, text);
}

static void a_right_message_is_taken(void **state) {
    (void)state;
    struct forged forged = good_message();
    struct error err = {.status = OK, .text = ""};
    assert_int_equal(sizeof forged.message.rows[0], forged.message.header.row_bytes);
    assert_int_equal(thread_group_run(2, 2, rank_main, &forged, &err), OK);
}

static void a_message_shorter_than_a_header_is_refused(void **state) {
    (void)state;
    struct forged forged = good_message();
    forged.bytes = sizeof(struct exchange_header) - 1;
    assert_refused(&forged, "15 bytes");
}

static void a_message_of_fewer_rows_than_it_says_is_refused(void **state) {
    (void)state;
    struct forged forged = good_message();
    forged.message.header.n_rows++;
    assert_refused(&forged, "for 3 rows");
    forged.message.header.n_rows = UINT32_MAX;
    assert_refused(&forged, "for 4294967295 rows");
}

static void rows_of_another_width_are_refused(void **state) {
    (void)state;
    struct forged forged = good_message();
    forged.message.header.row_bytes /= 2;
    forged.message.header.n_rows *= 2;
    assert_refused(&forged, "rows of 42 bytes");
}

static void a_rank_out_of_step_is_refused(void **state) {
    (void)state;
    struct forged forged = good_message();
    forged.message.header.n_dispatches = 3;
    assert_refused(&forged, "at exchange 3");
}

static void ids_that_are_no_experts_or_do_not_rise_are_refused(void **state) {
    (void)state;
    struct forged forged = good_message();
    forged.message.rows[1].ids[3] = 64;
    assert_refused(&forged, "not rising ids of 64");
    forged.message.rows[1].ids[3] = 31;
    assert_refused(&forged, "not rising ids of 64");
    forged.message.rows[1].ids[3] = UINT32_MAX;
    assert_refused(&forged, "not rising ids of 64");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_message_is_taken),
        cmocka_unit_test(a_message_shorter_than_a_header_is_refused),
        cmocka_unit_test(a_message_of_fewer_rows_than_it_says_is_refused),
        cmocka_unit_test(rows_of_another_width_are_refused),
        cmocka_unit_test(a_rank_out_of_step_is_refused),
        cmocka_unit_test(ids_that_are_no_experts_or_do_not_rise_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
