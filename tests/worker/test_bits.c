/* SPDX-License-Identifier: Apache-2.0 */
/* The same bits everywhere: logits must not depend on threads, chunks or company. Compared with
 * `==`, through the hash of the last logits, the sum of log probabilities and the greedy text. */
#include "tests/worker/support_demo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_TEXTS  8
#define N_GREEDY 12

static struct demo demo;
static struct score_request texts[N_TEXTS]; /* with results of the plain run */

static int open_demo(void **state) {
    (void)state;
    demo_open(&demo, false);
    /* Eight different prompts of 5 to 322 tokens. */
    static const size_t chosen[N_TEXTS] = {0, 2, 3, 5, 6, 8, 11, 13};
    for (size_t i = 0; i < N_TEXTS; i++) {
        uint32_t n_ids;
        int32_t *ids = demo_ids(demo_prompt(&demo, chosen[i]), "ids", &n_ids);
        texts[i] = (struct score_request){
            .ids = ids, .n_ids = n_ids, .n_greedy = N_GREEDY, .greedy = calloc(N_GREEDY, 4)};
    }
    return 0;
}

static int close_demo(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TEXTS; i++) {
        free((void *)(uintptr_t)texts[i].ids);
        free(texts[i].greedy);
    }
    demo_close(&demo);
    return 0;
}

struct layout {
    const char *kernels;
    uint32_t n_threads, chunk_tokens, n_together, n_step_tokens;
};

/* Scores all texts under one layout into `requests` (whose greedy memory is taken from `greedy`).
 */
static void score_texts(const struct layout *layout, struct score_request *requests,
                        int32_t greedy[N_TEXTS][N_GREEDY]) {
    struct engine *engine =
        demo_engine(&demo, &(struct demo_engine_options){.kernels = layout->kernels,
                                                         .n_threads = layout->n_threads,
                                                         .n_seqs = N_TEXTS,
                                                         .n_step_tokens = layout->n_step_tokens});
    struct score_options options = demo_score_options(&demo);
    options.chunk_tokens = layout->chunk_tokens;
    for (size_t i = 0; i < N_TEXTS; i++) {
        requests[i] = texts[i];
        requests[i].greedy = greedy[i];
    }
    for (size_t i = 0; i < N_TEXTS; i += layout->n_together) {
        struct error err;
        if (score_run(engine, &options, requests + i, layout->n_together, &err) != OK)
            fail_msg("%s", err.text);
    }
    engine_close(engine);
}

/* Makes the results under this layout the ones that others are compared with. */
static void keep_results_of(const struct layout *layout) {
    struct score_request requests[N_TEXTS];
    int32_t greedy[N_TEXTS][N_GREEDY];
    score_texts(layout, requests, greedy);
    for (size_t i = 0; i < N_TEXTS; i++) {
        memcpy(texts[i].greedy, greedy[i], sizeof greedy[i]);
        texts[i].logits_hash = requests[i].logits_hash;
        texts[i].logprob_sum = requests[i].logprob_sum;
    }
}

static void expect_same(const struct layout *layout) {
    struct score_request requests[N_TEXTS];
    int32_t greedy[N_TEXTS][N_GREEDY];
    score_texts(layout, requests, greedy);
    for (size_t i = 0; i < N_TEXTS; i++) {
        bool same = requests[i].logits_hash == texts[i].logits_hash &&
                    requests[i].logprob_sum == texts[i].logprob_sum &&
                    memcmp(requests[i].greedy, texts[i].greedy, sizeof greedy[i]) == 0;
        if (!same)
            fail_msg("%s, %u threads, chunks of %u, %u together, steps of %u: text %zu differs",
                     layout->kernels, layout->n_threads, layout->chunk_tokens, layout->n_together,
                     layout->n_step_tokens, i);
    }
}

static void try_all_layouts(const char *kernels) {
    if (!kernels_run_here(kernels))
        skip();
    keep_results_of(&(struct layout){kernels, 1, 0, 1, 512});
    static const uint32_t chunks[] = {1, 7, 64, 0};
    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
        for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
            expect_same(&(struct layout){kernels, n_threads, chunks[c], 1, 512});
            expect_same(&(struct layout){kernels, n_threads, chunks[c], N_TEXTS, 512});
        }
    }
    expect_same(&(struct layout){kernels, 5, 0, N_TEXTS, 100});
}

static void avx512_has_one_result(void **state) {
    (void)state;
    try_all_layouts("avx512");
}

static void avx2_has_one_result(void **state) {
    (void)state;
    try_all_layouts("avx2");
}

static void reference_has_one_result(void **state) {
    (void)state;
    keep_results_of(&(struct layout){"ref", 1, 0, 1, 512});
    expect_same(&(struct layout){"ref", 2, 7, N_TEXTS, 512});
}

static void fast_variants_agree_bit_for_bit(void **state) {
    (void)state;
    if (!kernels_run_here("avx2") || !kernels_run_here("avx512"))
        skip();
    keep_results_of(&(struct layout){"avx512", 2, 0, N_TEXTS, 512});
    expect_same(&(struct layout){"avx2", 2, 0, N_TEXTS, 512});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_has_one_result),
        cmocka_unit_test(avx2_has_one_result),
        cmocka_unit_test(avx512_has_one_result),
        cmocka_unit_test(fast_variants_agree_bit_for_bit),
    };
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}
