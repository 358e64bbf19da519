/* SPDX-License-Identifier: Apache-2.0 */
/* The manners of the command line, and which source wins. */
#include "cli/command.h"
#include "cli/options.h"
#include "support_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void reads_long_and_short_spellings_alike(void **state) {
    (void)state;
    static const char *const lines[] = {
        "run --threads 4 --ctx-size 8192",
        "run --threads=4 --ctx-size=8192",
        "run -t 4 -c 8192",
        "run -t4 -c8192",
        "run -t=4 --max-model-len 8k",
        "run -c 8KiB x -t 4",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct support_options s;
        assert_int_equal(support_read(&s, lines[i], NULL), OK);
        assert_int_equal(options_int(&s.options, OPT_THREADS), 4);
        assert_int_equal(options_int(&s.options, OPT_CTX_SIZE), 8192);
        support_free(&s);
    }
}

static void short_options_of_several_letters_win_over_groups(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "run -np 3 -n 7 -ub 64 -ctk f16 -sys hello -vq", NULL), OK);
    assert_int_equal(options_int(&s.options, OPT_PARALLEL), 3);
    assert_int_equal(options_int(&s.options, OPT_PREDICT), 7);
    assert_int_equal(options_int(&s.options, OPT_UBATCH_SIZE), 64);
    assert_string_equal(options_string(&s.options, OPT_KV_CACHE_DTYPE), "f16");
    assert_string_equal(options_string(&s.options, OPT_SYSTEM_PROMPT), "hello");
    assert_true(options_flag(&s.options, OPT_VERBOSE));
    assert_true(options_flag(&s.options, OPT_QUIET));
    support_free(&s);
}

static void same_letter_means_what_the_command_says(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "bench model -p 512,1024 -n 1-4 -b 64-256*2", NULL), OK);
    assert_string_equal(options_string(&s.options, OPT_BENCH_PROMPT), "512,1024");
    assert_string_equal(options_string(&s.options, OPT_BENCH_GEN), "1-4");
    assert_string_equal(options_string(&s.options, OPT_BENCH_BATCH), "64-256*2");
    assert_int_equal(s.options.n_operands, 1);
    support_free(&s);
    assert_int_equal(support_read(&s, "score -n 5", NULL), OK);
    assert_int_equal(options_int(&s.options, OPT_SCORE_PREDICT), 5);
    support_free(&s);
}

static void operands_mix_with_options_and_double_dash_ends_them(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "run m.gguf -t 2 hello -- -t --x", NULL), OK);
    assert_string_equal(options_string(&s.options, OPT_MODEL), "m.gguf");
    assert_int_equal(s.options.n_operands, 3);
    assert_string_equal(s.options.operands[0], "hello");
    assert_string_equal(s.options.operands[1], "-t");
    assert_string_equal(s.options.operands[2], "--x");
    support_free(&s);
    assert_int_equal(support_read(&s, "run -m other.gguf -f - first", NULL), OK);
    assert_string_equal(options_string(&s.options, OPT_MODEL), "other.gguf");
    assert_string_equal(options_string(&s.options, OPT_FILE), "-");
    assert_string_equal(s.options.operands[0], "first");
    support_free(&s);
}

static void every_flag_has_a_no_form(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "run", NULL), OK);
    assert_true(options_flag(&s.options, OPT_HISTORY));
    support_free(&s);
    assert_int_equal(support_read(&s, "run --no-history --verbose=off", NULL), OK);
    assert_false(options_flag(&s.options, OPT_HISTORY));
    assert_false(options_flag(&s.options, OPT_VERBOSE));
    support_free(&s);
}

static void repeated_options_collect_and_others_keep_the_last(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "run --logit-bias 5+1 --temp 0.5 --logit-bias=6-2 --temp 1",
                                  "SHOAL_LOGIT_BIAS=9+9"),
                     OK);
    assert_int_equal(options_n_items(&s.options, OPT_LOGIT_BIAS), 2);
    assert_string_equal(options_item(&s.options, OPT_LOGIT_BIAS, 1), "6-2");
    assert_true(options_double(&s.options, OPT_TEMP) == 1.0);
    assert_int_equal(options_n_items(&s.options, OPT_TEMP), 1);
    support_free(&s);
}

static void a_value_that_may_lack_is_taken_only_if_it_is_a_pattern(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "inspect --tensors m.gguf", NULL), OK);
    assert_string_equal(options_string(&s.options, OPT_TENSORS), "");
    assert_string_equal(options_string(&s.options, OPT_MODEL), "m.gguf");
    support_free(&s);
    assert_int_equal(support_read(&s, "inspect m.gguf --tensors blk.*", NULL), OK);
    assert_string_equal(options_string(&s.options, OPT_TENSORS), "blk.*");
    support_free(&s);
    assert_int_equal(support_read(&s, "inspect m.gguf --tensors=output.weight", NULL), OK);
    assert_string_equal(options_string(&s.options, OPT_TENSORS), "output.weight");
    support_free(&s);
}

static void short_for_output_formats_write_the_output_option(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "inspect --json", NULL), OK);
    assert_string_equal(options_string(&s.options, OPT_OUTPUT), "json");
    support_free(&s);
}

static void sizes_have_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {
        {"2097152", 2097152}, {"2m", 2 << 20},       {"2M", 2 << 20},
        {"2MiB", 2 << 20},    {"2MB", 2000000},      {"1.5GB", 1500000000},
        {"4g", 4ll << 30},    {"2.5Gi", 2684354560}, {"1TiB", 1ll << 40},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct support_options s;
        char line[64];
        snprintf(line, sizeof line, "synth x --split-max-size %s", cases[i].text);
        assert_int_equal(support_read(&s, line, NULL), OK);
        assert_int_equal(options_int(&s.options, OPT_SPLIT_MAX_SIZE), cases[i].bytes);
        support_free(&s);
    }
}

/* The message of a command line that is wrong. */
static void expect_error(const char *line, const char *environment, enum options_phase phase,
                         const char *message) {
    struct support_options s;
    enum status status = support_read(&s, line, environment);
    if (status == OK || !strstr(s.err.text, message))
        fail_msg("'%s': status %d, text '%s', expected '%s'", line, status, s.err.text, message);
    assert_int_equal(s.phase, phase);
    support_free(&s);
}

static void wrong_lines_say_what_was_found_and_what_is_allowed(void **state) {
    (void)state;
    expect_error("run --temp 9", NULL, PHASE_LINE, "--temp: 9 is out of range, allowed are 0 to 2");
    expect_error("run --temp nan", NULL, PHASE_LINE, "--temp: 'nan' is not a number");
    expect_error("run -t 4x", NULL, PHASE_LINE, "-t: '4x' is not a whole number");
    expect_error("run -t 99999999999999999999", NULL, PHASE_LINE, "out of range");
    expect_error("run -c 8q", NULL, PHASE_LINE, "-c: '8q' is not a size");
    expect_error("run -c 1kk", NULL, PHASE_LINE, "not a size");
    expect_error("run --kernels sse", NULL, PHASE_LINE, "'sse' is not one of auto|ref|avx2|avx512");
    expect_error("run --history=maybe", NULL, PHASE_LINE, "'maybe' is not on or off");
    expect_error("run --no-history=on", NULL, PHASE_LINE, "takes no value");
    expect_error("inspect --json=on", NULL, PHASE_LINE, "--json takes no value");
    expect_error("inspect --no-json", NULL, PHASE_LINE, "unknown option");
    expect_error("run -p", NULL, PHASE_LINE, "-p needs a value: TEXT");
    expect_error("run --prompt", NULL, PHASE_LINE, "--prompt needs a value: TEXT");
    expect_error("run -vz", NULL, PHASE_LINE, "unknown option '-vz'");
    expect_error("run", "SHOAL_TEMP=hot", PHASE_ENVIRONMENT,
                 "environment SHOAL_TEMP: 'hot' is not a number");
}

static void unknown_words_name_the_nearest(void **state) {
    (void)state;
    expect_error("run --tpo-k 3", NULL, PHASE_LINE, "did you mean '--top-k'?");
    expect_error("run --ctxsize 3", NULL, PHASE_LINE, "did you mean '--ctx-size'?");
    expect_error("run --temprature 1", NULL, PHASE_LINE, "did you mean '--temperature'?");
    expect_error("run --zzzzzz", NULL, PHASE_LINE, "unknown option '--zzzzzz'");
    expect_error("inspcet", NULL, PHASE_LINE, "unknown command 'inspcet', did you mean 'inspect'?");
    expect_error("qqq", NULL, PHASE_LINE, "unknown command 'qqq', see shoal help");
    expect_error("--threads 3 run", NULL, PHASE_LINE, "must stand behind the command");
}

static void origins_rank_line_environment_config_model_default(void **state) {
    (void)state;
    char path[] = "/tmp/shoal-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    support_write_file(path, "[run]\ntop-k = 11\ntop-p = 0.5\nmin-p = 0.1\ntemp = 0.3\n"
                             "[default]\ntop-k = 10\nthreads = 3\n");
    char line[256];
    snprintf(line, sizeof line, "run --config %s --temp 0.7", path);
    struct support_options s;
    struct error err;
    assert_int_equal(support_read(&s, line, "SHOAL_MIN_P=0.2 SHOAL_TEMP=0.9 SHOAL_TOP_P="), OK);
    assert_int_equal(options_offer(&s.options, OPT_TEMP, "0.6", &err), OK);
    assert_int_equal(options_offer(&s.options, OPT_TOP_K, "20", &err), OK);
    assert_int_equal(options_offer(&s.options, OPT_PRESENCE_PENALTY, "1.5", &err), OK);
    assert_int_equal(options_offer(&s.options, OPT_TEMP, "7", &err), ERR_INPUT);
    static const struct {
        enum option_id id;
        const char *value, *origin;
    } expected[] = {
        {OPT_TEMP, "0.7", "command line"},
        {OPT_MIN_P, "0.2", "environment SHOAL_MIN_P"},
        {OPT_TOP_K, "11", "%s:2"},
        {OPT_TOP_P, "0.5", "%s:3"},
        {OPT_THREADS, "3", "%s:8"},
        {OPT_PRESENCE_PENALTY, "1.5", "model file"},
        {OPT_FREQUENCY_PENALTY, "0.0", "default"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct text origin = {0}, wanted = {0};
        options_origin_text(&s.options, expected[i].id, &origin);
        if (strncmp(expected[i].origin, "%s", 2) == 0)
            text_printf(&wanted, "%s%s", path, expected[i].origin + 2);
        else
            text_add_str(&wanted, expected[i].origin);
        assert_string_equal(options_item(&s.options, expected[i].id, 0), expected[i].value);
        assert_string_equal(text_str(&origin), text_str(&wanted));
        text_free(&origin);
        text_free(&wanted);
    }
    support_free(&s);
    unlink(path);
}

static void auto_counts_as_unset(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "run -t auto -c 100", "SHOAL_THREADS=7"), OK);
    assert_false(options_is_set(&s.options, OPT_THREADS));
    assert_int_equal(options_int(&s.options, OPT_THREADS), 0);
    assert_true(options_is_set(&s.options, OPT_CTX_SIZE));
    assert_false(options_is_set(&s.options, OPT_TEMP));
    support_free(&s);
}

static void limits_on_operands_and_repetitions_hold(void **state) {
    (void)state;
    char *argv[OPTION_ITEMS_MAX * 2 + 8];
    int argc = 0;
    argv[argc++] = (char *)"shoal";
    argv[argc++] = (char *)"run";
    for (uint32_t i = 0; i <= OPTION_ITEMS_MAX; i++) {
        argv[argc++] = (char *)"--logit-bias";
        argv[argc++] = (char *)"1+1";
    }
    struct options options;
    struct error err;
    enum options_phase phase;
    const char *environment[] = {NULL};
    struct options_input input = {.argc = argc,
                                  .argv = argv,
                                  .environment = environment,
                                  .command_of = command_find,
                                  .command_unknown = command_unknown};
    assert_int_equal(options_read(&options, &input, &phase, &err), ERR_LIMIT);
    options_free(&options);
    input.argc = 2 + (int)OPTION_OPERANDS_MAX + 2;
    for (int i = 2; i < input.argc; i++)
        argv[i] = (char *)"word";
    assert_int_equal(options_read(&options, &input, &phase, &err), ERR_LIMIT);
    options_free(&options);
}

static void lists_and_ranges_give_all_their_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t numbers[8];
        uint32_t n;
    } good[] = {
        {"512", {512}, 1},
        {"128,256", {128, 256}, 2},
        {"1-4", {1, 2, 3, 4}, 4},
        {"1-9+2", {1, 3, 5, 7, 9}, 5},
        {"1-16*2,3", {1, 2, 4, 8, 16, 3}, 6},
        {"0", {0}, 1},
        {"1000-1000", {1000}, 1},
    };
    static const char *const bad[] = {"",
                                      "a",
                                      "1,",
                                      ",1",
                                      "1-",
                                      "4-1",
                                      "1-4*1",
                                      "0-4*2",
                                      "1-4+",
                                      "1-4+0",
                                      "1-4+2x",
                                      "1 2",
                                      "-1",
                                      "1001",
                                      "1--3",
                                      "1-2000",
                                      "9999999999999999999"};
    int64_t numbers[8];
    uint32_t n;
    struct error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(option_list_parse(good[i].text, 0, 1000, numbers, 8, &n, &err), OK);
        assert_int_equal(n, good[i].n);
        assert_memory_equal(numbers, good[i].numbers, n * sizeof numbers[0]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(option_list_parse(bad[i], 0, 1000, numbers, 8, &n, &err), ERR_INPUT);
    assert_int_equal(option_list_parse("1-9", 0, 1000, numbers, 8, &n, &err), ERR_LIMIT);
    assert_int_equal(option_list_parse("9223372036854775806-9223372036854775807", 0, INT64_MAX,
                                       numbers, 8, &n, &err),
                     OK);
    assert_int_equal(n, 2);
}

static void rows_of_one_command_never_share_a_name(void **state) {
    (void)state;
    for (enum option_id a = 0; a < OPT_N; a++) {
        for (enum option_id b = (enum option_id)(a + 1); b < OPT_N; b++) {
            const struct option *x = option_row(a), *y = option_row(b);
            if (!(x->commands & y->commands))
                continue;
            assert_string_not_equal(x->name, y->name);
            if (x->shorts && y->shorts)
                assert_string_not_equal(x->shorts, y->shorts);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_long_and_short_spellings_alike),
        cmocka_unit_test(short_options_of_several_letters_win_over_groups),
        cmocka_unit_test(same_letter_means_what_the_command_says),
        cmocka_unit_test(operands_mix_with_options_and_double_dash_ends_them),
        cmocka_unit_test(every_flag_has_a_no_form),
        cmocka_unit_test(repeated_options_collect_and_others_keep_the_last),
        cmocka_unit_test(a_value_that_may_lack_is_taken_only_if_it_is_a_pattern),
        cmocka_unit_test(short_for_output_formats_write_the_output_option),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(wrong_lines_say_what_was_found_and_what_is_allowed),
        cmocka_unit_test(unknown_words_name_the_nearest),
        cmocka_unit_test(origins_rank_line_environment_config_model_default),
        cmocka_unit_test(auto_counts_as_unset),
        cmocka_unit_test(limits_on_operands_and_repetitions_hold),
        cmocka_unit_test(lists_and_ranges_give_all_their_numbers),
        cmocka_unit_test(rows_of_one_command_never_share_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
