/* SPDX-License-Identifier: Apache-2.0 */
/* The main test of worker groups: the logits of a request are equal, with `==`, on any number of
 * ranks and nodes, with any attention groups, every exchange, alone or in company, in one chunk or
 * many. Ranks are threads here (tests/support/thread_group), so that many layouts take little time;
 * everything but the transport is what runs under mpirun. */
#include "tests/integration/support_process.h"
#include "tests/support/thread_group.h"

#include "model/model.h"
#include "plan/shard_plan.h"
#include "worker/engine.h"
#include "worker/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_REQUESTS 5
#define N_TOKENS   41 /* of the longest prompt */
#define N_GREEDY   3

/* How a model is spread and driven. */
struct layout {
    uint32_t n_ranks, n_nodes, n_groups; /* n_groups 0: one per node */
    enum exchange_strategy strategy;
    uint32_t n_threads;     /* of a rank */
    uint32_t n_step_tokens; /* and with it how prompts are cut into chunks */
    uint32_t n_together;    /* sequences at once */
    bool uneven;            /* ranks of different capacity */
    const char *kernels;
};

struct result {
    uint64_t logits_hash;
    double logprob_sum;
    int32_t greedy[N_GREEDY];
};

struct run {
    const struct model *model;
    const struct layout *layout;
    struct shard_plan plan;
    struct result results[N_REQUESTS];
};

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

/* Five prompts of different lengths, the same for every layout. */
static void fill_prompt(uint32_t idx, const struct model *model, int32_t ids[N_TOKENS],
                        uint32_t *n) {
    static const uint32_t lengths[N_REQUESTS] = {1, 7, 16, 33, N_TOKENS};
    uint32_t x = 12345 + idx, limit = model->n_real_ids;
    *n = lengths[idx];
    for (uint32_t i = 0; i < *n; i++) {
        x = x * 1664525u + 1013904223u;
        ids[i] = (int32_t)((x >> 8) % limit);
    }
}

static enum status score_all(struct run *run, struct engine *engine, struct error *err) {
    struct score_request requests[N_REQUESTS] = {{0}};
    int32_t ids[N_REQUESTS][N_TOKENS];
    struct score_options options = {.unused_ids = run->model->unused_ids,
                                    .n_vocab = run->model->hp.n_vocab};
    for (uint32_t i = 0; i < N_REQUESTS; i++) {
        fill_prompt(i, run->model, ids[i], &requests[i].n_ids);
        requests[i].ids = ids[i];
        requests[i].n_greedy = N_GREEDY;
        requests[i].greedy = run->results[i].greedy;
    }
    for (uint32_t i = 0; i < N_REQUESTS; i += run->layout->n_together) {
        uint32_t n = N_REQUESTS - i;
        n = n < run->layout->n_together ? n : run->layout->n_together;
        TRY(score_run(engine, &options, requests + i, n, err));
    }
    for (uint32_t i = 0; i < N_REQUESTS; i++) {
        run->results[i].logits_hash = requests[i].logits_hash;
        run->results[i].logprob_sum = requests[i].logprob_sum;
    }
    return OK;
}

static enum status run_rank(struct group *group, void *user, struct error *err) {
    struct run *run = user;
    const struct layout *layout = run->layout;
    struct engine *engine = NULL;
    struct engine_options options = {.hp = &run->model->hp,
                                     .weights = &run->model->weights,
                                     .unused_ids = run->model->unused_ids,
                                     .kernels = layout->kernels,
                                     .n_threads = layout->n_threads,
                                     .ctx_size = 64,
                                     .n_seqs = 8,
                                     .n_step_tokens = layout->n_step_tokens,
                                     .n_logit_rows = 3,
                                     .kv_dtype_auto = true,
                                     .group = group,
                                     .shard = &run->plan,
                                     .strategy = layout->strategy};
    TRY(engine_open(&engine, &options, err));
    enum status status;
    if (group && group->rank_idx > 0) {
        status = engine_follow(engine, err);
    } else {
        status = score_all(run, engine, err);
        if (status == OK)
            status = engine_park(engine, err);
    }
    engine_close(engine);
    return status;
}

static void name_layout(const struct layout *layout, char text[128]) {
    snprintf(text, 128,
             "%u ranks, %u nodes, %u groups, %s, %u threads, steps of %u, %u together%s, %s",
             layout->n_ranks, layout->n_nodes, layout->n_groups, exchange_name(layout->strategy),
             layout->n_threads, layout->n_step_tokens, layout->n_together,
             layout->uneven ? ", uneven" : "", layout->kernels);
}

static void run_layout(struct run *run) {
    const struct layout *layout = run->layout;
    struct plan_rank ranks[THREAD_GROUP_RANKS_MAX];
    struct arena arena = {0};
    struct error err;
    char name[128];
    name_layout(layout, name);
    for (uint32_t i = 0; i < layout->n_ranks; i++)
        ranks[i] =
            (struct plan_rank){.node = group_pretended_node(i, layout->n_ranks, layout->n_nodes),
                               .capacity = layout->uneven ? 1.0 + i % 3 : 1.0};
    const struct shard_plan_options options = {.hp = &run->model->hp,
                                               .ranks = ranks,
                                               .n_ranks = layout->n_ranks,
                                               .n_attention_groups = layout->n_groups};
    if (shard_plan_init(&run->plan, &options, &arena, &err) != OK)
        fail_msg("%s: %s", name, err.text);
    if (thread_group_run(layout->n_ranks, layout->n_nodes, run_rank, run, &err) != OK)
        fail_msg("%s: %s", name, err.text);
    arena_free(&arena);
}

static void expect_equal(const struct run *run, const struct run *alone) {
    char name[128];
    name_layout(run->layout, name);
    for (uint32_t i = 0; i < N_REQUESTS; i++) {
        const struct result *is = &run->results[i], *was = &alone->results[i];
        if (is->logits_hash != was->logits_hash || is->logprob_sum != was->logprob_sum ||
            memcmp(is->greedy, was->greedy, sizeof is->greedy) != 0)
            fail_msg("%s: request %u differs (%.17g, alone %.17g)", name, i, is->logprob_sum,
                     was->logprob_sum);
    }
}

#define REPLICATED EXCHANGE_REPLICATED
#define GATHER     EXCHANGE_GATHER
#define ALLTOALL   EXCHANGE_ALLTOALL

/* ranks, nodes, groups, exchange, threads, step, together, uneven */
static const struct layout layouts[] = {
    {1, 1, 1, REPLICATED, 1, 64, 1, false, "auto"}, {2, 1, 1, REPLICATED, 1, 64, 1, false, "auto"},
    {2, 1, 1, GATHER, 2, 16, 5, false, "auto"},     {2, 1, 2, ALLTOALL, 1, 64, 5, false, "auto"},
    {2, 2, 0, GATHER, 1, 64, 2, false, "auto"},     {2, 2, 0, ALLTOALL, 1, 5, 5, false, "auto"},
    {3, 1, 1, REPLICATED, 1, 64, 5, false, "auto"}, {3, 1, 1, ALLTOALL, 1, 7, 1, true, "auto"},
    {3, 1, 3, GATHER, 1, 64, 5, true, "auto"},      {3, 2, 0, ALLTOALL, 1, 64, 3, false, "auto"},
    {4, 1, 1, REPLICATED, 1, 33, 5, false, "auto"}, {4, 1, 2, GATHER, 1, 64, 5, false, "auto"},
    {4, 1, 4, ALLTOALL, 1, 9, 5, true, "auto"},     {4, 2, 0, GATHER, 1, 64, 5, false, "auto"},
    {4, 2, 4, ALLTOALL, 1, 64, 5, false, "auto"},   {4, 4, 0, ALLTOALL, 1, 64, 5, false, "auto"},
    {4, 4, 0, GATHER, 1, 3, 5, true, "auto"},       {5, 1, 1, REPLICATED, 1, 64, 5, false, "auto"},
    {8, 1, 1, REPLICATED, 1, 64, 5, false, "auto"}, {8, 2, 0, ALLTOALL, 1, 64, 5, false, "auto"},
    {8, 2, 4, GATHER, 1, 16, 5, false, "auto"},     {8, 4, 0, ALLTOALL, 1, 64, 5, true, "auto"},
    {8, 4, 8, ALLTOALL, 1, 64, 5, false, "auto"},   {8, 1, 2, GATHER, 1, 64, 5, true, "auto"},
};

/* Every layout against one rank without a group, one sequence at a time. */
static void expect_one_result(const char *path, const char *kernels) {
    static const struct layout alone_layout = {1, 1, 1, REPLICATED, 1, 64, 1, false, "auto"};
    struct layout layout = alone_layout;
    struct model model;
    struct model_options options = {.path = path, .with_weights = true};
    struct error err;
    if (model_open(&model, &options, &err) != OK)
        fail_msg("%s", err.text);
    layout.kernels = kernels;
    struct run alone = {.model = &model, .layout = &layout};
    if (run_rank(NULL, &alone, &err) != OK)
        fail_msg("alone: %s", err.text);
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        struct layout tried = layouts[i];
        struct run run = {.model = &model, .layout = &tried};
        tried.kernels = kernels;
        run_layout(&run);
        expect_equal(&run, &alone);
    }
    model_close(&model);
}

/* A model made by `shoal synth` with these arguments. */
static void synth_and_expect(const char *const *arguments, const char *kernels) {
    char path[128];
    const char *argv[24] = {shoal_program(), "synth", "--force"};
    struct process_result result;
    size_t n = 3;
    snprintf(path, sizeof path, "%s/model.gguf", directory);
    for (size_t i = 0; arguments[i]; i++)
        argv[n++] = arguments[i];
    argv[n] = path;
    process_run(argv, NULL, 120, &result);
    if (result.exit_code != 0)
        fail_msg("synth: exit %d: %s", result.exit_code, text_str(&result.err));
    process_result_free(&result);
    expect_one_result(path, kernels);
}

static void the_demonstration_model(void **state) {
    (void)state;
    expect_one_result(SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf", "auto");
}

static void the_reference_kernels(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny", "--recipe", "q8_0",
                                            "--layers", "4",    NULL};
    synth_and_expect(arguments, "ref");
}

static void super_blocks_that_join_heads(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny", "--recipe", "q4_k_m", NULL};
    synth_and_expect(arguments, "auto");
}

/* Six heads on two KV heads, three key heads of a delta net, 512 experts of which ten are chosen.
 */
static void counts_that_do_not_divide(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny",
                                            "--recipe", "q8_0",
                                            "--set",    "attention.head_count=6",
                                            "--set",    "ssm.group_count=3",
                                            "--set",    "ssm.time_step_rank=6",
                                            "--set",    "expert_count=512",
                                            "--set",    "expert_used_count=10",
                                            "--set",    "expert_feed_forward_length=64",
                                            NULL};
    synth_and_expect(arguments, "auto");
}

/* A shared expert of four parts, so that a rank may take two that do not join, in steps so small
 * that nothing else needs room for that. */
static void a_wide_shared_expert(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny",
                                            "--recipe", "q8_0",
                                            "--set",    "expert_shared_feed_forward_length=1024",
                                            "--set",    "expert_count=32",
                                            NULL};
    synth_and_expect(arguments, "auto");
}

static void float_weights(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny", "--recipe", "bf16", NULL};
    synth_and_expect(arguments, "auto");
}

static void a_dense_model(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny", "--arch", "qwen35",
                                            "--recipe", "q6_k", NULL};
    synth_and_expect(arguments, "auto");
}

static void a_model_without_delta_nets(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny",   "--arch", "qwen3moe",
                                            "--recipe", "q4_k_m", NULL};
    synth_and_expect(arguments, "auto");
}

static void value_heads_in_groups(void **state) {
    (void)state;
    static const char *const arguments[] = {"--preset", "tiny",   "--arch", "qwen3next",
                                            "--recipe", "iq4_nl", NULL};
    synth_and_expect(arguments, "auto");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_demonstration_model),
        cmocka_unit_test(the_reference_kernels),
        cmocka_unit_test(super_blocks_that_join_heads),
        cmocka_unit_test(counts_that_do_not_divide),
        cmocka_unit_test(a_wide_shared_expert),
        cmocka_unit_test(float_weights),
        cmocka_unit_test(a_dense_model),
        cmocka_unit_test(a_model_without_delta_nets),
        cmocka_unit_test(value_heads_in_groups),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
