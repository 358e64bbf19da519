/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a GGUF file (version 3): first the header is described, then data is put in any order.
 *
 *     init -> pairs, tensors -> header (bytes in memory)
 *                            -> create -> put ... -> finish          a file
 *     free at the end, always
 *
 * The file is written under "<path>.partial" and renamed by finish, so that nobody ever sees half a
 * model. While describing, memory that is gone is remembered and reported by header or create.
 * One owner thread; put alone may be called by several. */
#ifndef SHOAL_MODEL_GGUF_WRITER_H
#define SHOAL_MODEL_GGUF_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"
#include "base/text.h"
#include "model/gguf.h"
#include "tensor/dtype.h"

#define GGUF_WRITER_ALIGNMENT 32

struct gguf_writer {
    struct text pairs; /* as they will stand in the file */
    struct text infos;
    uint64_t n_pairs, n_tensors;
    uint64_t data_bytes;       /* of the data section, padding included */
    struct text offsets;       /* uint64_t of each tensor, from the start of the data section */
    uint64_t data_start;       /* known after create */
    int fd;                    /* -1: no file */
    char *path, *partial_path; /* in the arena */
    struct arena arena;
};

void gguf_writer_init(struct gguf_writer *w);

/* Removes an unfinished file. */
void gguf_writer_free(struct gguf_writer *w);

void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_writer_i32(struct gguf_writer *w, const char *key, int32_t value);
void gguf_writer_u16(struct gguf_writer *w, const char *key, uint16_t value);
void gguf_writer_f32(struct gguf_writer *w, const char *key, float value);
void gguf_writer_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_writer_string(struct gguf_writer *w, const char *key, struct span value);
void gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *values, uint64_t n);

/* An array of n strings: this call, then n times add_string. */
void gguf_writer_strings(struct gguf_writer *w, const char *key, uint64_t n);
void gguf_writer_add_string(struct gguf_writer *w, struct span string);

/* Shape outermost first, rows a multiple of the dtype's block. Returns the index for put. */
uint64_t gguf_writer_tensor(struct gguf_writer *w, const char *name, enum dtype dtype,
                            uint32_t n_dims, const uint64_t *shape);

/* Appends the header with its padding; `w->data_bytes` bytes of data must follow it. */
enum status gguf_writer_header(const struct gguf_writer *w, struct text *out, struct error *err);

/* Bytes of the whole file. */
uint64_t gguf_writer_file_bytes(const struct gguf_writer *w);

/* Creates the file with its header and all its length. ERR_INPUT: it exists and may not be
 * replaced; ERR_LIMIT: the disk has less room than the file needs; ERR_IO. */
enum status gguf_writer_create(struct gguf_writer *w, const char *path, bool replace,
                               struct error *err);

/* Writes bytes of one tensor, `offset` bytes after its begin. What is never put reads as 0. */
enum status gguf_writer_put(const struct gguf_writer *w, uint64_t tensor_idx, uint64_t offset,
                            struct span bytes, struct error *err);

/* The file gets its name. */
enum status gguf_writer_finish(struct gguf_writer *w, struct error *err);

#endif
