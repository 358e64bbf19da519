/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against golden results of an independent implementation, on the demonstration model:
 * log probabilities, greedy text, and every layer's output; then the fast kernels against ours. */
#include "tests/worker/support_demo.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct demo demo;

/* Every row of logits of every prompt, or the divergence from those. */
struct rows {
    float *logits; /* [n_rows, n_vocab] */
    size_t n_rows, next;
    double kl_sum;
    bool compare;
};

/* Those of the reference kernels: kept by the first test, compared with by the last. */
static struct rows reference;

static int open_demo(void **state) {
    (void)state;
    demo_open(&demo, true);
    for (size_t i = 0; i < demo_n_prompts(&demo); i++) {
        uint32_t n_ids;
        free(demo_ids(demo_prompt(&demo, i), "ids", &n_ids));
        reference.n_rows += n_ids;
    }
    reference.logits = calloc(reference.n_rows, demo.model.hp.n_vocab * sizeof(float));
    assert_non_null(reference.logits);
    return 0;
}

static int close_demo(void **state) {
    (void)state;
    free(reference.logits);
    demo_close(&demo);
    return 0;
}

static void keep_or_compare(void *user, uint32_t request_idx, uint32_t token_idx,
                            const float *logits) {
    struct rows *rows = user;
    uint32_t n = demo.model.hp.n_vocab;
    (void)request_idx, (void)token_idx;
    assert_true(rows->next < rows->n_rows);
    float *kept = rows->logits + rows->next++ * n;
    if (!rows->compare) {
        memcpy(kept, logits, n * sizeof *logits);
        return;
    }
    double log_p = logits_log_sum_exp(kept, n), log_q = logits_log_sum_exp(logits, n), kl = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (isfinite(kept[i]))
            kl += exp(kept[i] - log_p) * ((kept[i] - log_p) - (logits[i] - log_q));
    }
    rows->kl_sum += kl;
}

static void reference_scores_equal_golden(void **state) {
    (void)state;
    struct engine *engine =
        demo_engine(&demo, &(struct demo_engine_options){.kernels = "ref", .n_threads = 2});
    struct score_options options = demo_score_options(&demo);
    options.logits = keep_or_compare;
    options.user = &reference;
    reference.next = 0;
    for (size_t i = 0; i < demo_n_prompts(&demo); i++) {
        struct json_object *prompt = demo_prompt(&demo, i);
        uint32_t n_ids, n_greedy;
        int32_t *ids = demo_ids(prompt, "ids", &n_ids);
        int32_t *golden_greedy = demo_ids(prompt, "greedy_ids", &n_greedy);
        int32_t *greedy = calloc(n_greedy + 1, sizeof *greedy);
        struct token_logprob top[10];
        struct score_request request = {.ids = ids,
                                        .n_ids = n_ids,
                                        .n_top = 10,
                                        .top = top,
                                        .n_greedy = n_greedy,
                                        .greedy = greedy};
        struct error err;
        if (score_run(engine, &options, &request, 1, &err) != OK)
            fail_msg("prompt %zu: %s", i, err.text);
        double allowed = 2e-3 * fmax(1.0, n_ids / 100.0);
        double difference = fabs(request.logprob_sum - demo_number(prompt, "logprob_sum"));
        if (!(difference <= allowed))
            fail_msg("prompt %zu: log probability differs by %g, %g is allowed", i, difference,
                     allowed);
        if (demo_number(prompt, "smallest_margin") > 0.02)
            assert_memory_equal(greedy, golden_greedy, n_greedy * sizeof *greedy);
        struct json_object *best;
        assert_true(json_object_object_get_ex(prompt, "last_top10", &best));
        for (size_t k = 0; k < 10; k++) {
            struct json_object *pair = json_object_array_get_idx(best, k);
            double logprob = json_object_get_double(json_object_array_get_idx(pair, 1));
            assert_true(fabs(top[k].logprob - logprob) < 2e-3);
        }
        free(ids);
        free(golden_greedy);
        free(greedy);
    }
    engine_close(engine);
}

/* Golden arrays by name, and what came of ours. */
struct layers {
    struct json_object *arrays;
    unsigned char *bytes;
    size_t n_compared;
    uint32_t n_logit_rows, n_mtp_rows;
};

static const float *golden_rows(const struct layers *l, const char *name, size_t *n_rows,
                                size_t *n_columns) {
    for (size_t i = 0; i < json_object_array_length(l->arrays); i++) {
        struct json_object *array = json_object_array_get_idx(l->arrays, i), *value;
        json_object_object_get_ex(array, "name", &value);
        if (strcmp(json_object_get_string(value), name) != 0)
            continue;
        json_object_object_get_ex(array, "shape", &value);
        *n_rows = (size_t)json_object_get_int(json_object_array_get_idx(value, 0));
        *n_columns = (size_t)json_object_get_int(json_object_array_get_idx(value, 1));
        json_object_object_get_ex(array, "offset", &value);
        return (const float *)(const void *)(l->bytes + json_object_get_int(value));
    }
    fail_msg("no golden array '%s'", name);
    return NULL;
}

/* Relative L2 over the finite elements (padding rows of the vocabulary are masked in both). */
static double relative_l2(const float *x, const float *golden, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            continue;
        difference += ((double)x[i] - golden[i]) * ((double)x[i] - golden[i]);
        norm += (double)golden[i] * golden[i];
    }
    return sqrt(difference / norm);
}

static void compare_stage(void *user, const struct tap_event *event) {
    struct layers *l = user;
    size_t n_rows, n_columns;
    const float *golden = golden_rows(l, event->name, &n_rows, &n_columns);
    assert_int_equal(event->n_tokens, n_rows);
    assert_int_equal(event->d, n_columns);
    double error = relative_l2(event->x, golden, n_rows * n_columns);
    if (!(error <= 1e-3))
        fail_msg("%s: relative L2 %g", event->name, error);
    l->n_compared++;
}

static void compare_row(struct layers *l, const char *name, uint32_t row, const float *logits) {
    size_t n_rows, n_columns;
    const float *golden = golden_rows(l, name, &n_rows, &n_columns);
    assert_true(row < n_rows);
    double error = relative_l2(logits, golden + row * n_columns, n_columns);
    if (!(error <= 1e-3))
        fail_msg("%s, row %u: relative L2 %g", name, row, error);
}

static void compare_logits(void *user, uint32_t request_idx, uint32_t token_idx,
                           const float *logits) {
    struct layers *l = user;
    (void)request_idx;
    compare_row(l, "logits", token_idx, logits);
    l->n_logit_rows++;
}

static void compare_mtp_logits(void *user, uint32_t request_idx, uint32_t token_idx,
                               const float *logits) {
    struct layers *l = user;
    (void)request_idx;
    compare_row(l, "mtp logits", token_idx, logits);
    l->n_mtp_rows++;
}

static void reference_layers_equal_golden(void **state) {
    (void)state;
    struct layers layers = {0};
    struct json_object *golden = json_object_from_file(DEMO_DIR "golden-layers-q8_0.json");
    assert_non_null(golden);
    assert_true(json_object_object_get_ex(golden, "arrays", &layers.arrays));
    FILE *file = fopen(DEMO_DIR "golden-layers-q8_0.f32", "rb");
    assert_non_null(file);
    layers.bytes = calloc(1, 1 << 20);
    assert_true(fread(layers.bytes, 1, 1 << 20, file) > 0);
    fclose(file);

    struct engine *engine =
        demo_engine(&demo, &(struct demo_engine_options){.kernels = "ref", .n_threads = 2});
    struct observer observer = {.tap = compare_stage, .user = &layers};
    struct score_options options = demo_score_options(&demo);
    options.observer = &observer;
    options.logits = compare_logits;
    options.with_mtp = 1;
    options.mtp_logits = compare_mtp_logits;
    options.user = &layers;
    uint32_t n_ids;
    int32_t *ids = demo_ids(golden, "ids", &n_ids);
    struct token_logprob top;
    struct score_request request = {.ids = ids, .n_ids = n_ids, .n_top = 1, .top = &top};
    struct error err;
    if (score_run(engine, &options, &request, 1, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(layers.n_compared, 6); /* embedding, four layers, final norm */
    assert_int_equal(layers.n_logit_rows, n_ids);
    assert_int_equal(layers.n_mtp_rows, n_ids);
    engine_close(engine);
    free(ids);
    free(layers.bytes);
    json_object_put(golden);
}

static void score_all(const char *kernels, struct rows *rows) {
    struct engine *engine =
        demo_engine(&demo, &(struct demo_engine_options){.kernels = kernels, .n_threads = 2});
    struct score_options options = demo_score_options(&demo);
    options.logits = keep_or_compare;
    options.user = rows;
    rows->next = 0;
    for (size_t i = 0; i < demo_n_prompts(&demo); i++) {
        uint32_t n_ids;
        int32_t *ids = demo_ids(demo_prompt(&demo, i), "ids", &n_ids);
        struct score_request request = {.ids = ids, .n_ids = n_ids};
        struct error err;
        if (score_run(engine, &options, &request, 1, &err) != OK)
            fail_msg("prompt %zu: %s", i, err.text);
        free(ids);
    }
    engine_close(engine);
}

static void fast_kernels_stay_near_the_reference(void **state) {
    (void)state;
    static const char *const variants[] = {"avx2", "avx512"};
    assert_int_equal(reference.next, reference.n_rows); /* the first test has run */
    reference.compare = true;
    size_t n_run = 0;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        if (!kernels_run_here(variants[v]))
            continue;
        reference.kl_sum = 0;
        score_all(variants[v], &reference);
        double mean = reference.kl_sum / (double)reference.n_rows;
        print_message("%s: mean KL to the reference %.3g over %zu positions\n", variants[v], mean,
                      reference.n_rows);
        assert_true(mean < 1e-3);
        n_run++;
    }
    if (n_run == 0)
        skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_scores_equal_golden),
        cmocka_unit_test(reference_layers_equal_golden),
        cmocka_unit_test(fast_kernels_stay_near_the_reference),
    };
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}
