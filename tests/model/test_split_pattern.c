/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-written splitter against PCRE2 running the published patterns: random texts over
 * characters that matter, and texts made to be awkward. Boundaries must be equal. */
#include "model/split_pattern.h"

#include "base/rng.h"
#include "base/text.h"
#include "base/utf8.h"
#include "model/char_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* PCRE2 counts U+180E as white space, Unicode does not since version 6.3: so \s is spelled out. */
#define WHITE                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"             \
    "\\x{202f}\\x{205f}\\x{3000}"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES      "[" WHITE "]*[\\r\\n]+|[" WHITE "]+(?![^" WHITE "])|[" WHITE "]+"

static const char *const regexes[] = {
    [SPLIT_QWEN2] = CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                                "| ?[^" WHITE "\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
    [SPLIT_QWEN35] = CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                                 "| ?[^" WHITE "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES,
};

static pcre2_code *compile(const char *regex) {
    int code;
    PCRE2_SIZE at;
    pcre2_code *re =
        pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
    if (!re)
        fail_msg("pcre2: error %d at %zu", code, at);
    assert_int_equal(pcre2_jit_compile(re, PCRE2_JIT_COMPLETE), 0);
    return re;
}

struct oracle {
    pcre2_code *words[2]; /* by enum split_pattern */
    pcre2_match_data *match;
};

static int open_oracle(void **state) {
    static struct oracle oracle;
    oracle.words[SPLIT_QWEN2] = compile(regexes[SPLIT_QWEN2]);
    oracle.words[SPLIT_QWEN35] = compile(regexes[SPLIT_QWEN35]);
    oracle.match = pcre2_match_data_create(1, NULL);
    *state = &oracle;
    return oracle.match ? 0 : -1;
}

static int close_oracle(void **state) {
    struct oracle *oracle = *state;
    pcre2_code_free(oracle->words[SPLIT_QWEN2]);
    pcre2_code_free(oracle->words[SPLIT_QWEN35]);
    pcre2_match_data_free(oracle->match);
    return 0;
}

static size_t pcre2_first(struct oracle *oracle, const pcre2_code *re, struct span text) {
    int n = pcre2_match(re, (PCRE2_SPTR)text.data, text.len, 0, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK,
                        oracle->match, NULL);
    return n < 1 ? 0 : pcre2_get_ovector_pointer(oracle->match)[1];
}

static void compare(struct oracle *oracle, enum split_pattern pattern, struct span text) {
    struct span rest = text;
    while (rest.len) {
        size_t expected = pcre2_first(oracle, oracle->words[pattern], rest);
        size_t n = split_first_word(pattern, rest);
        if (n != expected || n == 0) {
            for (size_t i = 0; i < text.len; i++)
                print_message("%02x ", (unsigned char)text.data[i]);
            fail_msg("pattern %d, word at %zu: %zu bytes, pcre2 says %zu", (int)pattern,
                     text.len - rest.len, n, expected);
        }
        rest = span_from(rest, n);
    }
}

static void compare_both(struct oracle *oracle, struct span text) {
    compare(oracle, SPLIT_QWEN2, text);
    compare(oracle, SPLIT_QWEN35, text);
}

static void awkward_texts_split_like_the_pattern(void **state) {
    static const char *const texts[] = {
        "",
        " ",
        "  ",
        "\n",
        " \n",
        "\n ",
        "\r\n\r\n",
        " \r \n x",
        "a\n\n b",
        "   x",
        "  \n  x  ",
        "I'm you're we've he'll she'd it's can't",
        "I'M YOU'RE WE'VE HE'LL SHE'D IT'S CAN'T",
        "'s't're",
        "'",
        "''s",
        "'S'",
        "'\xc5\xbf",
        "x'\xc5\xbfy",
        "'r",
        "'l",
        "'v e",
        "'lL",
        "'Re",
        "123 4567 8",
        "x1y2",
        "1.5e-7",
        "\xc2\xbd\xe2\x85\xa7",
        "...!!!\r\n\r\n x",
        " ...\n",
        " .",
        ". ",
        "a.b",
        ".a",
        " a",
        "  a",
        "\ta",
        "\t\ta",
        "\xc2\xa0x",
        "\xe3\x80\x80\xe3\x80\x80x",
        "\xc2\x85x",
        "\xe0\xa4\x95\xe0\xa5\x8d",
        "\xe0\xa5\x8d\xe0\xa4\x95",
        ".\xcc\x81x",
        " \xcc\x81",
        "\xcc\x81",
        "e\xcc\x81.\xcc\x81",
        "1\xcc\x81\xcc\x81",
        "\n\xcc\x81x",
        "\xe1\xa0\x8ex",
        "\x1cx",
        "\x1f \x7f",
        "\xef\xbb\xbfx",
        "\xe2\x80\x8bx",
        "\xe2\x80\xa8x",
        "def f(x):\n    return x\n\n\n    # ok\n",
        "\xf0\x9f\x90\x9f\xf0\x9f\x90\xa0 \xf0\x9f\x90\x9f",
        "{\"a\": [1, 2]}",
        "//\n//\n",
        "\r",
        "\r\r x",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        compare_both(*state, span_of(texts[i]));
}

static void random_texts_split_like_the_pattern(void **state) {
    static const uint32_t alphabet[] = {
        ' ',    ' ',    ' ',   '\n',  '\r',   '\t',     '\'',   '\'',    's',    'S',    't',
        'r',    'e',    'v',   'l',   'm',    'd',      'A',    'z',     '0',    '9',    '.',
        ',',    '_',    '(',   0x17f, 0x85,   0xa0,     0x3000, 0x2028,  0x1680, 0x180e, 0xe9,
        0x301,  0x20dd, 0x915, 0x94d, 0x93e,  0x4e2d,   0xac00, 0xbd,    0x2167, 0x661,  0x1f41f,
        0x200b, 0x1c,   0,     0xad,  0xe000, 0x10ffff, 0x378,  0x1d7d8, 0x1c5,  0x2b0,  0x212a,
    };
    const size_t n_alphabet = sizeof alphabet / sizeof alphabet[0];
    struct text text = {0};
    uint64_t counter = 0;
    for (int round = 0; round < 60000; round++) {
        text_clear(&text);
        size_t n = 1 + rng_u64(1, counter++) % 24;
        /* Few different characters make long runs and near misses. */
        size_t n_kinds = 2 + rng_u64(2, counter++) % 6;
        uint32_t kinds[8];
        for (size_t i = 0; i < n_kinds; i++)
            kinds[i] = alphabet[rng_u64(3, counter++) % n_alphabet];
        for (size_t i = 0; i < n; i++) {
            char bytes[4];
            uint32_t c = kinds[rng_u64(4, counter++) % n_kinds];
            text_add(&text, span_make(bytes, utf8_encode(c, bytes)));
        }
        compare_both(*state, text_span(&text));
    }
    text_free(&text);
}

/* A character that PCRE2's older Unicode has not assigned is left out. */
static void classes_equal_the_properties_of_every_character(void **state) {
    static const char *const properties[] = {
        [CHAR_OTHER] = "[^\\p{L}\\p{M}\\p{N}" WHITE "]",
        [CHAR_LETTER] = "\\p{L}",
        [CHAR_MARK] = "\\p{M}",
        [CHAR_NUMBER] = "\\p{N}",
        [CHAR_SPACE] = "[" WHITE "]",
    };
    pcre2_code *unassigned = compile("\\p{Cn}");
    pcre2_code *re[5];
    for (int i = 0; i < 5; i++)
        re[i] = compile(properties[i]);
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char bytes[4];
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        struct span text = span_make(bytes, utf8_encode(c, bytes));
        if (pcre2_first(*state, unassigned, text))
            continue;
        enum char_class class = char_class_of(c);
        if (pcre2_first(*state, re[class], text) != text.len)
            fail_msg("U+%04X: class %d", c, (int)class);
    }
    pcre2_code_free(unassigned);
    for (int i = 0; i < 5; i++)
        pcre2_code_free(re[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(awkward_texts_split_like_the_pattern),
        cmocka_unit_test(random_texts_split_like_the_pattern),
        cmocka_unit_test(classes_equal_the_properties_of_every_character),
    };
    return cmocka_run_group_tests(tests, open_oracle, close_oracle);
}
