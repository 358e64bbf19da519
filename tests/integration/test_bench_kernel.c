/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench kernel`: which rows come, their arithmetic, and that what was measured was computed
 * right; never how fast anything was. */
#include "tests/integration/support_process.h"
#include "tests/support/json_member.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *string(struct json_object *row, const char *key) {
    return json_object_get_string(json_member(row, key)); /* NULL of null */
}

/* Runs with the options given (a NULL ends them), 2 threads, JSON. */
static struct json_object *measure(const char *const *options) {
    const char *argv[24] = {shoal_program(), "bench", "kernel", "-t", "2", "--json"};
    for (size_t i = 0; options[i]; i++)
        argv[6 + i] = options[i];
    struct process_result result;
    process_run(argv, NULL, 240, &result);
    if (result.exit_code != 0)
        fail_msg("%s", text_str(&result.err));
    struct json_object *rows = NULL;
    struct error err;
    assert_int_equal(json_parse(text_span(&result.out), &rows, &err), OK);
    process_result_free(&result);
    return rows;
}

/* What is reached follows from the row's own numbers. */
static void check_ceiling(struct json_object *row) {
    double seconds = json_number(row, "median_ns") * 1e-9;
    const char *bound = string(row, "bound");
    double ceiling_s = 0;
    if (!bound) {
        assert_null(json_member(row, "fraction"));
        return;
    }
    if (strcmp(bound, "memory") == 0)
        ceiling_s = json_number(row, "bytes") / json_number(row, "read_bytes_per_s");
    else if (strcmp(bound, "integers") == 0)
        ceiling_s = json_number(row, "operations") / json_number(row, "peak_integers_per_s");
    else
        ceiling_s = json_number(row, "operations") / json_number(row, "peak_floats_per_s");
    double fraction = json_number(row, "fraction");
    assert_true(fabs(fraction - ceiling_s / seconds) <= 1e-6 * fraction);
}

static void check_row(struct json_object *row) {
    struct json_object *samples = json_member(row, "samples_ns");
    size_t n = json_object_array_length(samples), n_below = 0, n_above = 0;
    double median = json_number(row, "median_ns");
    assert_int_equal(n, 20);
    for (size_t i = 0; i < n; i++) {
        double ns = json_object_get_double(json_object_array_get_idx(samples, i));
        n_below += ns <= median + 1;
        n_above += ns >= median - 1;
    }
    assert_true(n_below >= n / 2 && n_above >= n / 2);
    assert_int_equal(json_number(row, "threads"), 2);
    assert_true(median > 0 && json_number(row, "spread") >= 0);
    check_ceiling(row);
}

static void products_have_a_row_for_every_combination(void **state) {
    (void)state;
    static const char *const options[] = {"--op",    "matmul,experts", "--type",   "q4_k,bf16",
                                          "--shape", "256x512",        "--tokens", "1,3",
                                          NULL};
    struct json_object *rows = measure(options);
    assert_int_equal(json_object_array_length(rows), 8);
    for (size_t i = 0; i < 8; i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        bool quantised = i / 2 % 2 == 1; /* types come in the order of their enum */
        double n_tokens = i % 2 ? 3 : 1, row_bytes = quantised ? 512 / 256 * 144 : 512 * 2;
        check_row(row);
        assert_string_equal(string(row, "op"), i < 4 ? "matmul" : "experts");
        assert_string_equal(string(row, "type"), quantised ? "Q4_K" : "BF16");
        assert_string_equal(string(row, "shape"), "256x512");
        assert_true(json_number(row, "n_tokens") == n_tokens);
        if (i < 4)
            assert_true(json_number(row, "bytes") == 256 * row_bytes);
        else /* each token calls 8 of 256 experts of three matrices, tokens may share some */
            assert_true(json_number(row, "bytes") > 8 * 3 * 256 * row_bytes * 0.9 &&
                        json_number(row, "bytes") <= n_tokens * 8 * 3 * 256 * row_bytes);
        assert_true(json_number(row, "operations") ==
                    n_tokens * 2 * 256 * 512 * (i < 4 ? 1 : 3 * 8));
        if (strcmp(string(row, "kernels"), "ref") != 0) {
            double error = json_number(row, "error");
            assert_true(quantised ? error > 1e-5 && error < 2e-2 : error < 1e-5);
        }
    }
    json_object_put(rows);
}

static void every_operation_runs_and_agrees_with_the_reference(void **state) {
    (void)state;
    static const char *const options[] = {"--type", "f16,q8_0", "--shape", "256x256", "--tokens",
                                          "2,9",    "-d",       "300",     NULL};
    static const char *const names[] = {"attention", "gdn_conv", "gdn_step",  "gdn_gate",
                                        "gdn_mix",   "rope",     "rmsnorm",   "router",
                                        "swiglu",    "add",      "add_shared"};
    struct json_object *rows = measure(options);
    size_t n_rows = json_object_array_length(rows);
    /* matmul, experts and embed have both types; pack only quantised ones and no tokens; attention
     * and kv_append only floats. */
    assert_int_equal(n_rows, 3 * 4 + 1 + 2 * 2 + 11 * 2);
    for (size_t i = 0; i < n_rows; i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        check_row(row);
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            if (strcmp(string(row, "op"), names[n]) == 0 && strcmp(string(row, "kernels"), "ref"))
                assert_true(json_number(row, "error") < 1e-5);
        }
    }
    json_object_put(rows);
}

static void what_cannot_be_measured_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *options[4], *says;
    } cases[] = {
        {{"--op", "matmull"}, "'matmull' is no operation; there are: matmul,"},
        {{"--type", "q9_k"}, "'q9_k' is no type"},
        {{"--shape", "2048"}, "must be rows x columns"},
        {{"--tokens", "0"}, "--tokens"},
        {{"--op", "pack", "--type", "bf16"}, "no operation of --op has a --type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *argv[8] = {shoal_program(), "bench", "kernel"};
        memcpy(argv + 3, cases[i].options, sizeof cases[i].options);
        struct process_result result;
        process_run(argv, NULL, 60, &result);
        if (result.exit_code != 2 || !strstr(text_str(&result.err), cases[i].says))
            fail_msg("case %zu: exit %d: %s", i, result.exit_code, text_str(&result.err));
        process_result_free(&result);
    }
}

static void a_shape_that_a_type_lacks_is_refused(void **state) {
    (void)state;
    const char *argv[] = {shoal_program(), "bench", "kernel",  "--op",    "matmul",
                          "--type",        "q4_k",  "--shape", "256x288", NULL};
    struct process_result result;
    process_run(argv, NULL, 60, &result);
    assert_int_equal(result.exit_code, 2);
    assert_non_null(strstr(text_str(&result.err), "Q4_K needs columns in multiples of 256"));
    process_result_free(&result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_a_row_for_every_combination),
        cmocka_unit_test(every_operation_runs_and_agrees_with_the_reference),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
        cmocka_unit_test(a_shape_that_a_type_lacks_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
