/* SPDX-License-Identifier: Apache-2.0 */
/* Room doubles, so that appending n bytes one at a time costs O(n). */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void text_free(struct text *text) {
    free(text->data);
    *text = (struct text){0};
}

void text_clear(struct text *text) {
    text->len = 0;
    text->failed = false;
    if (text->data)
        text->data[0] = '\0';
}

char *text_reserve(struct text *text, size_t bytes) {
    if (text->failed || bytes > SIZE_MAX / 4 || text->len > SIZE_MAX / 4) {
        text->failed = true;
        return NULL;
    }
    size_t need = text->len + bytes + 1;
    if (need > text->room) {
        size_t room = text->room ? text->room : 64;
        while (room < need)
            room *= 2;
        char *data = realloc(text->data, room);
        if (!data) {
            text->failed = true;
            return NULL;
        }
        text->data = data;
        text->room = room;
    }
    return text->data + text->len;
}

void text_grew(struct text *text, size_t bytes) {
    text->len += bytes;
    text->data[text->len] = '\0';
}

void text_add(struct text *text, struct span bytes) {
    char *to = text_reserve(text, bytes.len);
    if (!to)
        return;
    if (bytes.len)
        memcpy(to, bytes.data, bytes.len);
    text_grew(text, bytes.len);
}

void text_add_str(struct text *text, const char *str) {
    text_add(text, span_of(str));
}

void text_add_char(struct text *text, char c) {
    text_add(text, span_make(&c, 1));
}

void text_printf(struct text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return;
    char *to = text_reserve(text, (size_t)n);
    if (!to)
        return;
    va_start(args, format);
    vsnprintf(to, (size_t)n + 1, format, args);
    va_end(args);
    text_grew(text, (size_t)n);
}

void text_drop_front(struct text *text, size_t n) {
    if (n == 0 || !text->data)
        return;
    text->len -= n;
    memmove(text->data, text->data + n, text->len + 1);
}
