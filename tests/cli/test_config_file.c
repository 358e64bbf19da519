/* SPDX-License-Identifier: Apache-2.0 */
/* The INI reader alone, and the rules that turn its entries into option values. */
#include "base/rng.h"
#include "cli/config_file.h"
#include "support_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *lookup(void *user, const char *name) {
    (void)user;
    return strcmp(name, "PLACE") == 0 ? "/models" : NULL;
}

static enum status parse(const char *text, size_t len, struct arena *arena,
                         struct config_entry **entries, struct error *err) {
    struct config_source source = {.path = "x.ini", .lookup = lookup};
    return config_parse(&source, span_make(text, len), arena, entries, err);
}

static void reads_sections_keys_and_values(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbf# comment\r\n; another\n\n top = level \n"
                               "[default]\r\nmodel = ${PLACE}/a=b.gguf\r\n"
                               "[model \"My Model\"]\n  temp=0.5\nempty =\n"
                               "[run]\nsystem-prompt = a; b # c  \xc3\xa4";
    static const struct {
        const char *section, *name, *key, *value;
        uint32_t line;
    } expected[] = {
        {"", NULL, "top", "level", 4},
        {"default", NULL, "model", "/models/a=b.gguf", 6},
        {"model", "My Model", "temp", "0.5", 8},
        {"model", "My Model", "empty", "", 9},
        {"run", NULL, "system-prompt", "a; b # c  \xc3\xa4", 11},
    };
    struct arena arena = {0};
    struct config_entry *entry;
    struct error err;
    assert_int_equal(parse(text, sizeof text - 1, &arena, &entry, &err), OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++, entry = entry->next) {
        assert_non_null(entry);
        assert_string_equal(entry->section, expected[i].section);
        assert_string_equal(entry->key, expected[i].key);
        assert_string_equal(entry->value, expected[i].value);
        assert_int_equal(entry->line, expected[i].line);
        if (expected[i].name)
            assert_string_equal(entry->name, expected[i].name);
        else
            assert_null(entry->name);
    }
    assert_null(entry);
    arena_free(&arena);
}

static void broken_lines_name_file_and_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[run", "x.ini:1: section without ']'"},
        {"\n[]", "x.ini:2: empty section name"},
        {"[ \"x\" ]", "x.ini:1: empty section name"},
        {"[model \"x]", "x.ini:1: section name without closing quote"},
        {"[run]\nhello\n", "x.ini:2: neither a section nor 'key = value'"},
        {"= 4", "x.ini:1: no key before '='"},
        {"a = ${NOPE}", "x.ini:1: environment variable 'NOPE' is not set"},
        {"a = ${NOPE", "x.ini:1: '${' without '}'"},
        {"a = \xff", "x.ini:1: not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena = {0};
        struct config_entry *entries;
        struct error err;
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &arena, &entries, &err),
                         ERR_INPUT);
        assert_string_equal(err.text, cases[i].message);
        arena_free(&arena);
    }
}

static void zero_bytes_and_giants_are_refused(void **state) {
    (void)state;
    struct arena arena = {0};
    struct config_entry *entries;
    struct error err;
    assert_int_equal(parse("a = b\0c", 7, &arena, &entries, &err), ERR_INPUT);
    assert_string_equal(err.text, "x.ini:1: a zero byte");
    char *giant = calloc(1, CONFIG_FILE_BYTES_MAX + 1);
    assert_int_equal(parse(giant, CONFIG_FILE_BYTES_MAX + 1, &arena, &entries, &err), ERR_LIMIT);
    free(giant);
    assert_int_equal(parse("", 0, &arena, &entries, &err), OK);
    assert_null(entries);
    arena_free(&arena);
}

/* Any bytes: entries or an error that names the file, never more. */
static void damaged_files_are_read_or_refused(void **state) {
    (void)state;
    static const char seed_text[] = "# comment\n[default]\nmodel = ${PLACE}/a.gguf\n"
                                    "[model \"big\"]\ntemp = 0.5\n[run]\nlogit-bias = 5+1\n";
    enum { N_BYTES = sizeof seed_text - 1, N_MUTANTS = 20000 };
    for (uint64_t i = 0; i < N_MUTANTS; i++) {
        char text[N_BYTES];
        memcpy(text, seed_text, N_BYTES);
        for (uint64_t k = 0; k < 1 + i % 4; k++)
            text[rng_u64(i, 2 * k) % N_BYTES] = "[]\"${}=\n\0x\xff"[rng_u64(i, 2 * k + 1) % 11];
        struct arena arena = {0};
        struct config_entry *entries;
        struct error err;
        if (parse(text, (size_t)(rng_u64(i, 9) % (N_BYTES + 1)), &arena, &entries, &err) != OK)
            assert_true(strncmp(err.text, "x.ini:", 6) == 0);
        arena_free(&arena);
    }
}

/* Reads `text` as the only config file of `command`. */
static enum status read_with(struct support_options *s, const char *text, const char *command) {
    char path[] = "/tmp/shoal-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    support_write_file(path, text);
    char line[256];
    snprintf(line, sizeof line, "%s --config %s", command, path);
    enum status status = support_read(s, line, NULL);
    unlink(path);
    return status;
}

static void sections_apply_to_their_command_and_model(void **state) {
    (void)state;
    static const char text[] = "[model \"big\"]\ntemp = 0.1\n[model \"other\"]\ntemp = 0.9\n"
                               "[run]\ntemp = 0.2\ntop-k = 5\nlogit-bias = 1+1\nlogit-bias = 2+2\n"
                               "[default]\ntemp = 0.3\nmodel = /models/big.gguf\nlayers = 3\n"
                               "[score]\ntop = 4\n";
    struct support_options s;
    assert_int_equal(read_with(&s, text, "run"), OK);
    assert_true(options_double(&s.options, OPT_TEMP) == 0.1);
    assert_int_equal(options_int(&s.options, OPT_TOP_K), 5);
    assert_int_equal(options_n_items(&s.options, OPT_LOGIT_BIAS), 2);
    support_free(&s);
    assert_int_equal(read_with(&s, text, "run small.gguf"), OK);
    assert_true(options_double(&s.options, OPT_TEMP) == 0.2);
    assert_string_equal(options_string(&s.options, OPT_MODEL), "small.gguf");
    support_free(&s);
    assert_int_equal(read_with(&s, text, "score"), OK);
    assert_int_equal(options_int(&s.options, OPT_TOP), 4);
    support_free(&s);
}

static void everything_in_the_file_is_checked(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[default]\nctx-sice = 4\n", ":2: unknown key 'ctx-sice'"},
        {"[serve]\nhost = x\n", ":2: unknown section 'serve'"},
        {"[score]\ntop = many\n", ":2: top: 'many' is not a whole number"},
        {"[score]\ntemp = 1\n", ":2: unknown key 'temp'"},
        {"[run]\ntemp = 3\n", ":2: temp: 3 is out of range"},
        {"[default]\nno-history = on\n", ":2: unknown key 'no-history'"},
        {"[default]\nhelp = on\n", ":2: 'help' belongs on the command line"},
        {"[default]\nconfig = x\n", ":2: 'config' belongs on the command line"},
        {"[model \"x\"]\nfoo = 1\n", ":2: unknown key 'foo'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct support_options s;
        assert_int_equal(read_with(&s, cases[i].text, "run"), ERR_INPUT);
        assert_int_equal(s.phase, PHASE_CONFIG);
        if (!strstr(s.err.text, cases[i].message))
            fail_msg("'%s', expected '%s'", s.err.text, cases[i].message);
        support_free(&s);
    }
}

static void a_named_file_must_exist_but_help_works_without(void **state) {
    (void)state;
    struct support_options s;
    assert_int_equal(support_read(&s, "run --config /nonexistent/x.ini", NULL), ERR_IO);
    assert_int_equal(s.phase, PHASE_CONFIG);
    support_free(&s);
    assert_int_equal(support_read(&s, "run --help", "SHOAL_CONFIG=/nonexistent/x.ini"), OK);
    support_free(&s);
}

static void users_file_is_found_under_xdg_config_home(void **state) {
    (void)state;
    char base[] = "/tmp/shoal-test-XXXXXX", folder[64], path[128], environment[64];
    assert_non_null(mkdtemp(base));
    snprintf(folder, sizeof folder, "%s/shoal", base);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/shoal.ini", folder);
    support_write_file(path, "[run]\ntop-k = 3\n");
    snprintf(environment, sizeof environment, "XDG_CONFIG_HOME=%s", base);
    struct support_options s;
    assert_int_equal(support_read(&s, "run", environment), OK);
    assert_int_equal(options_int(&s.options, OPT_TOP_K), 3);
    support_free(&s);
    unlink(path);
    rmdir(folder);
    rmdir(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_sections_keys_and_values),
        cmocka_unit_test(broken_lines_name_file_and_line),
        cmocka_unit_test(zero_bytes_and_giants_are_refused),
        cmocka_unit_test(damaged_files_are_read_or_refused),
        cmocka_unit_test(sections_apply_to_their_command_and_model),
        cmocka_unit_test(everything_in_the_file_is_checked),
        cmocka_unit_test(a_named_file_must_exist_but_help_works_without),
        cmocka_unit_test(users_file_is_found_under_xdg_config_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
