/* SPDX-License-Identifier: Apache-2.0 */
/* A list of chunks; the newest serves, a larger request gets a chunk of its own. */
#include "base/arena.h"

#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Small enough that an arena for one short request costs little, large enough that a model's
 * thousands of small structs need few calls. */
#define CHUNK_BYTES (64 * 1024)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of data, in bytes */
    size_t used;
    _Alignas(ARENA_ALIGN) unsigned char data[];
};

static struct arena_chunk *chunk_new(size_t size) {
    size_t total = sizeof(struct arena_chunk) + size;
    total = (total + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_chunk *chunk = aligned_alloc(ARENA_ALIGN, total);
    if (!chunk)
        return NULL;
    chunk->next = NULL;
    chunk->size = size;
    chunk->used = 0;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 4)
        return NULL;
    size_t need = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (need == 0)
        need = ARENA_ALIGN;
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < need) {
        chunk = chunk_new(need > CHUNK_BYTES ? need : CHUNK_BYTES);
        if (!chunk)
            return NULL;
        if (need > CHUNK_BYTES && arena->chunks) {
            /* Keep the half-full chunk in front: the next small request still fits there. */
            chunk->next = arena->chunks->next;
            arena->chunks->next = chunk;
        } else {
            chunk->next = arena->chunks;
            arena->chunks = chunk;
        }
    }
    void *out = chunk->data + chunk->used;
    chunk->used += need;
    arena->bytes_used += need;
    return memset(out, 0, need);
}

void *arena_array(struct arena *arena, size_t n, size_t size) {
    uint64_t bytes;
    if (!size_mul(n, size, &bytes))
        return NULL;
    return arena_alloc(arena, bytes);
}

char *arena_dup(struct arena *arena, struct span bytes) {
    char *out = arena_alloc(arena, bytes.len + 1);
    if (out && bytes.len)
        memcpy(out, bytes.data, bytes.len);
    return out;
}

char *arena_printf(struct arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return NULL;
    char *out = arena_alloc(arena, (size_t)n + 1);
    if (!out)
        return NULL;
    va_start(args, format);
    vsnprintf(out, (size_t)n + 1, format, args);
    va_end(args);
    return out;
}

void arena_free(struct arena *arena) {
    struct arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    *arena = (struct arena){0};
}
