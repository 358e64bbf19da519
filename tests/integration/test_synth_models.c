/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic tiny models of every architecture and every block format, written by `shoal synth`:
 * they load, they run, the fast kernels stay within 3e-2 of the reference under its routing, and
 * chunks, threads and company leave every bit alone. */
#include "tests/integration/support_process.h"

#include "kernels/kernels.h"
#include "model/model.h"
#include "worker/engine.h"
#include "worker/score.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_TOKENS   40
#define LAYERS_MAX 16
#define TOP_K_MAX  16

static char directory[64];

static int make_directory(void **state) {
    (void)state;
    test_directory(directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    test_directory_remove(directory);
    return 0;
}

/* The routing of the reference run, replayed in others. Steps must bring the same rows. */
struct routing {
    bool replay;
    uint32_t ids[LAYERS_MAX][N_TOKENS * TOP_K_MAX];
    float weights[LAYERS_MAX][N_TOKENS * TOP_K_MAX];
};

static void keep_or_replay(void *user, const struct routing_event *event) {
    struct routing *r = user;
    size_t n = (size_t)event->n_tokens * event->top_k;
    assert_true(event->layer < LAYERS_MAX && n <= N_TOKENS * TOP_K_MAX);
    if (r->replay) {
        memcpy(event->ids, r->ids[event->layer], n * sizeof *event->ids);
        memcpy(event->weights, r->weights[event->layer], n * sizeof *event->weights);
    } else {
        memcpy(r->ids[event->layer], event->ids, n * sizeof *event->ids);
        memcpy(r->weights[event->layer], event->weights, n * sizeof *event->weights);
    }
}

struct logits {
    float *rows; /* [N_TOKENS, n_vocab] */
    uint32_t n_vocab;
};

static void keep_logits(void *user, uint32_t request_idx, uint32_t token_idx, const float *row) {
    struct logits *logits = user;
    (void)request_idx;
    memcpy(logits->rows + (size_t)token_idx * logits->n_vocab, row, logits->n_vocab * sizeof *row);
}

static struct engine *open_engine(const struct model *model, const char *kernels,
                                  uint32_t n_threads) {
    struct engine *engine = NULL;
    struct error err;
    struct engine_options options = {.hp = &model->hp,
                                     .weights = &model->weights,
                                     .unused_ids = model->unused_ids,
                                     .kernels = kernels,
                                     .n_threads = n_threads,
                                     .ctx_size = 256,
                                     .n_seqs = 2,
                                     .n_step_tokens = 2 * N_TOKENS,
                                     .kv_dtype_auto = true};
    if (engine_open(&engine, &options, &err) != OK)
        fail_msg("%s", err.text);
    return engine;
}

static void fill_ids(int32_t ids[N_TOKENS], const struct model *model) {
    for (uint32_t i = 0; i < N_TOKENS; i++)
        ids[i] = (int32_t)((i * 7919u + 13u) % model->n_real_ids);
}

static void run(const struct model *model, const char *kernels, struct routing *routing,
                struct logits *logits) {
    struct engine *engine = open_engine(model, kernels, 2);
    struct observer observer = {.routing = keep_or_replay, .user = routing};
    struct score_options options = {.unused_ids = model->unused_ids,
                                    .n_vocab = model->hp.n_vocab,
                                    .logits = keep_logits,
                                    .user = logits,
                                    .observer = &observer};
    int32_t ids[N_TOKENS];
    struct error err;
    fill_ids(ids, model);
    struct score_request request = {.ids = ids, .n_ids = N_TOKENS};
    if (score_run(engine, &options, &request, 1, &err) != OK)
        fail_msg("%s: %s", kernels, err.text);
    engine_close(engine);
}

static double relative_l2(const struct logits *x, const struct logits *reference) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < (size_t)N_TOKENS * x->n_vocab; i++) {
        if (!isfinite(reference->rows[i]))
            continue;
        double d = (double)x->rows[i] - reference->rows[i];
        difference += d * d;
        norm += (double)reference->rows[i] * reference->rows[i];
    }
    assert_true(norm > 0);
    return sqrt(difference / norm);
}

static void compare_with_reference(const struct model *model, const char *what) {
    static const char *const variants[] = {"avx2", "avx512"};
    struct routing *routing = calloc(1, sizeof *routing);
    struct logits logits[2];
    for (int i = 0; i < 2; i++) {
        logits[i].n_vocab = model->hp.n_vocab;
        logits[i].rows = calloc(N_TOKENS, model->hp.n_vocab * sizeof(float));
        assert_non_null(logits[i].rows);
    }
    run(model, "ref", routing, &logits[0]);
    routing->replay = true;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        struct kernels kernels;
        if (kernels_init(&kernels, variants[v], NULL) != OK)
            continue;
        run(model, variants[v], routing, &logits[1]);
        double error = relative_l2(&logits[1], &logits[0]);
        print_message("%s, %s: relative L2 of the logits %.2g\n", what, variants[v], error);
        if (!(error <= 3e-2))
            fail_msg("%s, %s: relative L2 of the logits %g", what, variants[v], error);
    }
    free(logits[0].rows);
    free(logits[1].rows);
    free(routing);
}

static uint64_t hash_of(const struct model *model, uint32_t n_threads, uint32_t chunk,
                        uint32_t n_together) {
    struct engine *engine = open_engine(model, "auto", n_threads);
    struct score_options options = {
        .unused_ids = model->unused_ids, .n_vocab = model->hp.n_vocab, .chunk_tokens = chunk};
    int32_t ids[N_TOKENS], other[N_TOKENS];
    struct error err;
    fill_ids(ids, model);
    for (uint32_t i = 0; i < N_TOKENS; i++)
        other[i] = ids[N_TOKENS - 1 - i];
    struct score_request requests[2] = {{.ids = ids, .n_ids = N_TOKENS},
                                        {.ids = other, .n_ids = N_TOKENS - 5}};
    if (score_run(engine, &options, requests, n_together, &err) != OK)
        fail_msg("%s", err.text);
    engine_close(engine);
    return requests[0].logits_hash;
}

static void compare_layouts(const struct model *model, const char *what) {
    uint64_t plain = hash_of(model, 1, 0, 1);
    bool same = hash_of(model, 2, 0, 1) == plain && hash_of(model, 2, 1, 1) == plain &&
                hash_of(model, 1, 7, 2) == plain && hash_of(model, 2, 0, 2) == plain;
    if (!same)
        fail_msg("%s: the logits depend on threads, chunks or company", what);
}

static void try_model(const char *arch, const char *recipe, const char *extra) {
    char path[128], what[128];
    snprintf(path, sizeof path, "%s/%s-%s.gguf", directory, arch, recipe);
    snprintf(what, sizeof what, "%s %s %s", arch, recipe, extra ? extra : "");
    const char *argv[] = {shoal_program(), "synth", "--preset", "tiny", "--arch", arch,
                          "--recipe",      recipe,  path,       extra,  NULL};
    struct process_result result;
    process_run(argv, NULL, 120, &result);
    if (result.exit_code != 0)
        fail_msg("%s: exit %d: %s", what, result.exit_code, text_str(&result.err));
    process_result_free(&result);

    struct model model;
    struct error err;
    struct model_options options = {.path = path, .with_weights = true, .with_mtp = extra != NULL};
    if (model_open(&model, &options, &err) != OK)
        fail_msg("%s: %s", what, err.text);
    assert_true(model.gguf.parts[0].file.bytes < 20u << 20 || strcmp(recipe, "f32") == 0);
    compare_with_reference(&model, what);
    compare_layouts(&model, what);
    model_close(&model);
    remove(path);
}

static void every_architecture_runs(void **state) {
    (void)state;
    static const char *const archs[] = {"qwen35moe", "qwen35", "qwen3next", "qwen3moe"};
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        try_model(archs[i], "q8_0", NULL);
        try_model(archs[i], "q4_k_m", NULL);
    }
    try_model("qwen35moe", "ud-q4_k_xl", "--mtp");
    try_model("qwen35", "q8_0", "--mtp");
}

static void every_block_format_runs(void **state) {
    (void)state;
    static const char *const recipes[] = {
        "f32",    "f16",   "bf16",    "q4_0",  "q4_1",   "q5_0",   "q5_1",  "q8_0",
        "q2_k",   "q3_k",  "q4_k",    "q5_k",  "q6_k",   "iq1_s",  "iq1_m", "iq2_xxs",
        "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_nl", "iq4_xs", "mxfp4"};
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        try_model("qwen35moe", recipes[i], NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_runs),
        cmocka_unit_test(every_block_format_runs),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
