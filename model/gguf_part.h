/* SPDX-License-Identifier: Apache-2.0 */
/* The header of one GGUF file in memory, read into tables of views. Internal to model/gguf: it
 * knows bytes, limits and offsets, and nothing of other parts. */
#ifndef SHOAL_MODEL_GGUF_PART_H
#define SHOAL_MODEL_GGUF_PART_H

#include "model/gguf.h"

/* Numbers in a file have any alignment. */
static inline uint64_t gguf_little_endian(const char *data, size_t n) {
    uint64_t out = 0;
    for (size_t i = 0; i < n; i++)
        out |= (uint64_t)(unsigned char)data[i] << (8 * i);
    return out;
}

/* Of any width: writers differ. */
static inline bool gguf_is_integer(enum gguf_type type) {
    return type <= GGUF_I32 || type == GGUF_U64 || type == GGUF_I64;
}

/* The order of both indices: as memcmp, a name before its extensions. Names are never empty. */
static inline int gguf_name_order(struct span a, struct span b) {
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct gguf_part_tables {
    uint32_t n_pairs;
    struct gguf_pair *pairs; /* in file order */
    uint32_t n_tensors;
    struct gguf_tensor *tensors; /* in file order; `part` is left 0 */
    uint64_t header_bytes;
};

/* Tables live in the arena, their spans view `bytes`. Time is linear in the header, plus
 * n log n in the number of tensors for the check of overlaps. */
enum status gguf_part_read(struct gguf_part_tables *tables, const char *path, struct span bytes,
                           bool header_only, struct arena *arena, struct error *err);

#endif
