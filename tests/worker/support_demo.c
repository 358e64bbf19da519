/* SPDX-License-Identifier: Apache-2.0 */
/* Opening for tests: any error ends the test at once, with its text. */
#include "tests/worker/support_demo.h"

#include "kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

void demo_open(struct demo *demo, bool with_mtp) {
    struct error err;
    struct model_options options = {.path = DEMO_FILE, .with_weights = true, .with_mtp = with_mtp};
    *demo = (struct demo){0};
    if (model_open(&demo->model, &options, &err) != OK)
        fail_msg("%s", err.text);
    demo->golden = json_object_from_file(DEMO_DIR "golden-q8_0.json");
    assert_non_null(demo->golden);
    assert_true(json_object_object_get_ex(demo->golden, "prompts", &demo->prompts));
    assert_true(demo_n_prompts(demo) > 10);
}

void demo_close(struct demo *demo) {
    json_object_put(demo->golden);
    model_close(&demo->model);
}

struct engine *demo_engine(const struct demo *demo, const struct demo_engine_options *o) {
    struct engine *engine = NULL;
    struct error err;
    struct engine_options options = {.hp = &demo->model.hp,
                                     .weights = &demo->model.weights,
                                     .unused_ids = demo->model.unused_ids,
                                     .kernels = o->kernels,
                                     .n_threads = o->n_threads,
                                     .ctx_size = 2048,
                                     .n_seqs = o->n_seqs,
                                     .n_step_tokens = o->n_step_tokens,
                                     .kv_dtype_auto = true};
    if (engine_open(&engine, &options, &err) != OK)
        fail_msg("%s", err.text);
    return engine;
}

bool kernels_run_here(const char *name) {
    struct kernels kernels;
    return kernels_init(&kernels, name, NULL) == OK;
}

size_t demo_n_prompts(const struct demo *demo) {
    return json_object_array_length(demo->prompts);
}

struct json_object *demo_prompt(const struct demo *demo, size_t i) {
    return json_object_array_get_idx(demo->prompts, i);
}

int32_t *demo_ids(struct json_object *prompt, const char *key, uint32_t *n) {
    struct json_object *array;
    assert_true(json_object_object_get_ex(prompt, key, &array));
    *n = (uint32_t)json_object_array_length(array);
    int32_t *ids = calloc(*n + 1, sizeof *ids);
    assert_non_null(ids);
    for (uint32_t i = 0; i < *n; i++)
        ids[i] = json_object_get_int(json_object_array_get_idx(array, i));
    return ids;
}

double demo_number(struct json_object *prompt, const char *key) {
    struct json_object *value;
    assert_true(json_object_object_get_ex(prompt, key, &value));
    return json_object_get_double(value);
}

struct score_options demo_score_options(const struct demo *demo) {
    return (struct score_options){.unused_ids = demo->model.unused_ids,
                                  .n_vocab = demo->model.hp.n_vocab};
}
