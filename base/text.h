/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows: bytes, length, room; always terminated once something was written.
 *
 * Used where the length is not known before (rendered prompts, JSON lines, help texts). After
 * memory is gone, every further call does nothing and `failed` says so, so that a writer checks
 * once at its end. A zeroed struct is an empty text; one owner thread. */
#ifndef SHOAL_BASE_TEXT_H
#define SHOAL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct text {
    char *data; /* terminated; NULL while nothing was written */
    size_t len;
    size_t room;
    bool failed; /* memory was gone at least once */
};

void text_free(struct text *text);  /* safe on a zeroed struct */
void text_clear(struct text *text); /* keeps the memory */
void text_add(struct text *text, struct span bytes);
void text_add_str(struct text *text, const char *str);
void text_add_char(struct text *text, char c);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes room for `bytes` more and returns where they go, or NULL; text_grew tells how many came. */
char *text_reserve(struct text *text, size_t bytes);
void text_grew(struct text *text, size_t bytes);

/* Removes the first n bytes (at most len). */
void text_drop_front(struct text *text, size_t n);

static inline struct span text_span(const struct text *text) {
    return span_make(text->data, text->len);
}

/* The terminated text, "" if nothing was written. */
static inline const char *text_str(const struct text *text) {
    return text->data ? text->data : "";
}

#endif
