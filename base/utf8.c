/* SPDX-License-Identifier: Apache-2.0 */
/* Table 3-7 of the Unicode standard ("well-formed UTF-8 byte sequences"), as a function. */
#include "base/utf8.h"

/* How many continuation bytes follow `lead`, and the range that the first of them must lie in. */
static size_t lead_info(unsigned char lead, unsigned char *low, unsigned char *high) {
    *low = 0x80;
    *high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 1;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *low = 0xa0;
        if (lead == 0xed)
            *high = 0x9f;
        return 2;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *low = 0x90;
        if (lead == 0xf4)
            *high = 0x8f;
        return 3;
    }
    return 0;
}

/* The length of the longest prefix of `bytes` that begins a valid character (at least 1 for
 * non-empty input, also if the lead byte is bad), and whether the character is whole. */
static size_t maximal_prefix(struct span bytes, bool *whole) {
    const unsigned char *b = (const unsigned char *)bytes.data;
    *whole = false;
    if (b[0] < 0x80) {
        *whole = true;
        return 1;
    }
    unsigned char low, high;
    size_t follow = lead_info(b[0], &low, &high);
    size_t n = 1;
    while (n <= follow && n < bytes.len && b[n] >= low && b[n] <= high) {
        low = 0x80;
        high = 0xbf;
        n++;
    }
    *whole = follow > 0 && n == follow + 1;
    return n;
}

size_t utf8_decode(struct span bytes, uint32_t *code_point) {
    bool whole;
    if (bytes.len == 0)
        return 0;
    size_t n = maximal_prefix(bytes, &whole);
    if (!whole)
        return 0;
    const unsigned char *b = (const unsigned char *)bytes.data;
    static const unsigned char lead_mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t cp = b[0] & lead_mask[n];
    for (size_t i = 1; i < n; i++)
        cp = cp << 6 | (b[i] & 0x3fu);
    *code_point = cp;
    return n;
}

size_t utf8_encode(uint32_t cp, char out[4]) {
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        cp = 0xfffd;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

bool utf8_valid(struct span bytes) {
    while (bytes.len) {
        bool whole;
        size_t n = maximal_prefix(bytes, &whole);
        if (!whole)
            return false;
        bytes = span_from(bytes, n);
    }
    return true;
}

bool utf8_append_repaired(struct text *out, struct span bytes) {
    bool replaced = false;
    while (bytes.len) {
        size_t good = 0;
        size_t n = 0;
        bool whole = true;
        while (good < bytes.len) {
            n = maximal_prefix(span_from(bytes, good), &whole);
            if (!whole)
                break;
            good += n;
        }
        text_add(out, span_make(bytes.data, good));
        bytes = span_from(bytes, good);
        if (bytes.len) {
            text_add_str(out, "\xef\xbf\xbd");
            bytes = span_from(bytes, n);
            replaced = true;
        }
    }
    return replaced;
}

size_t utf8_incomplete_tail(struct span bytes) {
    size_t back = bytes.len < 3 ? bytes.len : 3;
    for (size_t n = 1; n <= back; n++) {
        struct span tail = span_from(bytes, bytes.len - n);
        unsigned char lead = (unsigned char)tail.data[0];
        if (lead < 0x80)
            return 0;
        if (lead >= 0xc0) {
            unsigned char low, high;
            bool whole;
            size_t follow = lead_info(lead, &low, &high);
            return follow >= n && maximal_prefix(tail, &whole) == n ? n : 0;
        }
    }
    return 0;
}
