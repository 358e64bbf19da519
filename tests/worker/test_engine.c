/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's promises apart from numbers: what it refuses, and that a slot forgets. */
#include "tests/worker/support_demo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct demo demo;

static int open_demo(void **state) {
    (void)state;
    demo_open(&demo, false);
    return 0;
}

static int close_demo(void **state) {
    (void)state;
    demo_close(&demo);
    return 0;
}

/* The rest of the options is the same for all tests here. */
static struct engine *open_engine_of(const struct engine_options *wanted) {
    struct engine *engine = NULL;
    struct error err;
    struct engine_options options = *wanted;
    options.hp = &demo.model.hp;
    options.weights = &demo.model.weights;
    options.unused_ids = demo.model.unused_ids;
    options.kernels = "auto";
    options.n_threads = 2;
    options.kv_dtype_auto = true;
    if (engine_open(&engine, &options, &err) != OK)
        fail_msg("%s", err.text);
    return engine;
}

static struct engine *open_engine(uint32_t ctx_size, uint32_t n_seqs, uint32_t n_step_tokens) {
    return open_engine_of(&(struct engine_options){
        .ctx_size = ctx_size, .n_seqs = n_seqs, .n_step_tokens = n_step_tokens});
}

static void keep_logits(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits) {
    (void)rows_idx, (void)token_idx;
    memcpy(user, logits, demo.model.hp.n_vocab * sizeof *logits);
}

static enum status step_one(struct engine *engine, uint32_t seq, const int32_t *tokens, uint32_t n,
                            float *logits, struct error *err) {
    struct step_rows rows = {.seq = seq, .tokens = tokens, .n_tokens = n, .n_outputs = 1};
    struct step step = {.rows = &rows, .n_rows = 1, .sink = keep_logits, .user = logits};
    return engine_step(engine, &step, err);
}

static const int32_t text[] = {901, 431, 366, 258, 805, 562, 715, 560, 366, 353};

static void a_cleared_sequence_has_forgotten(void **state) {
    (void)state;
    size_t bytes = demo.model.hp.n_vocab * sizeof(float);
    float *fresh = malloc(bytes), *again = malloc(bytes);
    struct engine *engine = open_engine(128, 2, 64);
    struct error err;
    uint32_t seq, other;
    assert_int_equal(engine_seq_open(engine, &seq, &err), OK);
    assert_int_equal(step_one(engine, seq, text, 10, fresh, &err), OK);
    assert_int_equal(engine_seq_length(engine, seq), 10);
    assert_int_equal(engine_seq_open(engine, &other, &err), OK);
    assert_int_equal(step_one(engine, other, text + 3, 5, again, &err), OK);
    engine_seq_clear(engine, seq);
    assert_int_equal(engine_seq_length(engine, seq), 0);
    assert_int_equal(step_one(engine, seq, text, 10, again, &err), OK);
    assert_memory_equal(fresh, again, bytes);
    engine_seq_close(engine, seq);
    assert_int_equal(engine_seq_open(engine, &seq, &err), OK);
    assert_int_equal(step_one(engine, seq, text, 10, again, &err), OK);
    assert_memory_equal(fresh, again, bytes);
    engine_close(engine);
    free(fresh);
    free(again);
}

static void pages_come_back_however_often_sequences_change(void **state) {
    (void)state;
    float *logits = malloc(demo.model.hp.n_vocab * sizeof *logits);
    struct engine *engine = open_engine(64, 2, 64);
    struct error err;
    uint32_t a, b;
    assert_int_equal(engine_seq_open(engine, &a, &err), OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(engine_seq_open(engine, &b, &err), OK);
        for (int t = 0; t < 6; t++)
            assert_int_equal(step_one(engine, b, text, 10, logits, &err), OK);
        for (int t = 0; t < 6; t++)
            assert_int_equal(step_one(engine, a, text, 10, logits, &err), OK);
        engine_seq_clear(engine, a);
        engine_seq_close(engine, b);
    }
    engine_close(engine);
    free(logits);
}

static void what_does_not_fit_is_refused_and_harms_nothing(void **state) {
    (void)state;
    size_t bytes = demo.model.hp.n_vocab * sizeof(float);
    float *expected = malloc(bytes), *logits = malloc(bytes);
    struct engine *engine = open_engine(32, 1, 16);
    struct error err;
    uint32_t seq, none;
    int32_t many[40] = {0}, outside[] = {5, (int32_t)demo.model.hp.n_vocab};
    assert_int_equal(engine_seq_open(engine, &seq, &err), OK);
    assert_int_equal(engine_seq_open(engine, &none, &err), ERR_LIMIT);
    assert_string_equal(err.text, "all 1 sequences are in use");
    assert_int_equal(step_one(engine, seq, text, 5, logits, &err), OK);
    assert_int_equal(step_one(engine, seq, many, 17, logits, &err), ERR_LIMIT);
    assert_string_equal(err.text, "17 tokens in a step; 1 to 16 are possible");
    assert_int_equal(step_one(engine, seq, many, 28, logits, &err), ERR_LIMIT);
    assert_string_equal(err.text, "the context is full: 5 tokens are there, 28 more do not fit 32");
    assert_int_equal(step_one(engine, seq, outside, 2, logits, &err), ERR_INPUT);
    assert_string_equal(err.text, "token 2048 is outside the vocabulary of 2048");
    /* The refused steps have left no trace. */
    assert_int_equal(step_one(engine, seq, text + 5, 5, logits, &err), OK);
    engine_seq_clear(engine, seq);
    assert_int_equal(step_one(engine, seq, text, 10, expected, &err), OK);
    assert_memory_equal(expected, logits, bytes);
    engine_close(engine);
    free(expected);
    free(logits);
}

static void wrong_options_are_refused_by_name(void **state) {
    (void)state;
    struct engine *engine = NULL;
    struct error err;
    struct engine_options options = {.hp = &demo.model.hp,
                                     .weights = &demo.model.weights,
                                     .kernels = "auto",
                                     .kv_dtype_auto = true,
                                     .ctx_size = demo.model.hp.n_ctx_train + 1};
    assert_int_equal(engine_open(&engine, &options, &err), ERR_LIMIT);
    assert_string_equal(err.text, "context of 32769 tokens: this model allows at most 32768");
    options.ctx_size = 64;
    options.n_step_tokens = ENGINE_STEP_TOKENS_MAX + 1;
    assert_int_equal(engine_open(&engine, &options, &err), ERR_LIMIT);
    options.n_step_tokens = 16;
    options.kernels = "avx9000";
    assert_int_equal(engine_open(&engine, &options, &err), ERR_INPUT);
    options.kernels = "auto";
    options.n_seqs = ENGINE_SEQS_MAX;
    options.ctx_size = demo.model.hp.n_ctx_train;
    assert_int_equal(engine_open(&engine, &options, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "GiB are needed"));
    assert_null(engine);
}

static void the_mtp_block_must_be_loaded_to_run(void **state) {
    (void)state;
    float *logits = malloc(demo.model.hp.n_vocab * sizeof *logits);
    struct engine *engine = open_engine(32, 1, 16);
    struct error err;
    uint32_t seq;
    assert_int_equal(engine_seq_open(engine, &seq, &err), OK);
    assert_int_equal(step_one(engine, seq, text, 5, logits, &err), OK);
    struct step_rows rows = {.seq = seq, .tokens = text + 1, .n_tokens = 5, .n_outputs = 1};
    struct step step = {.rows = &rows, .n_rows = 1, .sink = keep_logits, .user = logits};
    assert_int_equal(engine_mtp_step(engine, &step, &err), ERR_UNSUPPORTED);
    engine_close(engine);
    free(logits);
}

static void traffic_counts_each_weight_once_per_step(void **state) {
    (void)state;
    float *logits = malloc(demo.model.hp.n_vocab * sizeof *logits);
    struct engine *engine = open_engine(64, 1, 16);
    struct error err;
    uint32_t seq;
    assert_int_equal(engine_seq_open(engine, &seq, &err), OK);
    assert_int_equal(step_one(engine, seq, text, 1, logits, &err), OK);
    struct traffic one = engine_traffic(engine);
    assert_int_equal(step_one(engine, seq, text + 1, 1, logits, &err), OK);
    struct traffic two = engine_traffic(engine);
    /* One token reads top-k experts whoever they are: the same bytes each time. */
    assert_int_equal(two.weight_bytes, 2 * one.weight_bytes);
    /* Three delta-net layers: 4 heads of 128 x 128 and 3 columns of 1024, read and written. */
    assert_int_equal(one.state_bytes, 2 * 3 * (4 * 128 * 128 + 3 * 1024) * 4);
    /* One attention layer, keys and values of 2 heads of 256 in two bytes: 1 + 2 positions. */
    assert_int_equal(one.kv_bytes, 2 * 2 * 256 * 2);
    assert_int_equal(two.kv_bytes, 3 * one.kv_bytes);
    assert_true(one.weight_bytes < demo.model.weights.bytes);
    engine_close(engine);
    free(logits);
}

static void a_plan_tells_what_opening_would_take(void **state) {
    (void)state;
    struct memory_plan plan, fast;
    struct error err;
    struct engine_options options = {.hp = &demo.model.hp,
                                     .weights = &demo.model.weights,
                                     .kernels = "ref",
                                     .n_seqs = 3,
                                     .kv_dtype_auto = true};
    assert_int_equal(engine_plan(&options, &plan, &err), OK);
    assert_int_equal(plan.ctx_size, demo.model.hp.n_ctx_train);
    assert_int_equal(plan.n_seqs, 3);
    assert_int_equal(plan.n_kv_pages, 3 * demo.model.hp.n_ctx_train / ENGINE_PAGE_TOKENS);
    assert_int_equal(plan.weights_bytes, demo.model.weights.bytes); /* they stay in the file */
    options.kernels = "nothing";
    assert_int_equal(engine_plan(&options, &fast, &err), ERR_INPUT);
    if (!kernels_run_here("avx2"))
        skip();
    /* Keys and values of half the size; panels of all matrices, whose padding is little. */
    options.kernels = "avx2";
    options.ctx_size = 64;
    assert_int_equal(engine_plan(&options, &fast, &err), OK);
    assert_int_equal(fast.ctx_size, 64);
    assert_int_equal(fast.kv_page_bytes * 2, plan.kv_page_bytes);
    assert_true(fast.weights_bytes >= plan.weights_bytes);
    assert_true(fast.weights_bytes < plan.weights_bytes + plan.weights_bytes / 50);
}

static void a_small_pool_of_pages_is_shared_and_never_overdrawn(void **state) {
    (void)state;
    size_t bytes = demo.model.hp.n_vocab * sizeof(float);
    float *expected = malloc(bytes), *logits = malloc(bytes);
    /* Three pages for two sequences that could have four each. */
    struct engine *engine = open_engine_of(&(struct engine_options){
        .ctx_size = 128, .n_seqs = 2, .n_step_tokens = 128, .n_kv_pages = 3});
    struct error err;
    uint32_t a, b;
    int32_t many[96] = {0};
    assert_int_equal(engine_room(engine, 0).n_pages, 3);
    assert_int_equal(engine_seq_open(engine, &a, &err), OK);
    assert_int_equal(engine_seq_open(engine, &b, &err), OK);
    assert_int_equal(engine_room(engine, 0).n_seqs_free, 0);
    assert_int_equal(step_one(engine, a, many, 64, logits, &err), OK);
    assert_int_equal(engine_room(engine, 0).n_pages_free, 1);
    assert_int_equal(step_one(engine, b, text, 10, expected, &err), OK);
    engine_seq_clear(engine, b);
    /* Each of them would fit alone. */
    struct step_rows rows[2] = {{.seq = a, .tokens = many, .n_tokens = 1},
                                {.seq = b, .tokens = text, .n_tokens = 1}};
    struct step step = {.rows = rows, .n_rows = 2};
    assert_int_equal(engine_step(engine, &step, &err), ERR_LIMIT);
    assert_string_equal(err.text, "the step needs 2 more pages of 32 tokens, 1 of 3 are free");
    assert_int_equal(step_one(engine, b, text, 10, logits, &err), OK);
    assert_memory_equal(logits, expected, bytes);
    engine_seq_close(engine, a);
    assert_int_equal(engine_room(engine, 0).n_pages_free, 2);
    assert_int_equal(engine_room(engine, 0).n_seqs_free, 1);
    assert_int_equal(step_one(engine, b, many, 86, logits, &err), OK);
    assert_int_equal(step_one(engine, b, many, 1, logits, &err), ERR_LIMIT);
    engine_close(engine);
    free(expected);
    free(logits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_pool_of_pages_is_shared_and_never_overdrawn),
        cmocka_unit_test(a_plan_tells_what_opening_would_take),
        cmocka_unit_test(a_cleared_sequence_has_forgotten),
        cmocka_unit_test(pages_come_back_however_often_sequences_change),
        cmocka_unit_test(what_does_not_fit_is_refused_and_harms_nothing),
        cmocka_unit_test(wrong_options_are_refused_by_name),
        cmocka_unit_test(the_mtp_block_must_be_loaded_to_run),
        cmocka_unit_test(traffic_counts_each_weight_once_per_step),
    };
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}
