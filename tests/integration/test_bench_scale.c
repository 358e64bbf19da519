/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench scale` with one and two workers: the shape of its rows and their arithmetic, never
 * how fast anything was; the drawing; what it refuses; that what was measured is not lost. */
#include "tests/integration/support_process.h"
#include "tests/support/json_member.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define N_ARGS_MAX 40

/* bench scale with these arguments, NULL at the end. */
static void run_scale(struct process_result *result, ...) {
    const char *argv[N_ARGS_MAX] = {shoal_program(), "bench", "scale"};
    size_t n = 3;
    va_list list;
    va_start(list, result);
    while ((argv[n] = va_arg(list, const char *)))
        assert_true(++n < N_ARGS_MAX);
    va_end(list);
    process_run(argv, NULL, 240, result);
}

static void skip_without_workers(void) {
    char worker[4096];
    const char *program = shoal_program();
    snprintf(worker, sizeof worker, "%s-worker", program);
    const char *argv[] = {"mpirun", "--version", NULL};
    struct process_result result;
    process_run(argv, NULL, 60, &result);
    bool has_mpirun = result.exit_code == 0;
    process_result_free(&result);
    if (has_mpirun && access(worker, X_OK) == 0)
        return;
    print_message("skipped: Open MPI is not here, groups of workers were not measured\n");
    skip();
}

static struct json_object *rows_of(const struct process_result *result) {
    struct json_object *rows = NULL;
    struct error err;
    if (result->exit_code != 0)
        fail_msg("exit %d: %s", result->exit_code, text_str(&result->err));
    assert_int_equal(json_parse(text_span(&result->out), &rows, &err), OK);
    return rows;
}

static void check_shares(struct json_object *row) {
    static const char *const names[] = {"compute_share", "sum_share",    "dispatch_share",
                                        "combine_share", "logits_share", "wait_share",
                                        "host_share"};
    double sum = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        double share = json_number(row, names[i]);
        assert_true(share >= 0 && share <= 1);
        sum += share;
    }
    assert_true(fabs(sum - 1) < 1e-9);
    assert_true(json_number(row, "compute_share") > 0);
    if (json_number(row, "workers") == 1)
        assert_int_equal(json_number(row, "wait_share"), 0);
    else
        assert_true(json_number(row, "wait_share") + json_number(row, "sum_share") > 0);
}

static void check_row(struct json_object *row, int n_rounds) {
    double workers = json_number(row, "workers"), ts = json_number(row, "median_ts");
    assert_int_equal(json_object_array_length(json_member(row, "samples_ts")), n_rounds);
    assert_int_equal(json_number(row, "threads"), 1);
    assert_true(ts > 0);
    assert_true(fabs(json_number(row, "efficiency") - json_number(row, "speedup") / workers) <
                1e-12);
    if (workers == 1)
        assert_true(json_number(row, "speedup") == 1);
    double load = json_number(row, "expert_load");
    assert_true(load >= 1 && load <= workers);
    assert_true(json_number(row, "bytes_per_token") > 0);
    assert_true(json_number(row, "read_bytes_per_s") > 0);
    check_shares(row);
    if (json_number(row, "n_prompt") > 0) {
        assert_null(json_member(row, "predicted_ts"));
        assert_null(json_member(row, "prediction_error"));
        return;
    }
    double error = json_number(row, "predicted_ts") / ts - 1;
    assert_true(fabs(json_number(row, "prediction_error") - error) < 1e-9);
}

/* The same tests on one and two workers: strong with one and three sequences, weak with one each.
 */
static void rows_are_what_scripts_expect(void **state) {
    (void)state;
    static const struct {
        const char *scaling, *test;
        int n_seqs, workers;
    } expected[] = {
        {"strong", "pp8", 1, 1}, {"strong", "pp8", 1, 2}, {"strong", "tg2", 1, 1},
        {"strong", "tg2", 1, 2}, {"strong", "pp8", 3, 1}, {"strong", "pp8", 3, 2},
        {"strong", "tg2", 3, 1}, {"strong", "tg2", 3, 2}, {"weak", "pp8", 1, 1},
        {"weak", "pp8", 2, 2},   {"weak", "tg2", 1, 1},   {"weak", "tg2", 2, 2},
    };
    size_t n = sizeof expected / sizeof expected[0];
    struct process_result result;
    skip_without_workers();
    run_scale(&result, "--workers", "2", "-t", "1", "-p", "8", "-n", "2", "-np", "1,3", "-r", "2",
              "-q", "--json", NULL);
    struct json_object *rows = rows_of(&result);
    assert_int_equal(json_object_array_length(rows), n);
    for (size_t i = 0; i < n; i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        assert_string_equal(json_object_get_string(json_member(row, "scaling")),
                            expected[i].scaling);
        assert_string_equal(json_object_get_string(json_member(row, "test")), expected[i].test);
        assert_int_equal(json_number(row, "n_seqs"), expected[i].n_seqs);
        assert_int_equal(json_number(row, "workers"), expected[i].workers);
        check_row(row, 2);
    }
    /* What is read does not depend on who reads it, but for what all ranks hold: norms, routers,
     * keys and values that two ranks share. */
    double one = json_number(json_object_array_get_idx(rows, 2), "bytes_per_token");
    double two = json_number(json_object_array_get_idx(rows, 3), "bytes_per_token");
    assert_true(two >= one && two < 1.5 * one);
    assert_string_equal(text_str(&result.err), "");
    json_object_put(rows);
    process_result_free(&result);
}

/* Whether some parser of the machine takes the file; true where there is none. */
static bool parses(const char *path) {
    const char *python[] = {"python3", "-c",
                            "import sys, xml.dom.minidom as x; x.parse(sys.argv[1])", path, NULL};
    const char *xmllint[] = {"xmllint", "--noout", path, NULL};
    const char *const *tools[] = {python, xmllint};
    bool good = true;
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
        struct process_result result;
        process_run(tools[i], NULL, 60, &result);
        if (result.exit_code == 127)
            print_message("skipped: no %s here, it did not read the drawing\n", tools[i][0]);
        else
            good = good && result.exit_code == 0;
        process_result_free(&result);
    }
    return good;
}

/* Three workers on two nodes that are pretended, two sizes that are no powers of two. */
static void csv_and_drawing_are_well_formed(void **state) {
    (void)state;
    struct process_result result;
    char folder[64], plot[96];
    skip_without_workers();
    test_directory(folder);
    snprintf(plot, sizeof plot, "%s/a & b.svg", folder);
    run_scale(&result, "--workers=3", "--nodes=2", "-t1", "-p0", "-n2", "-np", "1", "-r1", "--weak",
              "--ep-exchange=alltoall", "--csv", "--plot", plot, NULL);
    if (result.exit_code != 0)
        fail_msg("exit %d: %s", result.exit_code, text_str(&result.err));
    const char *line = text_str(&result.out);
    static const char header[] = "host,cpu_info,model_path,model_type,model_size,kernels,threads,"
                                 "scaling,test,";
    assert_memory_equal(line, header, strlen(header));
    int n_lines = 0;
    for (const char *at = line; (at = strstr(at, "\r\n")); at += 2)
        n_lines++;
    assert_int_equal(n_lines, 4); /* header; 1, 2, 3 workers */
    /* An array is one field: quotes around it where it has commas, none where it has one item. */
    assert_non_null(strstr(line, ",weak,tg2,0,2,0,3,3,2,,alltoall,["));
    assert_true(parses(plot));
    assert_non_null(strstr(text_str(&result.err), "Groups: 100 %, 3/3"));
    process_result_free(&result);
    test_directory_remove(folder);
}

static void what_cannot_be_measured_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *args[4], *says;
    } cases[] = {
        {{"--workers", "1", NULL}, "--workers 2, or more"},
        {{"--workers=2", "-np", "0", NULL}, "--parallel"},
        {{"--workers=2", "-b", "8,16", NULL}, "one, not a list"},
        {{"--workers=2", "--plot", "/nowhere/at/all.svg", NULL}, "/nowhere/at/all.svg"},
        {{"--workers=2", "--hostfile", "/dev/null", NULL}, "needs --threads"},
        {{"--workers=2", "--scaling", "none", NULL}, "scaling"},
        {{"--workers=2", "--launcher", "none", NULL}, "bench model --workers 2 --launcher none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct process_result result;
        const char *const *a = cases[i].args;
        run_scale(&result, a[0], a[1], a[1] ? a[2] : NULL, NULL);
        if (result.exit_code != 2 || !strstr(text_str(&result.err), cases[i].says))
            fail_msg("%s: exit %d: %s", a[0], result.exit_code, text_str(&result.err));
        assert_string_equal(text_str(&result.out), "");
        process_result_free(&result);
    }
}

/* The group of two cannot start: one line says why, and the row of one worker is there. */
static void what_was_measured_before_an_error_is_shown(void **state) {
    (void)state;
    struct process_result result;
    skip_without_workers();
    run_scale(&result, "--workers=2", "-t1", "-p0", "-n2", "-np", "1", "-r1", "-q", "--strong",
              "--fault=load:1:error", "--json", NULL);
    assert_int_equal(result.exit_code, 6);
    const char *first = strstr(text_str(&result.err), "error: ");
    assert_non_null(first);
    assert_null(strstr(first + 1, "error: "));
    assert_non_null(strstr(first, "an error on purpose at rank 1"));
    result.exit_code = 0;
    struct json_object *rows = rows_of(&result);
    assert_int_equal(json_object_array_length(rows), 1);
    assert_int_equal(json_number(json_object_array_get_idx(rows, 0), "workers"), 1);
    json_object_put(rows);
    process_result_free(&result);

    run_scale(&result, "--workers=2", "-m", "/nowhere.gguf", NULL);
    assert_int_equal(result.exit_code, 4);
    assert_non_null(strstr(text_str(&result.err), "/nowhere.gguf"));
    assert_string_equal(text_str(&result.out), "");
    process_result_free(&result);
}

/* Open MPI keeps memory until it ends, which is not ours to report. */
static int quiet_sanitizer(void **state) {
    (void)state;
    return setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_what_scripts_expect),
        cmocka_unit_test(csv_and_drawing_are_well_formed),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
        cmocka_unit_test(what_was_measured_before_an_error_is_shown),
    };
    return cmocka_run_group_tests(tests, quiet_sanitizer, NULL);
}
