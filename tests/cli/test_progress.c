/* SPDX-License-Identifier: Apache-2.0 */
/* What the bar says, and what is written where there is no bar. */
#include "cli/command.h"
#include "cli/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1ull << 30)

static void bar_shows_share_amounts_rate_and_time_left(void **state) {
    (void)state;
    struct progress p = {.title = "Loading weights", .total = 699 * GIB / 10};
    struct progress_look look = {.done = 441 * GIB / 10, .seconds = 13.78, .width = 80};
    struct text line = {0};
    progress_format(&p, &look, &line);
    assert_string_equal(text_str(&line), "Loading weights  ############--------   63 %  "
                                         "44.1/69.9 GiB  3.20 GiB/s  eta 8 s");
    text_clear(&line);
    look.blocks = true;
    progress_format(&p, &look, &line);
    assert_int_equal(terminal_text_width(text_str(&line)), 80);
    assert_non_null(strstr(text_str(&line), "\xe2\x96\x88\xe2\x96\x91"));
    text_free(&line);
}

static void bar_stays_within_any_width(void **state) {
    (void)state;
    struct progress p = {.title = "Writing", .total = 1000, .unit = PROGRESS_ITEMS};
    for (uint32_t width = 60; width < 200; width++) {
        for (uint64_t done = 0; done <= 1000; done += 50) {
            struct progress_look look = {
                .done = done, .seconds = 5000, .width = width, .blocks = true};
            struct text line = {0};
            progress_format(&p, &look, &line);
            assert_true(terminal_text_width(text_str(&line)) <= width);
            text_free(&line);
        }
    }
}

/* Everything the log gets while a thousand steps of one action pass. */
static char *logged(enum log_level level) {
    char *bytes = NULL;
    size_t n = 0;
    struct cli cli = {.terminal = {.is_dumb = true}};
    cli.log = (struct log){.to = open_memstream(&bytes, &n), .level = level};
    struct progress p;
    progress_begin(&p, &cli, "Reading", 1000, PROGRESS_ITEMS);
    for (uint64_t done = 0; done <= 1000; done++)
        progress_update(&p, done);
    progress_end(&p);
    fclose(cli.log.to);
    return bytes;
}

static void without_a_terminal_one_line_per_tenth(void **state) {
    (void)state;
    char *bytes = logged(LOG_INFO);
    size_t n = 0;
    for (const char *c = bytes; *c; c++)
        n += *c == '\n';
    assert_int_equal(n, 10);
    assert_non_null(strstr(bytes, "shoal: Reading: 10 %, 100/1000\n"));
    assert_non_null(strstr(bytes, "shoal: Reading: 100 %, 1000/1000\n"));
    assert_null(strchr(bytes, '\r'));
    assert_null(strchr(bytes, '\033'));
    free(bytes);
}

static void quiet_logs_see_nothing(void **state) {
    (void)state;
    char *bytes = logged(LOG_ERROR);
    assert_string_equal(bytes, "");
    free(bytes);
}

int main(void) {
    setlocale(LC_CTYPE, "C.UTF-8"); /* column widths */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bar_shows_share_amounts_rate_and_time_left),
        cmocka_unit_test(bar_stays_within_any_width),
        cmocka_unit_test(without_a_terminal_one_line_per_tenth),
        cmocka_unit_test(quiet_logs_see_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
