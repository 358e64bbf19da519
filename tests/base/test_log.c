/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of the log looks like, and what never gets into one. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The bytes a line of this text leaves behind; to be freed. */
static char *logged(struct log log, enum log_level level, const char *text) {
    char *bytes = NULL;
    size_t n = 0;
    log.to = open_memstream(&bytes, &n);
    assert_non_null(log.to);
    log_line(&log, level, "%s", text);
    fclose(log.to);
    return bytes;
}

static void expect(struct log log, enum log_level level, const char *text, const char *expected) {
    char *bytes = logged(log, level, text);
    assert_string_equal(bytes, expected);
    free(bytes);
}

static void a_line_names_program_and_level(void **state) {
    (void)state;
    struct log log = {.level = LOG_INFO};
    expect(log, LOG_ERROR, "no", "shoal: error: no\n");
    expect(log, LOG_WARN, "well", "shoal: warning: well\n");
    expect(log, LOG_INFO, "so", "shoal: so\n");
    expect(log, LOG_DEBUG, "too much", "");
    log.color = true;
    expect(log, LOG_ERROR, "no", "shoal: \033[31merror: no\033[0m\n");
}

static void control_characters_do_not_pass(void **state) {
    (void)state;
    struct log log = {.level = LOG_INFO};
    expect(log, LOG_INFO, "a\033[2Jb\rc\x7f\n\td é", "shoal: a?[2Jb?c?\n\td é\n");
}

static void a_long_text_is_cut_and_still_ends_its_line(void **state) {
    (void)state;
    char *text = calloc(1, 5001);
    memset(text, 'x', 5000);
    char *bytes = logged((struct log){.level = LOG_INFO}, LOG_INFO, text);
    size_t n = strlen(bytes);
    assert_true(n > 500 && n < 1200);
    assert_int_equal(bytes[n - 1], '\n');
    free(bytes);
    free(text);
}

static void no_log_is_silent(void **state) {
    (void)state;
    log_line(NULL, LOG_ERROR, "nobody hears");
    log_line(&(struct log){.level = LOG_TRACE}, LOG_ERROR, "nobody hears");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_names_program_and_level),
        cmocka_unit_test(control_characters_do_not_pass),
        cmocka_unit_test(a_long_text_is_cut_and_still_ends_its_line),
        cmocka_unit_test(no_log_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
