/* SPDX-License-Identifier: Apache-2.0 */
/* A view of bytes that somebody else owns: pointer and length, not terminated. */
#ifndef SHOAL_BASE_SPAN_H
#define SHOAL_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *data; /* may be NULL if len is 0 */
    size_t len;
};

static inline struct span span_make(const char *data, size_t len) {
    return (struct span){.data = data, .len = len};
}

static inline struct span span_of(const char *text) {
    return (struct span){.data = text, .len = strlen(text)};
}

static inline bool span_eq(struct span a, struct span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool span_is(struct span a, const char *text) {
    return span_eq(a, span_of(text));
}

static inline bool span_starts_with(struct span a, const char *prefix) {
    size_t n = strlen(prefix);
    return a.len >= n && memcmp(a.data, prefix, n) == 0;
}

static inline bool span_ends_with(struct span a, const char *suffix) {
    size_t n = strlen(suffix);
    return a.len >= n && memcmp(a.data + (a.len - n), suffix, n) == 0;
}

/* The part from `begin` (at most len) to the end. */
static inline struct span span_from(struct span a, size_t begin) {
    return span_make(a.data + begin, a.len - begin);
}

/* Where `needle` first begins in `a`, or SIZE_MAX. An empty needle is found at 0. */
static inline size_t span_find(struct span a, const char *needle) {
    size_t n = strlen(needle);
    if (n == 0)
        return 0;
    const char *at = a.len ? (const char *)memmem(a.data, a.len, needle, n) : NULL;
    return at ? (size_t)(at - a.data) : (size_t)-1;
}

#endif
