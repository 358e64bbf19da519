/* SPDX-License-Identifier: Apache-2.0 */
/* A GGUF file (version 2 or 3), single or split in parts, mapped and checked; nothing is copied.
 *
 *     header | key-value pairs | tensor infos | padding | tensor data        per part
 *
 * gguf_open maps every part and checks all of it that is not weights: lengths against the bytes
 * that remain, counts against limits, types, alignment, overlaps, duplicates, names, the number of
 * parts and of tensors. Errors name the file, the field and the byte offset. Keys come from part 0,
 * tensors from all parts. Immutable after open: any thread may read.
 *
 * GGUF lists dimensions fastest first; here shapes are turned once (outermost first).
 * Format: docs/gguf.md, and the specification of ggml. */
#ifndef SHOAL_MODEL_GGUF_H
#define SHOAL_MODEL_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/span.h"
#include "tensor/tensor.h"

#define GGUF_DIMS_MAX      4
#define GGUF_TENSORS_MAX   (1u << 20)
#define GGUF_KEYS_MAX      (1u << 16)
#define GGUF_NAME_MAX      1024u       /* bytes of a tensor name or key */
#define GGUF_STRING_MAX    (64u << 20) /* bytes of a string value */
#define GGUF_ARRAY_MAX     (1u << 24)  /* elements of an array value */
#define GGUF_PARTS_MAX     999u
#define GGUF_ALIGNMENT_MAX (1u << 20)

/* Numbers as in the file. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf_value {
    enum gguf_type type;
    union {
        uint64_t u64; /* unsigned integers and bool */
        int64_t i64;  /* signed integers */
        double f64;   /* floats */
        struct span string;
        struct {
            enum gguf_type type; /* never GGUF_ARRAY */
            uint64_t n;
            struct span bytes; /* the elements as in the file, unaligned */
        } array;
    };
};

struct gguf_pair {
    struct span key;
    struct gguf_value value;
};

struct gguf_tensor {
    struct span name;
    struct tensor tensor;
    uint32_t part;   /* index of the file */
    uint64_t offset; /* of the data from the start of that file */
};

struct gguf_part {
    const char *path;        /* for messages */
    struct span bytes;       /* the whole file */
    struct mapped_file file; /* what `bytes` views; empty if the caller of gguf_parse owns them */
    uint64_t header_bytes;   /* up to the first byte of padding before the data */
};

struct gguf {
    bool header_only; /* the data of tensors may be missing: their pointers are all NULL */
    uint32_t n_parts;
    struct gguf_part *parts;
    uint32_t n_pairs;
    struct gguf_pair *pairs; /* in file order */
    uint32_t n_tensors;
    struct gguf_tensor *tensors; /* in file order, part by part */
    uint32_t *by_name;           /* [n_tensors] indices sorted by name */
    uint32_t *pairs_by_key;      /* [n_pairs] likewise */
    struct arena arena;
};

/* Opens the file, and with "-00001-of-0000N.gguf" at its end all parts beside it (any part may be
 * named). ERR_IO, ERR_INPUT (damaged), ERR_LIMIT, ERR_UNSUPPORTED (version, big-endian). */
enum status gguf_open(struct gguf *gguf, const char *path, struct error *err);
void gguf_close(struct gguf *gguf); /* safe on a zeroed struct */

/* Parses a file of one part that is already in memory (borrowed, 8-byte aligned, outlives gguf);
 * `path` is for messages. Tensor data may lie beyond the end only if `header_only` (then data
 * pointers are NULL). This is what the fuzz target and tests call. */
enum status gguf_parse(struct gguf *gguf, const char *path, struct span bytes, bool header_only,
                       struct error *err);

/* NULL if absent. */
const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name);

/* Typed look-ups. Absent keys leave *out alone and give OK; `required` makes absence ERR_INPUT.
 * Any integer width serves an integer key; a float key accepts f32 and f64. */
enum status gguf_get_u32(const struct gguf *gguf, const char *key, bool required, uint32_t *out,
                         struct error *err);
enum status gguf_get_f32(const struct gguf *gguf, const char *key, bool required, float *out,
                         struct error *err);
enum status gguf_get_bool(const struct gguf *gguf, const char *key, bool *out, struct error *err);
enum status gguf_get_string(const struct gguf *gguf, const char *key, bool required,
                            struct span *out, struct error *err);

/* Walks an array of strings once, in order: O(n) for the whole array. Start from zero. */
struct gguf_strings {
    struct span rest;
    uint64_t n_left;
};
enum status gguf_get_strings(const struct gguf *gguf, const char *key, struct gguf_strings *out,
                             struct error *err); /* ERR_INPUT: absent or of another type */
bool gguf_strings_next(struct gguf_strings *strings, struct span *out);

/* Element i (< n) of an array of integers or bools, widened. */
int64_t gguf_array_int(const struct gguf_value *array, uint64_t i);

/* XXH3-64 over the headers of all parts: identifies the file without reading its weights. */
uint64_t gguf_header_hash(const struct gguf *gguf);

const char *gguf_type_name(enum gguf_type type); /* "u8" ... "string", "array" */

#endif
