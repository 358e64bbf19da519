/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on sizes that come from outside: the product and sum, or false on overflow. */
#ifndef SHOAL_BASE_SIZE_H
#define SHOAL_BASE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

static inline bool size_mul(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool size_add(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

/* For trusted sizes only: the next multiple of `align`, a power of two. */
static inline uint64_t align_up(uint64_t a, uint64_t align) {
    return (a + align - 1) & ~(align - 1);
}

static inline uint64_t div_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

#endif
