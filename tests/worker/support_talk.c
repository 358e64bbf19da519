/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever is wrong ends the running test at once. */
#include "tests/worker/support_talk.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NEW_MAX 112

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
static void run_alone(struct engine *engine, uint32_t n_vocab, struct kind *kind) {
    struct arena arena = {0};
    struct alone alone = {0};
    struct error err;
    uint32_t seq;
    assert_int_equal(sampler_init(&alone.sampler, &kind->sampling, n_vocab, &arena, &err), OK);
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

static void make_kind(struct kind *kind, const struct demo *demo, uint32_t i) {
    uint32_t n_ids;
    int32_t *ids = demo_ids(demo_prompt(demo, i % demo_n_prompts(demo)), "ids", &n_ids);
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

void kinds_make(struct kind kinds[N_KINDS], const struct demo *demo) {
    struct engine *engine = demo_engine(
        demo, &(struct demo_engine_options){
                  .kernels = "auto", .n_threads = 2, .n_seqs = 1, .n_step_tokens = 1024});
    for (uint32_t i = 0; i < N_KINDS; i++) {
        make_kind(&kinds[i], demo, i);
        run_alone(engine, demo->model.hp.n_vocab, &kinds[i]);
    }
    engine_close(engine);
}

void kinds_free(struct kind kinds[N_KINDS]) {
    for (uint32_t i = 0; i < N_KINDS; i++)
        free(kinds[i].ids);
}

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

struct batcher_request talk_prepare(struct talk *talk, const struct kind *kind) {
    *talk = (struct talk){.kind = kind};
    talk->ids = calloc(kind->n_prompt + kind->n_new, sizeof *talk->ids);
    assert_non_null(talk->ids);
    memcpy(talk->ids, kind->ids, kind->n_prompt * sizeof *talk->ids);
    return (struct batcher_request){.ids = talk->ids,
                                    .n_prompt = kind->n_prompt,
                                    .n_new_max = kind->n_new,
                                    .sampling = kind->sampling,
                                    .on_token = hear,
                                    .on_end = hear_end,
                                    .user = talk};
}

void talk_begin(struct talk *talk, const struct kind *kind, struct batcher *batcher) {
    struct error err;
    struct batcher_request request = talk_prepare(talk, kind);
    if (batcher_submit(batcher, &request, &talk->seq, &err) != OK)
        fail_msg("%s", err.text);
}

void talk_expect_same(const struct talk *talk) {
    const struct kind *kind = talk->kind;
    assert_memory_equal(talk->ids, kind->ids, (kind->n_prompt + talk->n_heard) * sizeof *talk->ids);
}

void talk_end(struct talk *talk) {
    free(talk->ids);
    talk->kind = NULL;
}

struct engine *talk_engine(const struct demo *demo, uint32_t n_seqs, uint32_t n_kv_pages,
                           uint32_t n_step_tokens) {
    struct engine *engine = NULL;
    struct error err;
    struct engine_options options = {.hp = &demo->model.hp,
                                     .weights = &demo->model.weights,
                                     .unused_ids = demo->model.unused_ids,
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

struct batcher *talk_batcher(const struct demo *demo, struct engine *engine, uint32_t n_seqs_max) {
    struct batcher *batcher = NULL;
    struct error err;
    struct batcher_options options = {
        .engine = engine, .n_vocab = demo->model.hp.n_vocab, .n_seqs_max = n_seqs_max};
    if (batcher_open(&batcher, &options, &err) != OK)
        fail_msg("%s", err.text);
    return batcher;
}

void talk_step(struct batcher *batcher) {
    struct error err;
    if (batcher_step(batcher, &err) != OK)
        fail_msg("%s", err.text);
}

void talk_expect_all_free(const struct engine *engine) {
    struct engine_room room = engine_room(engine, 0);
    assert_int_equal(room.n_seqs_free, room.n_seqs);
    assert_int_equal(room.n_pages_free, room.n_pages);
}
