/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and texts: kept, wrapped, cut, and done without. */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void set_writes_code_and_text_and_returns_the_code(void **state) {
    (void)state;
    struct error err;
    assert_int_equal(error_set(&err, ERR_INPUT, "%s: %d dimensions", "x.gguf", 9), ERR_INPUT);
    assert_int_equal(err.status, ERR_INPUT);
    assert_string_equal(err.text, "x.gguf: 9 dimensions");
}

static void wrap_puts_where_in_front_and_keeps_the_code(void **state) {
    (void)state;
    struct error err;
    error_set(&err, ERR_IO, "no such file");
    error_wrap(&err, "layer %u", 3);
    error_wrap(&err, "model");
    assert_string_equal(err.text, "model: layer 3: no such file");
    assert_int_equal(err.status, ERR_IO);
}

static void long_texts_are_cut_and_terminated(void **state) {
    (void)state;
    struct error err;
    char name[2 * ERROR_TEXT_MAX];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    error_set(&err, ERR_LIMIT, "%s", name);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    error_wrap(&err, "first");
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "first: aaa", 10);
    error_wrap(&err, "%s", name);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
}

static void a_caller_may_want_only_the_code(void **state) {
    (void)state;
    assert_int_equal(error_set(NULL, ERR_NOMEM, "gone"), ERR_NOMEM);
    error_wrap(NULL, "nothing happens");
}

static void every_code_has_a_word_of_its_own(void **state) {
    (void)state;
    for (int i = OK; i <= ERR_CANCELLED; i++) {
        assert_string_not_equal(status_name((enum status)i), "unknown");
        for (int j = OK; j < i; j++)
            assert_string_not_equal(status_name((enum status)i), status_name((enum status)j));
    }
    assert_string_equal(status_name((enum status)99), "unknown");
}

static enum status fails_early(enum status status, int *went_on) {
    TRY(status);
    *went_on = 1;
    return OK;
}

static void try_leaves_only_on_failure(void **state) {
    (void)state;
    int went_on = 0;
    assert_int_equal(fails_early(ERR_COMM, &went_on), ERR_COMM);
    assert_int_equal(went_on, 0);
    assert_int_equal(fails_early(OK, &went_on), OK);
    assert_int_equal(went_on, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_writes_code_and_text_and_returns_the_code),
        cmocka_unit_test(wrap_puts_where_in_front_and_keeps_the_code),
        cmocka_unit_test(long_texts_are_cut_and_terminated),
        cmocka_unit_test(a_caller_may_want_only_the_code),
        cmocka_unit_test(every_code_has_a_word_of_its_own),
        cmocka_unit_test(try_leaves_only_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
