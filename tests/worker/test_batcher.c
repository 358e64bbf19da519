/* SPDX-License-Identifier: Apache-2.0 */
/* Continuous batching on the demonstration model: whatever shares the steps, a request gets the
 * tokens that it gets alone; and what happens to requests that are wrong, cancelled or unlucky. */
#include "tests/support/thread_group.h"
#include "tests/worker/support_talk.h"

#include "tensor/blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct demo demo;
static struct kind kinds[N_KINDS];

static int open_demo(void **state) {
    (void)state;
    demo_open(&demo, false);
    kinds_make(kinds, &demo);
    return 0;
}

static int close_demo(void **state) {
    (void)state;
    kinds_free(kinds);
    demo_close(&demo);
    return 0;
}

static void every_kind_gets_in_company_what_it_gets_alone(void **state) {
    (void)state;
    struct engine *engine = talk_engine(&demo, 8, 24, 64);
    struct batcher *batcher = talk_batcher(&demo, engine, N_KINDS);
    const struct schedule *schedule = batcher_schedule(batcher);
    struct talk talks[N_KINDS];
    for (uint32_t i = 0; i < N_KINDS; i++)
        talk_begin(&talks[i], &kinds[i], batcher);
    while (schedule->n_running + schedule->n_waiting > 0)
        talk_step(batcher);
    for (uint32_t i = 0; i < N_KINDS; i++) {
        assert_true(talks[i].ended);
        assert_int_equal(talks[i].result.why, SEQ_LENGTH);
        assert_int_equal(talks[i].result.n_new, kinds[i].n_new);
        assert_int_equal(talks[i].n_heard, kinds[i].n_new);
        talk_expect_same(&talks[i]);
        talk_end(&talks[i]);
    }
    assert_true(schedule->counts.n_preempted > 0); /* the pool was small enough to try that too */
    talk_expect_all_free(engine);
    batcher_close(batcher);
    engine_close(engine);
}

static void a_request_stops_at_its_stop_token_or_when_told(void **state) {
    (void)state;
    struct engine *engine = talk_engine(&demo, 3, 0, 512);
    struct batcher *batcher = talk_batcher(&demo, engine, 4);
    struct error err;
    struct talk told, stopped;
    const struct kind *kind = &kinds[1];
    talk_begin(&told, kind, batcher);
    told.stops_after = 3;
    /* The seventh token ends it, unless it came before. */
    int32_t stop_ids[] = {-1, kind->ids[kind->n_prompt + 6]};
    uint32_t n_before = 0;
    while (kind->ids[kind->n_prompt + n_before] != stop_ids[1])
        n_before++;
    struct batcher_request request = talk_prepare(&stopped, kind);
    request.stop_ids = stop_ids;
    request.n_stop_ids = 2;
    assert_int_equal(batcher_submit(batcher, &request, &stopped.seq, &err), OK);
    while (!told.ended || !stopped.ended)
        talk_step(batcher);
    assert_int_equal(told.result.why, SEQ_STOPPED);
    assert_int_equal(told.result.stop_id, -1);
    assert_int_equal(told.result.n_new, 3);
    assert_int_equal(stopped.result.why, SEQ_STOPPED);
    assert_int_equal(stopped.result.stop_id, stop_ids[1]);
    assert_int_equal(stopped.result.n_new, n_before);
    assert_int_equal(stopped.n_heard, n_before);
    talk_expect_same(&told);
    talk_expect_same(&stopped);
    talk_expect_all_free(engine);
    talk_end(&told);
    talk_end(&stopped);
    batcher_close(batcher);
    engine_close(engine);
}

static void who_is_cancelled_frees_place_for_others(void **state) {
    (void)state;
    struct engine *engine = talk_engine(&demo, 2, 0, 512);
    struct batcher *batcher = talk_batcher(&demo, engine, 4);
    struct talk talks[4];
    for (uint32_t i = 0; i < 4; i++)
        talk_begin(&talks[i], &kinds[i], batcher);
    talk_step(batcher);
    assert_int_equal(batcher_schedule(batcher)->n_waiting, 2);
    batcher_cancel(batcher, talks[0].seq); /* runs */
    batcher_cancel(batcher, talks[2].seq); /* waits */
    while (!talks[1].ended || !talks[3].ended)
        talk_step(batcher);
    assert_false(talks[0].ended || talks[2].ended);
    talk_expect_same(&talks[1]);
    talk_expect_same(&talks[3]);
    talk_expect_all_free(engine);
    /* Closing closes what is left. */
    struct talk last;
    talk_begin(&last, &kinds[0], batcher);
    talk_step(batcher);
    batcher_close(batcher);
    talk_expect_all_free(engine);
    assert_false(last.ended);
    talk_end(&last);
    for (uint32_t i = 0; i < 4; i++)
        talk_end(&talks[i]);
    engine_close(engine);
}

static void what_is_wrong_with_a_request_is_said(void **state) {
    (void)state;
    struct engine *engine = talk_engine(&demo, 2, 4, 512);
    struct batcher *batcher = talk_batcher(&demo, engine, 1);
    struct error err;
    struct talk talk;
    uint32_t seq;
    struct batcher_request good = talk_prepare(&talk, &kinds[0]), bad = good;
    int32_t ids[130] = {5, 7, (int32_t)demo.model.hp.n_vocab};
    bad.ids = ids;
    bad.n_prompt = 3;
    assert_int_equal(batcher_submit(batcher, &bad, &seq, &err), ERR_INPUT);
    assert_string_equal(err.text, "prompt: token 2048 at 2 is outside the vocabulary of 2048");
    ids[2] = 0;
    bad.n_prompt = 129;
    assert_int_equal(batcher_submit(batcher, &bad, &seq, &err), ERR_LIMIT);
    assert_string_equal(err.text, "the prompt has 129 tokens, at most 128 fit");
    bad = good;
    bad.sampling.top_p = 2;
    assert_int_equal(batcher_submit(batcher, &bad, &seq, &err), ERR_INPUT);
    bad = good;
    bad.n_stop_ids = BATCHER_STOP_IDS_MAX + 1;
    assert_int_equal(batcher_submit(batcher, &bad, &seq, &err), ERR_LIMIT);
    assert_int_equal(batcher_submit(batcher, &good, &seq, &err), OK);
    assert_int_equal(batcher_submit(batcher, &good, &seq, &err), ERR_LIMIT);
    batcher_close(batcher);

    struct batcher_options options = {.engine = engine, .n_vocab = demo.model.hp.n_vocab};
    assert_int_equal(batcher_open(&batcher, &options, &err), ERR_LIMIT);
    engine_close(engine);
    talk_end(&talk);
}

/* A model whose embedding of one token is not a number. */
static void a_step_without_numbers_ends_its_requests_only(void **state) {
    (void)state;
    enum { BAD_ID = 1234 };
    struct weights *weights = &demo.model.weights;
    const struct tensor embedding = weights->token_embd;
    if (embedding.dtype != DTYPE_Q8_0)
        fail_msg("the demonstration model is of another type");
    size_t bytes = embedding.bytes, row_bytes = dtype_row_bytes(DTYPE_Q8_0, demo.model.hp.d_model);
    unsigned char *poisoned = malloc(bytes);
    assert_non_null(poisoned);
    memcpy(poisoned, embedding.data, bytes);
    struct block_q8_0 *block = (void *)(poisoned + BAD_ID * row_bytes);
    memset(&block->d, 0xff, sizeof block->d);
    weights->token_embd.data = poisoned;
    struct engine *engine = talk_engine(&demo, 1, 0, 512);
    struct batcher *batcher = talk_batcher(&demo, engine, 2);
    struct talk bad, good;
    struct error err;
    struct batcher_request request = talk_prepare(&bad, &kinds[0]);
    bad.ids[bad.kind->n_prompt - 1] = BAD_ID;
    assert_int_equal(batcher_submit(batcher, &request, &bad.seq, &err), OK);
    talk_begin(&good, &kinds[0], batcher);
    while (!good.ended)
        talk_step(batcher);
    assert_int_equal(bad.result.why, SEQ_FAILED);
    assert_int_equal(bad.err.status, ERR_DEVICE);
    assert_non_null(strstr(bad.err.text, "NaN"));
    assert_int_equal(bad.n_heard, 0);
    assert_int_equal(good.result.why, SEQ_LENGTH);
    talk_expect_same(&good);
    talk_expect_all_free(engine);
    batcher_close(batcher);
    engine_close(engine);
    weights->token_embd = embedding;
    free(poisoned);
    talk_end(&bad);
    talk_end(&good);
}

/* A batcher that was told a larger vocabulary lets a token through which the engine refuses. */
static void an_engine_that_cannot_go_on_ends_everybody(void **state) {
    (void)state;
    struct engine *engine = talk_engine(&demo, 2, 0, 512);
    struct batcher *batcher = NULL;
    struct error err;
    struct batcher_options options = {
        .engine = engine, .n_vocab = demo.model.hp.n_vocab + 1, .n_seqs_max = 3};
    assert_int_equal(batcher_open(&batcher, &options, &err), OK);
    struct talk talks[3];
    for (uint32_t i = 0; i < 3; i++) {
        struct batcher_request request = talk_prepare(&talks[i], &kinds[i]);
        if (i == 1)
            talks[i].ids[0] = (int32_t)demo.model.hp.n_vocab;
        assert_int_equal(batcher_submit(batcher, &request, &talks[i].seq, &err), OK);
    }
    assert_int_equal(batcher_step(batcher, &err), ERR_INPUT);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(talks[i].ended);
        assert_int_equal(talks[i].result.why, SEQ_FAILED);
        assert_string_equal(talks[i].err.text, err.text);
        talk_end(&talks[i]);
    }
    assert_int_equal(batcher_step(batcher, &err), OK); /* there is nothing to do */
    talk_expect_all_free(engine);
    batcher_close(batcher);
    engine_close(engine);
}

/* ---- in a group ---- */

struct group_run {
    struct shard_plan plan;
    struct talk talks[N_KINDS];
    uint32_t n_ended, n_groups_used;
    uint64_t n_preempted;
};

/* Ranks are threads, in which nothing may be asserted. */
static void count_end(void *user, const struct batcher_result *result) {
    struct group_run *run = user;
    run->n_ended += result->why == SEQ_LENGTH;
}

static enum status run_all(struct group_run *run, struct engine *engine, struct error *err) {
    struct batcher *batcher = NULL;
    struct batcher_options options = {
        .engine = engine, .n_vocab = demo.model.hp.n_vocab, .n_seqs_max = N_KINDS};
    TRY(batcher_open(&batcher, &options, err));
    const struct schedule *schedule = batcher_schedule(batcher);
    enum status status = OK;
    for (uint32_t i = 0; i < N_KINDS && status == OK; i++) {
        struct batcher_request request = talk_prepare(&run->talks[i], &kinds[i]);
        request.on_token = NULL;
        request.on_end = count_end;
        request.user = run;
        status = batcher_submit(batcher, &request, &run->talks[i].seq, err);
    }
    while (status == OK && schedule->n_running + schedule->n_waiting > 0) {
        status = batcher_step(batcher, err);
        uint32_t n_used = 0;
        for (uint32_t g = 0; g < engine_n_groups(engine); g++)
            n_used += engine_room(engine, g).n_pages_free < engine_room(engine, g).n_pages;
        if (n_used > run->n_groups_used)
            run->n_groups_used = n_used;
    }
    run->n_preempted = schedule->counts.n_preempted;
    batcher_close(batcher);
    return status == OK ? engine_park(engine, err) : status;
}

static enum status run_rank(struct group *group, void *user, struct error *err) {
    struct group_run *run = user;
    struct engine *engine = NULL;
    struct engine_options options = {.hp = &demo.model.hp,
                                     .weights = &demo.model.weights,
                                     .unused_ids = demo.model.unused_ids,
                                     .kernels = "auto",
                                     .n_threads = 1,
                                     .ctx_size = 1024,
                                     .n_seqs = 16,
                                     .n_kv_pages = 44,
                                     .n_step_tokens = 64,
                                     .kv_dtype_auto = true,
                                     .group = group,
                                     .shard = &run->plan,
                                     .strategy = EXCHANGE_GATHER};
    TRY(engine_open(&engine, &options, err));
    enum status status =
        group->rank_idx > 0 ? engine_follow(engine, err) : run_all(run, engine, err);
    engine_close(engine);
    return status;
}

static void attention_groups_share_the_requests(void **state) {
    (void)state;
    enum { N_RANKS = 3 };
    struct plan_rank ranks[N_RANKS];
    struct group_run *run = calloc(1, sizeof *run);
    struct arena arena = {0};
    struct error err;
    assert_non_null(run);
    for (uint32_t i = 0; i < N_RANKS; i++)
        ranks[i] = (struct plan_rank){.node = group_pretended_node(i, N_RANKS, 2), .capacity = 1};
    struct shard_plan_options options = {
        .hp = &demo.model.hp, .ranks = ranks, .n_ranks = N_RANKS, .n_attention_groups = 2};
    assert_int_equal(shard_plan_init(&run->plan, &options, &arena, &err), OK);
    if (thread_group_run(N_RANKS, 2, run_rank, run, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(run->n_ended, N_KINDS);
    assert_int_equal(run->n_groups_used, 2);
    for (uint32_t i = 0; i < N_KINDS; i++) {
        run->talks[i].n_heard = kinds[i].n_new;
        talk_expect_same(&run->talks[i]);
        talk_end(&run->talks[i]);
    }
    assert_true(run->n_preempted > 0);
    arena_free(&arena);
    free(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_gets_in_company_what_it_gets_alone),
        cmocka_unit_test(a_request_stops_at_its_stop_token_or_when_told),
        cmocka_unit_test(who_is_cancelled_frees_place_for_others),
        cmocka_unit_test(what_is_wrong_with_a_request_is_said),
        cmocka_unit_test(a_step_without_numbers_ends_its_requests_only),
        cmocka_unit_test(an_engine_that_cannot_go_on_ends_everybody),
        cmocka_unit_test(attention_groups_share_the_requests),
    };
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}
