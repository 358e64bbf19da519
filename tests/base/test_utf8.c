/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 against the definition of RFC 3629 and the examples of the Unicode standard. */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

static void every_character_is_written_and_read_back(void **state) {
    (void)state;
    for (uint32_t cp = 0; cp <= 0x110010; cp++) {
        bool is_character = cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff);
        char bytes[4];
        uint32_t back = 0;
        size_t n = utf8_encode(cp, bytes);
        assert_int_equal(utf8_decode(span_make(bytes, n), &back), n);
        assert_int_equal(back, is_character ? cp : 0xfffd);
        if (is_character)
            assert_int_equal(n, cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(utf8_decode(span_make(bytes, cut), &back), 0);
    }
}

/* The definition, by arithmetic: what the bits say, if no shorter form says it and it is no
 * surrogate. Slow and obvious. */
static size_t decode_by_definition(const unsigned char *b, size_t len) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = b[0] < 0x80             ? 1
               : (b[0] & 0xe0) == 0xc0 ? 2
               : (b[0] & 0xf0) == 0xe0 ? 3
               : (b[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t cp = n == 1 ? b[0] : b[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (b[i] & 0x3fu);
    }
    return cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff) ? 0 : n;
}

static void any_bytes_are_judged_as_by_the_definition(void **state) {
    (void)state;
    /* The borders of every rule, in all combinations of four. */
    static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                          0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                          0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    const size_t n = sizeof edges;
    for (size_t i = 0; i < n * n * n * n; i++) {
        unsigned char b[4] = {edges[i % n], edges[i / n % n], edges[i / n / n % n],
                              edges[i / n / n / n]};
        uint32_t cp;
        struct span bytes = span_make((const char *)b, 4);
        assert_int_equal(utf8_decode(bytes, &cp), decode_by_definition(b, 4));
        bool valid = true;
        for (size_t at = 0; valid && at < 4;) {
            size_t step = decode_by_definition(b + at, 4 - at);
            valid = step > 0;
            at += step;
        }
        assert_int_equal(utf8_valid(bytes), valid);
    }
}

static void assert_repaired(const char *in, size_t len, const char *want, bool changed) {
    struct text out = {0};
    assert_int_equal(utf8_append_repaired(&out, span_make(in, len)), changed);
    assert_string_equal(text_str(&out), want);
    text_free(&out);
}

#define R "\xef\xbf\xbd"

/* Tables 3-8 to 3-11 of the Unicode standard 15.0. */
static void broken_sequences_become_as_many_marks_as_unicode_says(void **state) {
    (void)state;
    assert_repaired("plain \xc3\xa9", 8, "plain \xc3\xa9", false);
    assert_repaired("", 0, "", false);
    assert_repaired("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", 9, R R R R R R R R "A", true);
    assert_repaired("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", 9, R R R R R R R R "A", true);
    assert_repaired("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", 9, R R R R R "A" R R "B", true);
    assert_repaired("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", 9, R R R R "A", true);
    assert_repaired("ends \xf0\x9f\x98", 8, "ends " R, true);
}

static void a_tail_that_may_continue_is_held_back(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t want;
    } cases[] = {
        {"", 0},
        {"a", 0},
        {"a\xc3", 1},
        {"a\xc3\xa9", 0},
        {"\xe2", 1},
        {"\xe2\x82", 2},
        {"\xe2\x82\xac", 0},
        {"\xf0\x9f\x98", 3},
        {"\xf0\x9f", 2},
        {"\xf0\x9f\x98\x80", 0},
        {"\x80\x80", 0},
        {"\xff", 0},
        {"\xc0", 0},
        {"\xe0\x80", 0},
        {"\xed\xa0", 0},
        {"\xf4\x90", 0},
        {"\xf0\x9f\x98\x80\xf0", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(utf8_incomplete_tail(span_of(cases[i].bytes)), cases[i].want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_written_and_read_back),
        cmocka_unit_test(any_bytes_are_judged_as_by_the_definition),
        cmocka_unit_test(broken_sequences_become_as_many_marks_as_unicode_says),
        cmocka_unit_test(a_tail_that_may_continue_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
