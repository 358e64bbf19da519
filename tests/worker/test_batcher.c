/* SPDX-License-Identifier: Apache-2.0 */
/* Continuous batching on the demonstration model: whatever shares the steps, a request gets the
 * tokens that it gets alone, computed here by a plain loop over an engine of its own.
 *
 * With an argument, a number of seconds, only the soak runs, for that long. */
#include "tests/worker/support_demo.h"
#include "worker/batcher.h"

#include "base/clock.h"
#include "base/rng.h"
#include "tensor/blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_KINDS   24
#define N_GROWING 12 /* the first of them: short questions, long answers */
#define NEW_MAX   112

/* A request of which it is known what it must get. */
struct kind {
    int32_t *ids; /* [n_prompt + n_new] prompt and tokens */
    uint32_t n_prompt, n_new;
    struct sampler_params sampling;
};

static struct demo demo;
static struct kind kinds[N_KINDS];

/* ---- alone ---- */

struct alone {
    struct sampler sampler;
    uint32_t n_tokens;
    int32_t drawn;
};

static void draw_alone(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits) {
    (void)rows_idx, (void)token_idx;
    struct alone *alone = user;
    alone->drawn = sampler_pick(&alone->sampler, logits, alone->n_tokens);
}

/* One sequence, the prompt in one piece, a sampler that saw nothing else. */
static void run_alone(struct engine *engine, struct kind *kind) {
    struct arena arena = {0};
    struct alone alone = {0};
    struct error err;
    uint32_t seq;
    assert_int_equal(
        sampler_init(&alone.sampler, &kind->sampling, demo.model.hp.n_vocab, &arena, &err), OK);
    sampler_saw_prompt(&alone.sampler, kind->ids, kind->n_prompt);
    assert_int_equal(engine_seq_open(engine, &seq, &err), OK);
    const int32_t *tokens = kind->ids;
    uint32_t n = kind->n_prompt;
    for (uint32_t i = 0; i < kind->n_new; i++) {
        struct step_rows rows = {.seq = seq, .tokens = tokens, .n_tokens = n, .n_outputs = 1};
        struct step step = {.rows = &rows, .n_rows = 1, .sink = draw_alone, .user = &alone};
        alone.n_tokens += n;
        if (engine_step(engine, &step, &err) != OK)
            fail_msg("%s", err.text);
        sampler_accept(&alone.sampler, alone.drawn);
        kind->ids[kind->n_prompt + i] = alone.drawn;
        tokens = &kind->ids[kind->n_prompt + i];
        n = 1;
    }
    engine_seq_close(engine, seq);
    arena_free(&arena);
}

/* Prompts of 1 to 640 tokens, answers of 1 to NEW_MAX; a third of them greedy, a third drawn, a
 * third drawn with penalties. */
static void make_kind(struct kind *kind, uint32_t i) {
    uint32_t n_ids;
    int32_t *ids = demo_ids(demo_prompt(&demo, i % demo_n_prompts(&demo)), "ids", &n_ids);
    bool grows = i < N_GROWING;
    kind->n_new = grows ? NEW_MAX - i : 1 + (uint32_t)(rng_u64(1, i) % (NEW_MAX / 2));
    kind->n_prompt = grows && n_ids > 1 + i ? 1 + i : n_ids;
    kind->ids = calloc(kind->n_prompt + kind->n_new, sizeof *ids);
    assert_non_null(kind->ids);
    memcpy(kind->ids, ids, kind->n_prompt * sizeof *ids);
    free(ids);
    kind->sampling = (struct sampler_params){.top_p = 1, .repeat_penalty = 1, .seed = i};
    if (i % 3 > 0)
        kind->sampling.temperature = 1;
    if (i % 3 == 2) {
        kind->sampling.top_k = 40;
        kind->sampling.repeat_penalty = 1.3f;
        kind->sampling.presence_penalty = 0.5f;
        kind->sampling.frequency_penalty = 0.25f;
    }
}

static int open_demo(void **state) {
    (void)state;
    demo_open(&demo, false);
    struct engine *engine = demo_engine(
        &demo, &(struct demo_engine_options){
                   .kernels = "auto", .n_threads = 2, .n_seqs = 1, .n_step_tokens = 1024});
    for (uint32_t i = 0; i < N_KINDS; i++) {
        make_kind(&kinds[i], i);
        run_alone(engine, &kinds[i]);
    }
    engine_close(engine);
    return 0;
}

static int close_demo(void **state) {
    (void)state;
    for (uint32_t i = 0; i < N_KINDS; i++)
        free(kinds[i].ids);
    demo_close(&demo);
    return 0;
}

/* ---- together ---- */

struct talk {
    const struct kind *kind; /* NULL: nobody talks here */
    uint32_t seq;
    int32_t *ids;
    uint32_t n_heard, stops_after; /* tokens; 0: not by us */
    uint64_t deadline;             /* step by which the first token must come */
    bool ended;
    struct batcher_result result;
    struct error err;
};

static bool hear(void *user, int32_t id) {
    struct talk *talk = user;
    assert_false(talk->ended);
    assert_int_equal(id, talk->ids[talk->kind->n_prompt + talk->n_heard]);
    talk->n_heard++;
    return talk->n_heard != talk->stops_after;
}

static void hear_end(void *user, const struct batcher_result *result) {
    struct talk *talk = user;
    assert_false(talk->ended);
    talk->ended = true;
    talk->result = *result;
    if (result->err)
        talk->err = *result->err;
}

static struct batcher_request request_of(struct talk *talk) {
    return (struct batcher_request){.ids = talk->ids,
                                    .n_prompt = talk->kind->n_prompt,
                                    .n_new_max = talk->kind->n_new,
                                    .sampling = talk->kind->sampling,
                                    .on_token = hear,
                                    .on_end = hear_end,
                                    .user = talk};
}

static void prepare(struct talk *talk, const struct kind *kind) {
    *talk = (struct talk){.kind = kind};
    talk->ids = calloc(kind->n_prompt + kind->n_new, sizeof *talk->ids);
    assert_non_null(talk->ids);
    memcpy(talk->ids, kind->ids, kind->n_prompt * sizeof *talk->ids);
}

static void begin(struct batcher *batcher, struct talk *talk, const struct kind *kind) {
    struct error err;
    prepare(talk, kind);
    struct batcher_request request = request_of(talk);
    if (batcher_submit(batcher, &request, &talk->seq, &err) != OK)
        fail_msg("%s", err.text);
}

/* What was heard is what is heard alone. */
static void expect_same_tokens(const struct talk *talk) {
    const struct kind *kind = talk->kind;
    assert_memory_equal(talk->ids, kind->ids, (kind->n_prompt + talk->n_heard) * sizeof *talk->ids);
}

static void end(struct talk *talk) {
    free(talk->ids);
    talk->kind = NULL;
}

static struct engine *open_engine(uint32_t n_seqs, uint32_t n_kv_pages, uint32_t n_step_tokens) {
    struct engine *engine = NULL;
    struct error err;
    struct engine_options options = {.hp = &demo.model.hp,
                                     .weights = &demo.model.weights,
                                     .unused_ids = demo.model.unused_ids,
                                     .kernels = "auto",
                                     .n_threads = 2,
                                     .ctx_size = 1024,
                                     .n_seqs = n_seqs,
                                     .n_kv_pages = n_kv_pages,
                                     .n_step_tokens = n_step_tokens,
                                     .kv_dtype_auto = true};
    if (engine_open(&engine, &options, &err) != OK)
        fail_msg("%s", err.text);
    return engine;
}

static struct batcher *open_batcher(struct engine *engine, uint32_t n_seqs_max) {
    struct batcher *batcher = NULL;
    struct error err;
    struct batcher_options options = {
        .engine = engine, .n_vocab = demo.model.hp.n_vocab, .n_seqs_max = n_seqs_max};
    if (batcher_open(&batcher, &options, &err) != OK)
        fail_msg("%s", err.text);
    return batcher;
}

static void step_once(struct batcher *batcher) {
    struct error err;
    if (batcher_step(batcher, &err) != OK)
        fail_msg("%s", err.text);
}

static void expect_all_free(const struct engine *engine) {
    struct engine_room room = engine_room(engine, 0);
    assert_int_equal(room.n_seqs_free, room.n_seqs);
    assert_int_equal(room.n_pages_free, room.n_pages);
}

static void every_kind_gets_in_company_what_it_gets_alone(void **state) {
    (void)state;
    struct engine *engine = open_engine(8, 24, 64);
    struct batcher *batcher = open_batcher(engine, N_KINDS);
    const struct schedule *schedule = batcher_schedule(batcher);
    struct talk talks[N_KINDS];
    for (uint32_t i = 0; i < N_KINDS; i++)
        begin(batcher, &talks[i], &kinds[i]);
    while (schedule->n_running + schedule->n_waiting > 0)
        step_once(batcher);
    for (uint32_t i = 0; i < N_KINDS; i++) {
        assert_true(talks[i].ended);
        assert_int_equal(talks[i].result.why, SEQ_LENGTH);
        assert_int_equal(talks[i].result.n_new, kinds[i].n_new);
        assert_int_equal(talks[i].n_heard, kinds[i].n_new);
        expect_same_tokens(&talks[i]);
        end(&talks[i]);
    }
    assert_true(schedule->counts.n_preempted > 0); /* the pool was small enough to try that too */
    expect_all_free(engine);
    batcher_close(batcher);
    engine_close(engine);
}

static void a_request_stops_at_its_stop_token_or_when_told(void **state) {
    (void)state;
    struct engine *engine = open_engine(3, 0, 512);
    struct batcher *batcher = open_batcher(engine, 4);
    struct error err;
    struct talk told, stopped;
    const struct kind *kind = &kinds[1];
    begin(batcher, &told, kind);
    told.stops_after = 3;
    /* The seventh token ends it, unless it came before. */
    int32_t stop_ids[] = {-1, kind->ids[kind->n_prompt + 6]};
    uint32_t n_before = 0;
    while (kind->ids[kind->n_prompt + n_before] != stop_ids[1])
        n_before++;
    prepare(&stopped, kind);
    struct batcher_request request = request_of(&stopped);
    request.stop_ids = stop_ids;
    request.n_stop_ids = 2;
    assert_int_equal(batcher_submit(batcher, &request, &stopped.seq, &err), OK);
    while (!told.ended || !stopped.ended)
        step_once(batcher);
    assert_int_equal(told.result.why, SEQ_STOPPED);
    assert_int_equal(told.result.stop_id, -1);
    assert_int_equal(told.result.n_new, 3);
    assert_int_equal(stopped.result.why, SEQ_STOPPED);
    assert_int_equal(stopped.result.stop_id, stop_ids[1]);
    assert_int_equal(stopped.result.n_new, n_before);
    assert_int_equal(stopped.n_heard, n_before);
    expect_same_tokens(&told);
    expect_same_tokens(&stopped);
    expect_all_free(engine);
    end(&told);
    end(&stopped);
    batcher_close(batcher);
    engine_close(engine);
}

static void who_is_cancelled_frees_place_for_others(void **state) {
    (void)state;
    struct engine *engine = open_engine(2, 0, 512);
    struct batcher *batcher = open_batcher(engine, 4);
    struct talk talks[4];
    for (uint32_t i = 0; i < 4; i++)
        begin(batcher, &talks[i], &kinds[i]);
    step_once(batcher);
    assert_int_equal(batcher_schedule(batcher)->n_waiting, 2);
    batcher_cancel(batcher, talks[0].seq); /* runs */
    batcher_cancel(batcher, talks[2].seq); /* waits */
    while (!talks[1].ended || !talks[3].ended)
        step_once(batcher);
    assert_false(talks[0].ended || talks[2].ended);
    expect_same_tokens(&talks[1]);
    expect_same_tokens(&talks[3]);
    expect_all_free(engine);
    /* Closing closes what is left. */
    struct talk last;
    begin(batcher, &last, &kinds[0]);
    step_once(batcher);
    batcher_close(batcher);
    expect_all_free(engine);
    assert_false(last.ended);
    end(&last);
    for (uint32_t i = 0; i < 4; i++)
        end(&talks[i]);
    engine_close(engine);
}

static void what_is_wrong_with_a_request_is_said(void **state) {
    (void)state;
    struct engine *engine = open_engine(2, 4, 512);
    struct batcher *batcher = open_batcher(engine, 1);
    struct error err;
    struct talk talk;
    uint32_t seq;
    prepare(&talk, &kinds[0]);
    struct batcher_request good = request_of(&talk), bad = good;
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
    end(&talk);
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
    struct engine *engine = open_engine(1, 0, 512);
    struct batcher *batcher = open_batcher(engine, 2);
    struct talk bad, good;
    struct error err;
    prepare(&bad, &kinds[0]);
    bad.ids[bad.kind->n_prompt - 1] = BAD_ID;
    struct batcher_request request = request_of(&bad);
    assert_int_equal(batcher_submit(batcher, &request, &bad.seq, &err), OK);
    begin(batcher, &good, &kinds[0]);
    while (!good.ended)
        step_once(batcher);
    assert_int_equal(bad.result.why, SEQ_FAILED);
    assert_int_equal(bad.err.status, ERR_DEVICE);
    assert_non_null(strstr(bad.err.text, "NaN"));
    assert_int_equal(bad.n_heard, 0);
    assert_int_equal(good.result.why, SEQ_LENGTH);
    expect_same_tokens(&good);
    expect_all_free(engine);
    batcher_close(batcher);
    engine_close(engine);
    weights->token_embd = embedding;
    free(poisoned);
    end(&bad);
    end(&good);
}

/* A batcher that was told a larger vocabulary lets a token through which the engine refuses. */
static void an_engine_that_cannot_go_on_ends_everybody(void **state) {
    (void)state;
    struct engine *engine = open_engine(2, 0, 512);
    struct batcher *batcher = NULL;
    struct error err;
    struct batcher_options options = {
        .engine = engine, .n_vocab = demo.model.hp.n_vocab + 1, .n_seqs_max = 3};
    assert_int_equal(batcher_open(&batcher, &options, &err), OK);
    struct talk talks[3];
    for (uint32_t i = 0; i < 3; i++) {
        prepare(&talks[i], &kinds[i]);
        if (i == 1)
            talks[i].ids[0] = (int32_t)demo.model.hp.n_vocab;
        struct batcher_request request = request_of(&talks[i]);
        assert_int_equal(batcher_submit(batcher, &request, &talks[i].seq, &err), OK);
    }
    assert_int_equal(batcher_step(batcher, &err), ERR_INPUT);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(talks[i].ended);
        assert_int_equal(talks[i].result.why, SEQ_FAILED);
        assert_string_equal(talks[i].err.text, err.text);
        end(&talks[i]);
    }
    assert_int_equal(batcher_step(batcher, &err), OK); /* there is nothing to do */
    expect_all_free(engine);
    batcher_close(batcher);
    engine_close(engine);
}

/* ---- the soak ---- */

#define SOAK_SLOTS 64
#define SOAK_LIVE  80 /* with those that wait */

struct soak {
    struct engine *engine;
    struct batcher *batcher;
    struct talk talks[SOAK_LIVE];
    uint64_t counter;
    uint32_t n_together_max;
    uint64_t n_ended, n_cancelled, n_tokens;
};

static uint32_t chance(struct soak *soak, uint32_t below) {
    return (uint32_t)(rng_u64(64, soak->counter++) % below);
}

/* The oldest sequence runs a token in each step and never starts anew, so the first token of a
 * newcomer comes at the latest when all that are there could have run one by one. */
static uint64_t first_token_deadline(const struct soak *soak) {
    uint64_t n = batcher_schedule(soak->batcher)->counts.n_steps;
    for (uint32_t i = 0; i < SOAK_LIVE; i++) {
        const struct kind *kind = soak->talks[i].kind;
        n += kind ? kind->n_prompt + kind->n_new : 0;
    }
    return n;
}

/* Times in which only growing kinds come alternate with times in which all do. */
static void soak_arrive(struct soak *soak, struct talk *talk) {
    bool growing = batcher_schedule(soak->batcher)->counts.n_steps % 256 < 128;
    begin(soak->batcher, talk, &kinds[chance(soak, growing ? N_GROWING : N_KINDS)]);
    talk->stops_after = chance(soak, 8) ? 0 : 1 + chance(soak, talk->kind->n_new);
    talk->deadline = first_token_deadline(soak);
}

/* Collects those that ended and cancels some. */
static void soak_look(struct soak *soak, struct talk *talk) {
    bool cancelled = !talk->ended && chance(soak, 400) == 0;
    if (cancelled) {
        batcher_cancel(soak->batcher, talk->seq);
        soak->n_cancelled++;
    }
    uint64_t n_steps = batcher_schedule(soak->batcher)->counts.n_steps;
    assert_true(talk->n_heard > 0 || cancelled || n_steps <= talk->deadline);
    if (!cancelled && !talk->ended)
        return;
    expect_same_tokens(talk);
    if (talk->ended) {
        bool by_us = talk->stops_after == talk->result.n_new;
        assert_int_equal(talk->result.n_new, by_us ? talk->stops_after : talk->kind->n_new);
        assert_int_equal(talk->n_heard, talk->result.n_new);
        soak->n_ended++;
    }
    soak->n_tokens += talk->n_heard;
    end(talk);
}

static void soak_step(struct soak *soak, bool with_arrivals) {
    for (uint32_t i = 0; i < SOAK_LIVE && with_arrivals; i++) {
        if (!soak->talks[i].kind && chance(soak, 4) == 0)
            soak_arrive(soak, &soak->talks[i]);
    }
    step_once(soak->batcher);
    uint32_t n_together = batcher_schedule(soak->batcher)->n_running;
    if (n_together > soak->n_together_max)
        soak->n_together_max = n_together;
    for (uint32_t i = 0; i < SOAK_LIVE; i++) {
        if (soak->talks[i].kind)
            soak_look(soak, &soak->talks[i]);
    }
}

static void soak(double seconds, uint64_t n_ended_min) {
    struct soak *soak = calloc(1, sizeof *soak);
    assert_non_null(soak);
    /* Three pages each, where a growing kind needs four in the end, and a full context 32: some
     * lose theirs. */
    soak->engine = open_engine(SOAK_SLOTS, SOAK_SLOTS * 3, 256);
    soak->batcher = open_batcher(soak->engine, SOAK_LIVE);
    const struct schedule *schedule = batcher_schedule(soak->batcher);
    uint64_t begin_ns = clock_ns();
    while (soak->n_ended < n_ended_min || clock_seconds_since(begin_ns) < seconds)
        soak_step(soak, true);
    while (schedule->n_running + schedule->n_waiting > 0)
        soak_step(soak, false);
    const struct schedule_counts *counts = &schedule->counts;
    print_message("%llu steps in %.1f s, %llu requests ended and %llu were cancelled, %llu tokens; "
                  "%u at once at most; %llu preemptions, %llu tokens again; longest wait %llu\n",
                  (unsigned long long)counts->n_steps, clock_seconds_since(begin_ns),
                  (unsigned long long)soak->n_ended, (unsigned long long)soak->n_cancelled,
                  (unsigned long long)soak->n_tokens, soak->n_together_max,
                  (unsigned long long)counts->n_preempted,
                  (unsigned long long)counts->n_lost_tokens,
                  (unsigned long long)counts->wait_steps_max);
    assert_true(counts->n_preempted > 0);
    assert_int_equal(counts->n_submitted, soak->n_ended + soak->n_cancelled);
    assert_int_equal(counts->n_finished, soak->n_ended);
    assert_int_equal(soak->n_together_max, SOAK_SLOTS);
    expect_all_free(soak->engine);
    assert_int_equal(schedule->n_free_seqs, SOAK_LIVE);
    batcher_close(soak->batcher);
    engine_close(soak->engine);
    free(soak);
}

static void sixty_four_at_once_come_and_go(void **state) {
    (void)state;
    soak(0, 250);
}

static void sixty_four_at_once_come_and_go_for_long(void **state) {
    soak(*(const double *)*state, 0);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_gets_in_company_what_it_gets_alone),
        cmocka_unit_test(a_request_stops_at_its_stop_token_or_when_told),
        cmocka_unit_test(who_is_cancelled_frees_place_for_others),
        cmocka_unit_test(what_is_wrong_with_a_request_is_said),
        cmocka_unit_test(a_step_without_numbers_ends_its_requests_only),
        cmocka_unit_test(an_engine_that_cannot_go_on_ends_everybody),
        cmocka_unit_test(sixty_four_at_once_come_and_go),
    };
    const struct CMUnitTest long_tests[] = {
        cmocka_unit_test_prestate(sixty_four_at_once_come_and_go_for_long, &seconds),
    };
    if (seconds > 0)
        return cmocka_run_group_tests(long_tests, open_demo, close_demo);
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}
