/* SPDX-License-Identifier: Apache-2.0 */
/* bench/compare.sh with two programs that only pretend: each prints the next of its speeds, so that
 * the turns, the medians and the shares can be checked by hand. */
#include "tests/integration/support_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SCRIPT SOURCE_DIR "/bench/compare.sh"

struct folder {
    char path[64];
    char ours[96], peer[96], log[96], model[96];
};

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

/* A program that notes its name and arguments in the log and prints one row. Its n-th run has the
 * n-th of `speeds`; a speed of "fail" ends with 1. */
static void write_fake(const struct folder *f, const char *path, const char *speeds,
                       const char *row) {
    char script[1024];
    snprintf(script, sizeof script,
             "#!/bin/sh\n"
             "echo \"${0##*/} $*\" >>%s\n"
             "set -- %s\n"
             "shift $(($(grep -c \"^${0##*/} \" %s) - 1))\n"
             "[ \"$1\" != fail ] || { echo no such model >&2; exit 1; }\n"
             "cat <<END\n%s\nEND\n",
             f->log, speeds, f->log, row);
    write_file(path, script);
}

static int setup(void **state) {
    static struct folder f;
    test_directory(f.path);
    snprintf(f.ours, sizeof f.ours, "%s/ours", f.path);
    snprintf(f.peer, sizeof f.peer, "%s/peer", f.path);
    snprintf(f.log, sizeof f.log, "%s/log", f.path);
    snprintf(f.model, sizeof f.model, "%s/a.gguf", f.path);
    write_file(f.model, "");
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    const struct folder *f = *state;
    test_directory_remove(f->path);
    return 0;
}

static const char our_row[] =
    "[{\"test\":\"tg64\",\"n_prompt\":0,\"n_gen\":64,\"avg_ts\":$1.0,"
    "\"bytes_per_token\":1e8,\"samples_ts\":[$1],\"read_bytes_per_s\":10000000000}]";
static const char peer_row[] = "[\n {\n  \"n_prompt\": 0,\n  \"n_gen\": 64,\n  \"avg_ts\": $1.2,\n"
                               "  \"samples_ts\": [ $1.2 ]\n }\n]";

static void compare(const struct folder *f, struct process_result *result) {
    const char *argv[] = {"/bin/sh", SCRIPT,     "--peer", f->peer,     "--shoal",
                          f->ours,   "--rounds", "3",      "--threads", "2",
                          f->model,  "--",       "-fa",    "1",         NULL};
    process_run(argv, NULL, 60, result);
}

static void expect_contains(const struct text *text, const char *part) {
    if (!strstr(text_str(text), part))
        fail_msg("no '%s' in: %s", part, text_str(text));
}

static void rounds_alternate_and_their_medians_are_shown(void **state) {
    const struct folder *f = *state;
    write_fake(f, f->ours, "30 60 45", our_row);
    write_fake(f, f->peer, "19 79 29", peer_row);
    struct process_result result;
    compare(f, &result);
    assert_int_equal(result.exit_code, 0);
    /* Ratios 30/19.2 = 1.56, 60/79.2 = 0.76, 45/29.2 = 1.54; shares 45 x 0.1 GB of 10 GB/s. */
    expect_contains(&result.out, "\n| a.gguf | 2 | tg64 | 45.00 | 29.20 | 1.54 (0.76 to 1.56) | "
                                 "10.0 | 100.0 | 0.45 | 0.29 |\n");
    process_result_free(&result);

    char line[512];
    static const char *const order[] = {"ours", "peer", "peer", "ours", "ours", "peer"};
    FILE *log = fopen(f->log, "r");
    assert_non_null(log);
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        assert_non_null(fgets(line, sizeof line, log));
        assert_memory_equal(line, order[i], 4);
        assert_true((strstr(line, "-fa 1") != NULL) == (strcmp(order[i], "peer") == 0));
        assert_non_null(strstr(line, f->model));
        assert_non_null(strstr(line, "-t 2"));
    }
    assert_null(fgets(line, sizeof line, log));
    fclose(log);
}

static void a_failing_run_is_named_and_earlier_rounds_are_kept(void **state) {
    const struct folder *f = *state;
    write_fake(f, f->ours, "30 60 45", our_row);
    write_fake(f, f->peer, "20 fail", peer_row);
    struct process_result result;
    compare(f, &result);
    assert_int_equal(result.exit_code, 1);
    expect_contains(&result.err, "no such model");
    expect_contains(&result.err, f->peer);
    expect_contains(&result.out, "| a.gguf | 2 | tg64 | 30.00 | 20.20 | 1.49 (1.49 to 1.49) |");
    process_result_free(&result);
}

static void what_cannot_be_compared_is_refused(void **state) {
    const struct folder *f = *state;
    const char *const cases[][5] = {
        {"--peer is missing", f->model},
        {"no model file", "--peer", "/bin/true"},
        {"not a program", "--peer", "/nonexistent", f->model},
        {"no such file", "--peer", "/bin/true", "/nonexistent"},
        {"needs a value", f->model, "--peer"},
        {"unknown option", "--pear", "x"},
        {"write a blank", "--peer=/bin/true", f->model},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *argv[7] = {"/bin/sh", SCRIPT};
        for (size_t j = 1; j < 5 && cases[i][j]; j++)
            argv[j + 1] = cases[i][j];
        struct process_result result;
        process_run(argv, NULL, 60, &result);
        assert_int_equal(result.exit_code, 2);
        expect_contains(&result.err, cases[i][0]);
        process_result_free(&result);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rounds_alternate_and_their_medians_are_shown, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failing_run_is_named_and_earlier_rounds_are_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_compared_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
