/* SPDX-License-Identifier: Apache-2.0 */
/* The same events on a terminal, on one without colour, and in a pipe. */
#include "cli/answer_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

struct sample {
    enum output_kind kind;
    const char *text;
};

/* What the view writes for the events up to the one without text. */
static char *shown(bool is_tty, bool color, const struct sample *samples) {
    char *bytes = NULL;
    size_t n = 0;
    static struct options options; /* nothing is set: the terminal decides */
    struct cli cli = {.options = &options, .terminal = {.out_is_tty = is_tty, .color_out = color}};
    cli.out = open_memstream(&bytes, &n);
    assert_non_null(cli.out);
    struct answer_view view;
    answer_view_init(&view, &cli);
    for (; samples->text; samples++) {
        struct output_event event = {.kind = samples->kind, .text = span_of(samples->text)};
        answer_view_event(&view, &event);
    }
    answer_view_end(&view);
    fclose(cli.out);
    return bytes;
}

static void expect(bool is_tty, bool color, const struct sample *samples, const char *text) {
    char *bytes = shown(is_tty, color, samples);
    assert_string_equal(bytes, text);
    free(bytes);
}

static const struct sample thought_and_answer[] = {
    {OUTPUT_REASONING, "hm"}, {OUTPUT_REASONING, " hm"}, {OUTPUT_CONTENT, "It is"},
    {OUTPUT_CONTENT, " 4."},  {OUTPUT_CONTENT, NULL},
};

static void a_pipe_gets_only_the_answer(void **state) {
    (void)state;
    expect(false, false, thought_and_answer, "It is 4.\n");
}

static void a_terminal_shows_the_thought_under_a_heading(void **state) {
    (void)state;
    expect(true, false, thought_and_answer, "Thinking:\nhm hm\n\nAnswer:\nIt is 4.\n");
    expect(true, true, thought_and_answer, "\033[2mThinking:\nhm hm\n\033[0m\nAnswer:\nIt is 4.\n");
}

static void an_answer_without_thought_has_no_heading(void **state) {
    (void)state;
    const struct sample samples[] = {{OUTPUT_CONTENT, "4\n"}, {OUTPUT_CONTENT, NULL}};
    expect(true, true, samples, "4\n");
}

static void a_thought_that_was_cut_off_ends_the_colour(void **state) {
    (void)state;
    const struct sample samples[] = {{OUTPUT_REASONING, "hm"}, {OUTPUT_CONTENT, NULL}};
    expect(true, true, samples, "\033[2mThinking:\nhm\n\033[0m");
    expect(false, false, samples, "");
}

static void calls_stand_on_lines_of_their_own(void **state) {
    (void)state;
    const struct sample samples[] = {
        {OUTPUT_CONTENT, "I look."},
        {OUTPUT_CALL_BEGIN, "get_time"},
        {OUTPUT_CALL_ARGUMENTS, "{\"city\":"},
        {OUTPUT_CALL_ARGUMENTS, "\"Rome\"}"},
        {OUTPUT_CALL_END, ""},
        {OUTPUT_CONTENT, NULL},
    };
    expect(false, false, samples, "I look.\ncall of get_time: {\"city\":\"Rome\"}\n");
}

static void control_characters_never_reach_a_terminal(void **state) {
    (void)state;
    const struct sample samples[] = {{OUTPUT_CONTENT, "a\033[2Jb\x07\tc\r\x7f\n"},
                                     {OUTPUT_CONTENT, NULL}};
    expect(true, false, samples, "a[2Jb\tc\n");
    expect(false, false, samples, "a\033[2Jb\x07\tc\r\x7f\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_gets_only_the_answer),
        cmocka_unit_test(a_terminal_shows_the_thought_under_a_heading),
        cmocka_unit_test(an_answer_without_thought_has_no_heading),
        cmocka_unit_test(a_thought_that_was_cut_off_ends_the_colour),
        cmocka_unit_test(calls_stand_on_lines_of_their_own),
        cmocka_unit_test(control_characters_never_reach_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
