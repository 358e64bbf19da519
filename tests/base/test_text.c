/* SPDX-License-Identifier: Apache-2.0 */
/* Growing texts and the small questions about spans. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void a_text_grows_and_stays_terminated(void **state) {
    (void)state;
    struct text text = {0};
    assert_string_equal(text_str(&text), "");
    for (size_t i = 0; i < 1000; i++) {
        text_add_char(&text, (char)('a' + i % 26));
        assert_int_equal(text.len, i + 1);
        assert_int_equal(text.data[text.len], '\0');
    }
    text_printf(&text, "%s %d", "and", 5);
    assert_string_equal(text_str(&text) + 1000, "and 5");
    text_free(&text);
    assert_null(text.data);
}

static void bytes_of_any_value_are_kept(void **state) {
    (void)state;
    struct text text = {0};
    text_add(&text, span_make("a\0b", 3));
    text_add(&text, (struct span){0});
    assert_int_equal(text.len, 3);
    assert_memory_equal(text.data, "a\0b", 4);
    text_free(&text);
}

static void clear_keeps_the_memory(void **state) {
    (void)state;
    struct text text = {0};
    text_clear(&text);
    text_add_str(&text, "something");
    size_t room = text.room;
    text_clear(&text);
    assert_string_equal(text_str(&text), "");
    assert_int_equal(text.room, room);
    text_free(&text);
}

static void reserved_room_may_be_filled_in_place(void **state) {
    (void)state;
    struct text text = {0};
    text_add_str(&text, "ab");
    char *to = text_reserve(&text, 1000);
    assert_non_null(to);
    memset(to, 'x', 1000);
    text_grew(&text, 3);
    assert_string_equal(text_str(&text), "abxxx");
    text_free(&text);
}

static void the_front_may_be_dropped(void **state) {
    (void)state;
    struct text text = {0};
    text_drop_front(&text, 0);
    text_add_str(&text, "abcdef");
    text_drop_front(&text, 2);
    assert_string_equal(text_str(&text), "cdef");
    text_drop_front(&text, 4);
    assert_string_equal(text_str(&text), "");
    assert_int_equal(text.len, 0);
    text_free(&text);
}

/* An impossible reservation stands for memory that is gone: the text keeps what it had. */
static void after_a_failure_nothing_is_added_until_cleared(void **state) {
    (void)state;
    struct text text = {0};
    text_add_str(&text, "kept");
    assert_null(text_reserve(&text, SIZE_MAX - 2));
    assert_true(text.failed);
    text_add_str(&text, "lost");
    text_printf(&text, "%d", 1);
    assert_string_equal(text_str(&text), "kept");
    text_clear(&text);
    text_add_str(&text, "again");
    assert_string_equal(text_str(&text), "again");
    assert_false(text.failed);
    text_free(&text);
}

static void spans_answer_about_their_ends_and_contents(void **state) {
    (void)state;
    struct span empty = {0}, s = span_of("blk.3.ffn.weight");
    assert_true(span_starts_with(s, "blk."));
    assert_true(span_ends_with(s, ".weight"));
    assert_false(span_starts_with(span_of("bl"), "blk"));
    assert_false(span_ends_with(span_of("eight"), "weight"));
    assert_true(span_is(span_from(s, 6), "ffn.weight"));
    assert_true(span_is(span_from(s, s.len), ""));
    assert_int_equal(span_find(s, "ffn"), 6);
    assert_int_equal(span_find(s, ""), 0);
    assert_int_equal(span_find(s, "absent"), SIZE_MAX);
    assert_int_equal(span_find(empty, "x"), SIZE_MAX);
    assert_true(span_eq(empty, span_of("")));
    assert_false(span_eq(span_of("a"), span_of("b")));
    assert_false(span_eq(span_of("a"), span_of("ab")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_grows_and_stays_terminated),
        cmocka_unit_test(bytes_of_any_value_are_kept),
        cmocka_unit_test(clear_keeps_the_memory),
        cmocka_unit_test(reserved_room_may_be_filled_in_place),
        cmocka_unit_test(the_front_may_be_dropped),
        cmocka_unit_test(after_a_failure_nothing_is_added_until_cleared),
        cmocka_unit_test(spans_answer_about_their_ends_and_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
