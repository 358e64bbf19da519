/* SPDX-License-Identifier: Apache-2.0 */
/* Categories come from utf8proc; ASCII, most of all text, is answered without asking it. */
#include "model/char_class.h"

#include "base/utf8.h"

#include <utf8proc.h>

/* PropList.txt of Unicode; unchanged since version 6.3. */
static bool is_white_space(uint32_t c) {
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

enum char_class char_class_of(uint32_t c) {
    if (c < 0x80) {
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
            return CHAR_LETTER;
        if (c >= '0' && c <= '9')
            return CHAR_NUMBER;
        return is_white_space(c) ? CHAR_SPACE : CHAR_OTHER;
    }
    if (is_white_space(c))
        return CHAR_SPACE;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CHAR_LETTER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return CHAR_MARK;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return CHAR_NUMBER;
    default:
        return CHAR_OTHER;
    }
}

bool char_is_python_space(uint32_t c) {
    return is_white_space(c) || (c >= 0x1c && c <= 0x1f);
}

struct span span_strip(struct span text) {
    uint32_t c = 0;
    size_t n;
    while ((n = utf8_decode(text, &c)) && char_is_python_space(c))
        text = span_from(text, n);
    while (text.len) {
        size_t back = 1;
        while (back < 4 && back < text.len &&
               ((unsigned char)text.data[text.len - back] & 0xc0) == 0x80)
            back++;
        n = utf8_decode(span_from(text, text.len - back), &c);
        if (n != back || !char_is_python_space(c))
            break;
        text.len -= back;
    }
    return text;
}
