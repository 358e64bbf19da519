/* SPDX-License-Identifier: Apache-2.0 */
/* Help, man pages and completion of every command: complete, narrow enough, and without drift. */
#include "cli/command.h"
#include "cli/completion.h"
#include "cli/help.h"
#include "cli/manpage.h"
#include "cli/spelling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

struct written {
    FILE *to;
    char *bytes;
    size_t n;
};

static FILE *begin(struct written *w) {
    *w = (struct written){0};
    w->to = open_memstream(&w->bytes, &w->n);
    assert_non_null(w->to);
    return w->to;
}

static void end(struct written *w) {
    fclose(w->to);
    w->to = NULL;
}

static size_t longest_line(const char *text) {
    size_t longest = 0;
    while (*text) {
        size_t n = strcspn(text, "\n");
        longest = n > longest ? n : longest;
        text += n + (text[n] == '\n');
    }
    return longest;
}

static void no_help_line_is_wider_than_100_columns(void **state) {
    (void)state;
    struct written w;
    help_overview(begin(&w));
    end(&w);
    assert_true(longest_line(w.bytes) <= HELP_COLUMNS);
    free(w.bytes);
    for (enum command_id id = 0; id < CMD_N; id++) {
        help_command(begin(&w), id, true);
        end(&w);
        if (longest_line(w.bytes) > HELP_COLUMNS)
            fail_msg("help of %s", command_row(id)->name);
        free(w.bytes);
    }
}

static void each_option_stands_in_help_man_page_and_completion(void **state) {
    (void)state;
    struct written bash, zsh, fish;
    completion_bash(begin(&bash));
    completion_zsh(begin(&zsh));
    completion_fish(begin(&fish));
    end(&bash);
    end(&zsh);
    end(&fish);
    for (enum command_id command = 0; command < CMD_N; command++) {
        struct written help, man;
        help_command(begin(&help), command, true);
        manpage_command(begin(&man), command);
        end(&help);
        end(&man);
        for (enum option_id id = 0; id < OPT_N; id++) {
            if (!option_belongs(id, command))
                continue;
            const char *name = option_row(id)->name;
            if (option_row(id)->traits & OPTION_HIDDEN) {
                char spelled[40];
                snprintf(spelled, sizeof spelled, "--%s ", name);
                assert_null(strstr(help.bytes, spelled));
                continue;
            }
            assert_non_null(strstr(help.bytes, name));
            assert_non_null(strstr(bash.bytes, name));
            assert_non_null(strstr(zsh.bytes, name));
            assert_non_null(strstr(fish.bytes, name));
            char first[32]; /* hyphens are escaped in man pages */
            snprintf(first, sizeof first, "%.*s", (int)strcspn(name, "-"), name);
            assert_non_null(strstr(man.bytes, first));
        }
        free(help.bytes);
        free(man.bytes);
    }
    free(bash.bytes);
    free(zsh.bytes);
    free(fish.bytes);
}

static void rare_options_show_only_when_asked(void **state) {
    (void)state;
    struct written w;
    help_command(begin(&w), CMD_RUN, false);
    end(&w);
    assert_null(strstr(w.bytes, "--mpirun-args"));
    free(w.bytes);
    help_command(begin(&w), CMD_RUN, true);
    end(&w);
    assert_non_null(strstr(w.bytes, "--mpirun-args"));
    free(w.bytes);
}

static void every_row_is_complete(void **state) {
    (void)state;
    for (enum option_id id = 0; id < OPT_N; id++) {
        const struct option *row = option_row(id);
        assert_non_null(row->name);
        assert_non_null(row->help);
        assert_true(row->commands != 0);
        assert_true((row->kind == OPTION_FLAG) == (row->metavar == NULL));
        size_t n = strlen(row->help);
        assert_true(n > 0 && row->help[n - 1] != '.');
        assert_true(strlen(row->name) <= SPELLING_WORD_MAX);
    }
    for (enum command_id id = 0; id < CMD_N; id++) {
        const struct command *row = command_row(id);
        assert_true(row->name && row->operands && row->purpose && row->about && row->examples);
        assert_non_null(row->run);
        enum command_id found;
        assert_true(command_find(row->name, &found) && found == id);
    }
}

static void spelling_counts_letters(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        uint32_t distance;
    } cases[] = {
        {"", "", 0},           {"abc", "", 3},     {"abc", "abc", 0},         {"abc", "acb", 1},
        {"top-k", "tpo-k", 1}, {"abc", "xabc", 1}, {"kitten", "sitting", 3},  {"ca", "abc", 3},
        {"help", "hlep", 1},   {"a", "b", 1},      {"threads", "treadhs", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(spelling_distance(span_of(cases[i].a), span_of(cases[i].b)),
                         cases[i].distance);
        assert_int_equal(spelling_distance(span_of(cases[i].b), span_of(cases[i].a)),
                         cases[i].distance);
    }
    char giant[SPELLING_WORD_MAX + 2];
    memset(giant, 'x', sizeof giant - 1);
    giant[sizeof giant - 1] = '\0';
    assert_int_equal(spelling_distance(span_of(giant), span_of("x")), UINT32_MAX);
}

static void statuses_become_exit_codes_by_phase(void **state) {
    (void)state;
    static const struct {
        enum cli_phase phase;
        enum status status;
        int code;
    } cases[] = {
        {DURING_USAGE, OK, 0},
        {DURING_USAGE, ERR_INPUT, 2},
        {DURING_LOAD, ERR_INPUT, 4},
        {DURING_LOAD, ERR_IO, 4},
        {DURING_LOAD, ERR_LIMIT, 5},
        {DURING_LOAD, ERR_NOMEM, 5},
        {DURING_LOAD, ERR_DEVICE, 6},
        {DURING_LOAD, ERR_UNSUPPORTED, 4},
        {DURING_WORK, ERR_INPUT, 1},
        {DURING_WORK, ERR_LIMIT, 1},
        {DURING_WORK, ERR_CANCELLED, 130},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(cli_exit_code(cases[i].phase, cases[i].status), cases[i].code);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_help_line_is_wider_than_100_columns),
        cmocka_unit_test(each_option_stands_in_help_man_page_and_completion),
        cmocka_unit_test(rare_options_show_only_when_asked),
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(spelling_counts_letters),
        cmocka_unit_test(statuses_become_exit_codes_by_phase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
