/* SPDX-License-Identifier: Apache-2.0 */
/* A loop over what may come next, with one bit per open array or object. Every scan_* function
 * moves `at` behind what it read, or returns what is wrong there. */
#include "base/json_syntax.h"

#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>

struct scanner {
    const char *at, *end;
    uint32_t depth;
    bool is_object[JSON_DEPTH_MAX];
};

enum expected {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* behind [ */
    EXPECT_NAME,
    EXPECT_NAME_OR_END, /* behind { */
    EXPECT_COMMA_OR_END,
};

static const char TOO_DEEP[] = "nested too deep";

/* The byte at the front, or 0 at the end (a zero byte is no JSON anywhere). */
static char front(const struct scanner *s) {
    return s->at < s->end ? *s->at : '\0';
}

static void skip_space(struct scanner *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const char *scan_digits(struct scanner *s) {
    if (!is_digit(front(s)))
        return "digit expected";
    while (is_digit(front(s)))
        s->at++;
    return NULL;
}

static const char *scan_number(struct scanner *s) {
    const char *wrong;
    if (front(s) == '-')
        s->at++;
    if (front(s) == '0')
        s->at++;
    else if ((wrong = scan_digits(s)) != NULL)
        return wrong;
    if (front(s) == '.') {
        s->at++;
        if ((wrong = scan_digits(s)) != NULL)
            return wrong;
    }
    if (front(s) == 'e' || front(s) == 'E') {
        s->at++;
        if (front(s) == '+' || front(s) == '-')
            s->at++;
        return scan_digits(s);
    }
    return NULL;
}

/* Behind a backslash. */
static const char *scan_escape(struct scanner *s, bool is_name) {
    char c = front(s);
    if (c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' ||
        c == 't') {
        s->at++;
        return NULL;
    }
    if (c != 'u')
        return "unknown escape";
    s->at++;
    bool zero = true;
    for (int i = 0; i < 4; i++, s->at++) {
        if (!is_hex_digit(front(s)))
            return "four hexadecimal digits expected";
        zero = zero && *s->at == '0';
    }
    return zero && is_name ? "zero character in a name" : NULL;
}

static const char *scan_string(struct scanner *s, bool is_name) {
    if (front(s) != '"')
        return is_name ? "name in double quotes expected" : "value expected";
    s->at++;
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;
        if (c == '"') {
            s->at++;
            return NULL;
        }
        if (c < 0x20)
            return "control character in a string";
        if (c == '\\') {
            s->at++;
            const char *wrong = scan_escape(s, is_name);
            if (wrong)
                return wrong;
            continue;
        }
        uint32_t code_point;
        size_t n = utf8_decode(span_make(s->at, (size_t)(s->end - s->at)), &code_point);
        if (n == 0)
            return "invalid UTF-8";
        s->at += n;
    }
    return "end inside a string";
}

static const char *scan_word(struct scanner *s, const char *word) {
    if (!span_starts_with(span_make(s->at, (size_t)(s->end - s->at)), word))
        return "value expected";
    s->at += strlen(word);
    return NULL;
}

static const char *open_level(struct scanner *s, bool is_object, enum expected *next) {
    if (s->depth == JSON_DEPTH_MAX)
        return TOO_DEEP;
    s->is_object[s->depth++] = is_object;
    s->at++;
    *next = is_object ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
    return NULL;
}

static const char *scan_value(struct scanner *s, enum expected *next) {
    *next = EXPECT_COMMA_OR_END;
    switch (front(s)) {
    case '{':
        return open_level(s, true, next);
    case '[':
        return open_level(s, false, next);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return front(s) == '-' || is_digit(front(s)) ? scan_number(s) : scan_string(s, false);
    }
}

static const char *scan_name(struct scanner *s, enum expected *next) {
    const char *wrong = scan_string(s, true);
    if (wrong)
        return wrong;
    skip_space(s);
    if (front(s) != ':')
        return "':' expected";
    s->at++;
    *next = EXPECT_VALUE;
    return NULL;
}

/* Behind a value inside an array or object. */
static const char *scan_comma_or_end(struct scanner *s, enum expected *next) {
    bool is_object = s->is_object[s->depth - 1];
    if (front(s) == ',') {
        s->at++;
        *next = is_object ? EXPECT_NAME : EXPECT_VALUE;
        return NULL;
    }
    if (front(s) != (is_object ? '}' : ']'))
        return is_object ? "',' or '}' expected" : "',' or ']' expected";
    s->at++;
    s->depth--;
    *next = EXPECT_COMMA_OR_END;
    return NULL;
}

/* One piece of the text, or what is wrong with it. */
static const char *scan_piece(struct scanner *s, enum expected *next) {
    bool may_end = *next == EXPECT_VALUE_OR_END || *next == EXPECT_NAME_OR_END;
    if (*next == EXPECT_COMMA_OR_END || (may_end && (front(s) == ']' || front(s) == '}')))
        return scan_comma_or_end(s, next);
    if (*next == EXPECT_NAME || *next == EXPECT_NAME_OR_END)
        return scan_name(s, next);
    return scan_value(s, next);
}

enum status json_check_syntax(struct span bytes, struct error *err) {
    if (bytes.len == 0)
        return error_set(err, ERR_INPUT, "json: value expected at byte 0");
    struct scanner s = {.at = bytes.data, .end = bytes.data + bytes.len};
    enum expected next = EXPECT_VALUE;
    const char *wrong = NULL;
    do {
        skip_space(&s);
        wrong = scan_piece(&s, &next);
    } while (!wrong && (s.depth > 0 || next != EXPECT_COMMA_OR_END));
    if (!wrong) {
        skip_space(&s);
        if (s.at < s.end)
            wrong = "unexpected text after the value";
    }
    if (!wrong)
        return OK;
    return error_set(err, wrong == TOO_DEEP ? ERR_LIMIT : ERR_INPUT, "json: %s at byte %zu", wrong,
                     (size_t)(s.at - bytes.data));
}
