/* SPDX-License-Identifier: Apache-2.0 */
/* Memory with one lifetime: many allocations, one release.
 *
 * Host memory has four lifetimes (process, model, request, step) and each is an arena. Memory
 * comes in chunks; every allocation is zeroed and aligned to 64 bytes, so that any kernel may
 * use it. An arena belongs to one thread at a time. A zeroed struct is an empty arena. */
#ifndef SHOAL_BASE_ARENA_H
#define SHOAL_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

#define ARENA_ALIGN 64

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t bytes_used;          /* sum of what callers asked for, rounded up */
};

/* NULL only if memory is gone or the size is absurd. A size of 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t bytes) __attribute__((malloc));

/* n * size with an overflow check; NULL as above. */
void *arena_array(struct arena *arena, size_t n, size_t size) __attribute__((malloc));

/* A terminated copy of the bytes; NULL as above. */
char *arena_dup(struct arena *arena, struct span bytes);

/* A terminated, formatted text; NULL as above. */
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Gives everything back; the arena is empty and usable. Safe on a zeroed struct. */
void arena_free(struct arena *arena);

#endif
