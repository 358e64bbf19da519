/* SPDX-License-Identifier: Apache-2.0 */
/* What the plan says a rank holds (plan/share_size.h) is what the network of that rank is bound to
 * and loads: heads, and the bytes of all matrices. */
#include "tests/integration/support_process.h"

#include "model/model.h"
#include "plan/shard_plan.h"
#include "plan/share_size.h"
#include "worker/forward/forward.h"
#include "worker/weights/weights_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

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

static void bind_rank(struct forward *f, const struct model *model, const struct shard_plan *plan,
                      uint32_t rank_idx, struct arena *arena) {
    struct kernels kernels;
    struct error err;
    assert_int_equal(kernels_init(&kernels, "ref", NULL), OK);
    struct forward_options options = {.hp = &model->hp,
                                      .weights = &model->weights,
                                      .kernels = &kernels,
                                      .n_seqs_max = 1,
                                      .share = {.plan = plan, .rank_idx = rank_idx}};
    if (forward_bind(f, &options, arena, &err) != OK)
        fail_msg("%s", err.text);
}

static void expect_planned(const struct model *model, const struct shard_plan *plan,
                           uint32_t rank_idx) {
    struct arena arena = {0};
    struct forward f;
    struct share_size size;
    bind_rank(&f, model, plan, rank_idx, &arena);
    assert_int_equal(
        share_size_init(&size, &model->hp, &model->weights, &plan->ranks[rank_idx], NULL), OK);
    assert_int_equal(size.kv_heads.begin, f.kv_heads.begin);
    assert_int_equal(size.kv_heads.end, f.kv_heads.end);
    assert_int_equal(size.n_k_heads, f.n_k_heads_max);

    /* A delta net's vectors are cut with its matrices, but they are not loaded as one. */
    uint64_t conv = 0;
    for (uint32_t i = 0; i < model->hp.n_layers; i++) {
        const struct bound_gdn *gdn = &f.layers[i].gdn;
        if (f.layers[i].mixer == MIXER_GDN)
            conv += (4ull * gdn->conv_dim + 2ull * gdn->n_v_heads) * sizeof(float);
    }
    uint64_t matrices = size.bytes - size.embedding_bytes - size.vectors_bytes - conv;
    assert_int_equal(weights_load_size(&f, MATRIX_ROWS).file_bytes, matrices);
    arena_free(&arena);
}

static void expect_plans(const char *path) {
    static const uint32_t layouts[][2] = {{2, 1}, {3, 1}, {4, 2}, {5, 1}, {8, 1}};
    struct model model;
    struct error err;
    struct model_options options = {.path = path, .with_weights = true, .with_mtp = true};
    if (model_open(&model, &options, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; l++) {
        struct arena arena = {0};
        struct plan_rank ranks[8];
        struct shard_plan plan;
        for (uint32_t i = 0; i < 8; i++)
            ranks[i] = (struct plan_rank){.capacity = 1 + i % 3};
        struct shard_plan_options what = {&model.hp, ranks, layouts[l][0], layouts[l][1]};
        if (shard_plan_init(&plan, &what, &arena, &err) != OK)
            fail_msg("%s", err.text);
        for (uint32_t i = 0; i < plan.n_ranks; i++)
            expect_planned(&model, &plan, i);
        arena_free(&arena);
    }
    model_close(&model);
}

static void the_demonstration_model_with_its_mtp_block(void **state) {
    (void)state;
    expect_plans(SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf");
}

/* Super-blocks that join heads, attention only, dense, value heads in checkpoint order. */
static void models_of_every_architecture(void **state) {
    (void)state;
    static const char *const archs[] = {"qwen35moe", "qwen35", "qwen3moe", "qwen3next"};
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        char path[128];
        struct process_result result;
        snprintf(path, sizeof path, "%s/%s.gguf", directory, archs[i]);
        const char *argv[] = {shoal_program(), "synth",    "--preset", "tiny", "--arch",
                              archs[i],        "--recipe", "q4_k_m",   path,   NULL};
        process_run(argv, NULL, 120, &result);
        if (result.exit_code != 0)
            fail_msg("synth: exit %d: %s", result.exit_code, text_str(&result.err));
        process_result_free(&result);
        expect_plans(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_demonstration_model_with_its_mtp_block),
        cmocka_unit_test(models_of_every_architecture),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
