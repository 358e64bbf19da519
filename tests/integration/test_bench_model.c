/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench model`: the rows that scripts read. What is checked is their shape and their
 * arithmetic, never how fast anything was. */
#include "tests/integration/support_process.h"
#include "tests/support/json_member.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One process exchanges nothing and reads everything. */
static void check_rank_alone(struct json_object *row) {
    struct json_object *ranks = json_member(row, "ranks");
    assert_int_equal(json_object_array_length(ranks), 1);
    struct json_object *rank = json_object_array_get_idx(ranks, 0);
    static const char *const exchanged[] = {"node_bytes", "return_bytes", "sum_ns", "dispatch_ns",
                                            "combine_ns", "logits_ns",    "wait_ns"};
    for (size_t i = 0; i < sizeof exchanged / sizeof exchanged[0]; i++)
        assert_int_equal(json_number(rank, exchanged[i]), 0);
    struct json_object *samples = json_member(row, "samples_ns");
    double all_ns = 0;
    for (size_t i = 0; i < json_object_array_length(samples); i++)
        all_ns += json_object_get_double(json_object_array_get_idx(samples, i));
    double run_ns = json_number(rank, "run_ns");
    assert_true(run_ns > 0 && run_ns <= all_ns + 10);
    double n_tokens = json_number(row, "n_prompt") + json_number(row, "n_gen");
    n_tokens *= json_number(row, "n_seqs") * (double)json_object_array_length(samples);
    double bytes = json_number(rank, "weight_bytes") + json_number(rank, "state_bytes") +
                   json_number(rank, "kv_bytes");
    assert_true(fabs(bytes / n_tokens - json_number(row, "bytes_per_token")) <= 1);
    assert_true(json_number(rank, "expert_rows") > 0);
}

static void check_row(struct json_object *row, const char *test, int n_prompt, int n_gen,
                      int n_depth, int n_seqs) {
    assert_string_equal(json_object_get_string(json_member(row, "test")), test);
    assert_int_equal(json_number(row, "n_prompt"), n_prompt);
    assert_int_equal(json_number(row, "n_gen"), n_gen);
    assert_int_equal(json_number(row, "n_depth"), n_depth);
    assert_int_equal(json_number(row, "n_seqs"), n_seqs);
    assert_int_equal(json_number(row, "threads"), 2);
    assert_int_equal(json_number(row, "workers"), 1);
    assert_string_equal(json_object_get_string(json_member(row, "kernels")), "ref");
    struct json_object *samples = json_member(row, "samples_ts");
    assert_int_equal(json_object_array_length(samples), 3);
    check_rank_alone(row);
    double median = json_number(row, "median_ts");
    int n_below = 0, n_above = 0;
    for (size_t i = 0; i < 3; i++) {
        double ts = json_object_get_double(json_object_array_get_idx(samples, i));
        assert_true(ts > 0);
        n_below += ts <= median + 1e-3;
        n_above += ts >= median - 1e-3;
    }
    assert_true(n_below >= 2 && n_above >= 2);
    /* One reading before each repetition and one at the end; the row has their middle. */
    struct json_object *readings = json_member(row, "samples_read_bytes_per_s");
    assert_int_equal(json_object_array_length(readings), 4);
    double read = json_number(row, "read_bytes_per_s");
    n_below = n_above = 0;
    for (size_t i = 0; i < 4; i++) {
        double reading = json_object_get_double(json_object_array_get_idx(readings, i));
        assert_true(reading > 0);
        n_below += reading <= read + 1;
        n_above += reading >= read - 1;
    }
    assert_true(n_below >= 2 && n_above >= 2);
    if (n_prompt > 0) {
        assert_null(json_member(row, "read_fraction"));
        return;
    }
    double expected = json_number(row, "bytes_per_token") * median / read;
    assert_true(fabs(json_number(row, "read_fraction") - expected) <= 1e-3 * expected);
}

static void rows_are_what_scripts_expect(void **state) {
    (void)state;
    struct process_result result;
    const char *argv[] = {shoal_program(), "bench",     "model", "-p",  "8",  "-n",     "2",
                          "-pg",           "6,2",       "-d",    "0,5", "-r", "3",      "-np",
                          "1,2",           "--kernels", "ref",   "-t",  "2",  "--json", NULL};
    process_run(argv, NULL, 120, &result);
    if (result.exit_code != 0)
        fail_msg("%s", text_str(&result.err));
    struct json_object *rows = NULL;
    struct error err;
    assert_int_equal(json_parse(text_span(&result.out), &rows, &err), OK);
    assert_int_equal(json_object_array_length(rows), 12);
    size_t i = 0;
    for (int n_seqs = 1; n_seqs <= 2; n_seqs++) {
        for (int depth = 0; depth <= 5; depth += 5) {
            char name[3][32];
            const char *suffix = depth ? " @ d5" : "";
            snprintf(name[0], sizeof name[0], "pp8%s", suffix);
            snprintf(name[1], sizeof name[1], "tg2%s", suffix);
            snprintf(name[2], sizeof name[2], "pp6+tg2%s", suffix);
            check_row(json_object_array_get_idx(rows, i++), name[0], 8, 0, depth, n_seqs);
            check_row(json_object_array_get_idx(rows, i++), name[1], 0, 2, depth, n_seqs);
            check_row(json_object_array_get_idx(rows, i++), name[2], 6, 2, depth, n_seqs);
        }
    }
    /* One token of one sequence reads every weight but those of unchosen experts and of the
     * embedding; two sequences share what both read. */
    double one = json_number(json_object_array_get_idx(rows, 1), "bytes_per_token");
    double two = json_number(json_object_array_get_idx(rows, 7), "bytes_per_token");
    assert_true(one > 1e6 && one < 18e6);
    assert_true(two < one && two > one / 2);
    json_object_put(rows);
    process_result_free(&result);
}

static void what_cannot_be_measured_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *option, *value, *says;
        int exit_code;
    } cases[] = {
        {"-p", "8,x", "--n-prompt", 2},
        {"-np", "0", "at least 1 sequence", 2},
        {"-pg", "8", "two counts", 2},
        {"-p", "40000", "at most 32768", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct process_result result;
        const char *argv[] = {shoal_program(), "bench", "model", cases[i].option,
                              cases[i].value,  "-r",    "1",     NULL};
        process_run(argv, NULL, 60, &result);
        if (result.exit_code != cases[i].exit_code || !strstr(text_str(&result.err), cases[i].says))
            fail_msg("%s %s: exit %d: %s", cases[i].option, cases[i].value, result.exit_code,
                     text_str(&result.err));
        process_result_free(&result);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_what_scripts_expect),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
