/* SPDX-License-Identifier: Apache-2.0 */
/* `run` stays within what `inspect` says it needs: the largest resident set of the process against
 * the plan, plus a tenth. */
#include "tests/integration/support_process.h"

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The sum of the "needs" of inspect at this context. */
static double needed_bytes(const char *model, const char *ctx_size) {
    struct process_result result;
    const char *argv[] = {shoal_program(), "inspect", "--json", "-c", ctx_size, model, NULL};
    process_run(argv, NULL, 60, &result);
    if (result.exit_code != 0)
        fail_msg("%s", text_str(&result.err));
    struct json_object *root = NULL, *needs;
    struct error err;
    assert_int_equal(json_parse(text_span(&result.out), &root, &err), OK);
    assert_true(json_object_object_get_ex(root, "needs", &needs));
    static const char *const parts[] = {"weights_bytes", "kv_bytes", "state_bytes",
                                        "buffers_bytes"};
    double sum = 0;
    for (size_t i = 0; i < 4; i++) {
        struct json_object *value;
        assert_true(json_object_object_get_ex(needs, parts[i], &value));
        sum += json_object_get_double(value);
    }
    json_object_put(root);
    process_result_free(&result);
    return sum;
}

static void compare(const char *model, const char *ctx_size, const char *prompt) {
    struct process_result result;
    const char *argv[] = {
        shoal_program(), "run", "-m", model, "-c", ctx_size, "--temp", "0", "-n", "24", "-p",
        prompt,          NULL};
    double needed = needed_bytes(model, ctx_size);
    process_run(argv, NULL, 120, &result);
    if (result.exit_code != 0)
        fail_msg("%s", text_str(&result.err));
    print_message("%s, context %s: %.1f MiB resident at most, %.1f MiB planned\n", model, ctx_size,
                  (double)result.max_rss_bytes / 0x1p20, needed / 0x1p20);
    assert_true((double)result.max_rss_bytes <= 1.1 * needed);
    process_result_free(&result);
}

/* 1,000 tokens and more, so that caches and buffers are really used. */
static char *long_prompt(void) {
    char *prompt = calloc(1, 8000);
    assert_non_null(prompt);
    for (int i = 0; i < 130; i++)
        memcpy(prompt + i * 40, "The little fox went to the cold river. \n", 40);
    return prompt;
}

static void the_demonstration_model_stays_within_its_plan(void **state) {
    (void)state;
    char *prompt = long_prompt();
    compare(SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf", "1536", prompt);
    compare(SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf", "64", "Hi");
    free(prompt);
}

static void a_large_vocabulary_stays_within_its_plan(void **state) {
    (void)state;
    char directory[64], path[96], *prompt = long_prompt();
    struct process_result result;
    test_directory(directory);
    snprintf(path, sizeof path, "%s/large.gguf", directory);
    const char *argv[] = {shoal_program(), "synth",  "--preset", "tiny",
                          "--vocab",       "248320", path,       NULL};
    process_run(argv, NULL, 120, &result);
    if (result.exit_code != 0)
        fail_msg("%s", text_str(&result.err));
    compare(path, "8192", prompt);
    process_result_free(&result);
    test_directory_remove(directory);
    free(prompt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_demonstration_model_stays_within_its_plan),
        cmocka_unit_test(a_large_vocabulary_stays_within_its_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
