/* SPDX-License-Identifier: Apache-2.0 */
/* One function per alternative of the pattern; each returns the bytes it matches, 0 if none. */
#include "model/split_pattern.h"

#include "base/utf8.h"
#include "model/char_class.h"

#include <stdint.h>

/* One character of the text; bytes is 0 at its end. */
struct character {
    uint32_t code_point;
    enum char_class class;
    size_t bytes;
};

static struct character char_at(enum split_pattern pattern, struct span text, size_t at) {
    struct character c = {0};
    c.bytes = utf8_decode(span_from(text, at), &c.code_point);
    if (c.bytes == 0)
        return c;
    c.class = char_class_of(c.code_point);
    if (pattern == SPLIT_QWEN2 && c.class == CHAR_MARK)
        c.class = CHAR_OTHER;
    return c;
}

static bool is_line_break(uint32_t c) {
    return c == '\r' || c == '\n';
}

/* Alternative 1. Case folding makes U+017F, the long s, an s. */
static size_t contraction(struct span text) {
    if (text.len < 2 || text.data[0] != '\'')
        return 0;
    char a = (char)(text.data[1] | 0x20);
    char b = text.len > 2 ? (char)(text.data[2] | 0x20) : '\0';
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return 3;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return span_starts_with(text, "'\xc5\xbf") ? 3 : 0;
}

/* Where the run of characters of these two classes that begins at `at` ends. */
static size_t run_end(enum split_pattern pattern, struct span text, size_t at, enum char_class a,
                      enum char_class b) {
    for (;;) {
        struct character c = char_at(pattern, text, at);
        if (c.bytes == 0 || (c.class != a && c.class != b))
            return at;
        at += c.bytes;
    }
}

/* Alternative 2. Under SPLIT_QWEN2 no character is a mark any more, so the run is letters. */
static size_t letters(enum split_pattern pattern, struct span text, struct character first) {
    bool may_lead = first.class != CHAR_LETTER && first.class != CHAR_NUMBER &&
                    !is_line_break(first.code_point);
    if (may_lead) {
        size_t end = run_end(pattern, text, first.bytes, CHAR_LETTER, CHAR_MARK);
        if (end > first.bytes)
            return end;
    }
    return run_end(pattern, text, 0, CHAR_LETTER, CHAR_MARK);
}

/* Alternative 4. */
static size_t symbols(enum split_pattern pattern, struct span text, struct character first) {
    size_t begin = first.code_point == ' ' ? 1 : 0;
    size_t end = run_end(pattern, text, begin, CHAR_OTHER, CHAR_OTHER);
    if (end == begin)
        return 0;
    while (end < text.len && is_line_break((unsigned char)text.data[end]))
        end++;
    return end;
}

/* Alternatives 5 to 7, for a text that begins with white space: up to the last line break of the
 * run; else the run, less its last character if a word follows that can take it. */
static size_t white_space(enum split_pattern pattern, struct span text) {
    size_t end = 0, last = 0, after_break = 0;
    for (;;) {
        struct character c = char_at(pattern, text, end);
        if (c.bytes == 0 || c.class != CHAR_SPACE)
            break;
        last = end;
        end += c.bytes;
        if (is_line_break(c.code_point))
            after_break = end;
    }
    if (after_break)
        return after_break;
    return end == text.len || last == 0 ? end : last;
}

size_t split_first_word(enum split_pattern pattern, struct span text) {
    struct character first = char_at(pattern, text, 0);
    size_t n = contraction(text);
    if (n == 0)
        n = letters(pattern, text, first);
    if (n == 0 && first.class == CHAR_NUMBER)
        n = first.bytes;
    if (n == 0)
        n = symbols(pattern, text, first);
    if (n == 0)
        n = white_space(pattern, text);
    return n;
}
