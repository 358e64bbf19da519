/* SPDX-License-Identifier: Apache-2.0 */
/* Form C against the results of another implementation (data/tokenizer/make-nfc.py), and its cost
 * on rows of marks. */
#include "model/nfc.h"

#include "base/utf8.h"
#include "support_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void append_points(struct text *out, struct span hex) {
    const char *at = hex.data;
    while (at < hex.data + hex.len) {
        char *end;
        char bytes[4];
        unsigned long c = strtoul(at, &end, 16);
        text_add(out, span_make(bytes, utf8_encode((uint32_t)c, bytes)));
        at = end + 1;
    }
}

static void form_c_equals_the_results_of_unicodedata(void **state) {
    (void)state;
    struct text file = test_read_file(TEST_DATA "/tokenizer/nfc-cases.txt");
    struct span rest = text_span(&file), line;
    struct text in = {0}, expected = {0}, out = {0};
    size_t n = 0;
    while (test_next_line(&rest, &line)) {
        size_t border = span_find(line, ";");
        text_clear(&in);
        text_clear(&expected);
        text_clear(&out);
        append_points(&in, span_make(line.data, border));
        append_points(&expected, span_from(line, border + 1));
        struct error err;
        assert_int_equal(nfc_append(&out, text_span(&in), &err), OK);
        if (!span_eq(text_span(&out), text_span(&expected)))
            fail_msg("case %zu (%.*s) differs", n, (int)line.len, line.data);
        if (nfc_is_plain(text_span(&in)) && !span_eq(text_span(&in), text_span(&expected)))
            fail_msg("case %zu (%.*s) is taken for plain", n, (int)line.len, line.data);
        n++;
    }
    assert_true(n > 7000);
    text_free(&in);
    text_free(&expected);
    text_free(&out);
    text_free(&file);
}

static void ascii_and_plain_letters_are_plain(void **state) {
    (void)state;
    assert_true(nfc_is_plain(span_of("plain text\n\t\x01")));
    assert_true(nfc_is_plain(span_of("")));
    assert_true(nfc_is_plain(span_of("\xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x90\x9f")));
    assert_false(nfc_is_plain(span_of("e\xcc\x81")));
}

/* Exchanging neighbours would take 10^12 steps here. */
static void a_million_marks_in_falling_order_are_sorted(void **state) {
    (void)state;
    const size_t n = 1000000;
    struct text in = {0}, out = {0};
    text_add_char(&in, 'a');
    for (size_t i = 0; i < n; i++) /* U+0301 has class 230, U+0316 has class 220 */
        text_add_str(&in, i < n / 2 ? "\xcc\x81" : "\xcc\x96");
    struct error err;
    assert_int_equal(nfc_append(&out, text_span(&in), &err), OK);
    /* The lower class comes first, then the first U+0301 has composed with the letter. */
    assert_int_equal(out.len, 2 + (n - 1) * 2);
    assert_memory_equal(out.data, "\xc3\xa1\xcc\x96", 4);
    assert_memory_equal(out.data + out.len - 2, "\xcc\x81", 2);
    text_free(&in);
    text_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form_c_equals_the_results_of_unicodedata),
        cmocka_unit_test(ascii_and_plain_letters_are_plain),
        cmocka_unit_test(a_million_marks_in_falling_order_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
