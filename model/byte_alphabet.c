/* SPDX-License-Identifier: Apache-2.0 */
/* The 68 bytes without a printable character are three runs: 0x00..0x20, 0x7f..0xa0, 0xad. */
#include "model/byte_alphabet.h"

#include "base/utf8.h"

static bool is_printable(uint32_t c) {
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

int byte_alphabet_byte(uint32_t c) {
    if (is_printable(c))
        return (int)c;
    if (c >= 0x100 && c <= 0x120)
        return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

uint32_t byte_alphabet_char(unsigned char byte) {
    if (is_printable(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    return byte == 0xad ? 0x143u : 0x121u + byte - 0x7fu;
}

bool byte_alphabet_decode(struct text *out, struct span spelling) {
    size_t before = out->len;
    while (spelling.len) {
        uint32_t c = 0;
        size_t n = utf8_decode(spelling, &c);
        int byte = n ? byte_alphabet_byte(c) : -1;
        if (byte < 0) {
            out->len = before;
            return false;
        }
        text_add_char(out, (char)byte);
        spelling = span_from(spelling, n);
    }
    return true;
}
