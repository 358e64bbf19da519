/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model and its golden results, for the tests of the engine.
 *
 * The golden files were computed by an independent PyTorch implementation in float32 over the
 * dequantised weights (model/demo/README.md says how). */
#ifndef SHOAL_TESTS_WORKER_SUPPORT_DEMO_H
#define SHOAL_TESTS_WORKER_SUPPORT_DEMO_H

#include <stdbool.h>

#include "base/json.h"
#include "model/model.h"
#include "worker/engine.h"
#include "worker/score.h"

#define DEMO_DIR  SOURCE_DIR "/model/demo/"
#define DEMO_FILE DEMO_DIR "shoal-demo-q8_0.gguf"

struct demo {
    struct model model;
    struct json_object *golden;  /* golden-q8_0.json */
    struct json_object *prompts; /* its "prompts" */
};

/* All of these fail the running test with the error's text if something is wrong. */
void demo_open(struct demo *demo, bool with_mtp);
void demo_close(struct demo *demo);

struct demo_engine_options {
    const char *kernels;
    uint32_t n_threads, n_seqs, n_step_tokens;
};
struct engine *demo_engine(const struct demo *demo, const struct demo_engine_options *options);

/* Whether this machine runs the variant; a test that needs another one is skipped. */
bool kernels_run_here(const char *name);

size_t demo_n_prompts(const struct demo *demo);
struct json_object *demo_prompt(const struct demo *demo, size_t i);
/* An array of integers of a prompt, on the heap. */
int32_t *demo_ids(struct json_object *prompt, const char *key, uint32_t *n);
double demo_number(struct json_object *prompt, const char *key);

struct score_options demo_score_options(const struct demo *demo);

#endif
