/* SPDX-License-Identifier: Apache-2.0 */
/* How the sum over K (the columns) of a matrix product is cut, so that it has the same bits on
 * every layout of ranks.
 *
 * A column-parallel product (qkv, gate, up, router, head) is one part: one sum over all columns.
 * A row-parallel product (out and down projections) is cut into 8 parts, whatever the number of
 * ranks. A part is a run of whole units: attention heads, key-head groups of a delta net, runs
 * of 256 of an FFN width. With U units part i holds units floor(iU/8) .. floor((i+1)U/8)-1 and
 * may be empty; an empty part is skipped, not added as zero. Sums inside a part go over its runs
 * in order of columns; parts are added by the tree
 *
 *     ((p0+p1)+(p2+p3)) + ((p4+p5)+(p6+p7))
 *
 * so that a rank which owns a whole subtree may send its root. Units that share a block of the
 * matrix's dtype count as one. Source: docs/architecture.md, "The same bits everywhere". */
#ifndef SHOAL_TENSOR_KSPLIT_H
#define SHOAL_TENSOR_KSPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

#define KSPLIT_PARTS 8

struct krun {
    uint32_t begin,
        end; /* columns; multiples of 32 and of the dtype's block, unless the end of K */
};

struct ksplit {
    uint32_t n_parts; /* 1 or KSPLIT_PARTS */
    uint32_t
        part_begin[KSPLIT_PARTS + 1]; /* part p is runs[part_begin[p]] .. [part_begin[p+1]-1] */
    const struct krun *runs;          /* in the arena given to init */
};

/* One part: all of 0..d_in-1. */
enum status ksplit_init_whole(struct ksplit *split, uint32_t d_in, struct arena *arena,
                              struct error *err);

/* Eight parts. Unit u owns the columns [k*stride + u*width, + width) for k = 0 .. n_repeats-1:
 *   attention heads, FFN runs: n_units * width = d_in, n_repeats 1
 *   delta net, tiled order (value head p uses key head p mod K): n_units K, width d_v,
 *       n_repeats r, stride K*d_v
 * `block` is the dtype's block in elements (1 counts as 32). If d_in is no multiple of the unit
 * width the last unit is short. ERR_NOMEM. */
struct ksplit_units {
    uint32_t d_in;
    uint32_t width;
    uint32_t n_units;
    uint32_t n_repeats;
    uint32_t stride; /* unused if n_repeats is 1 */
    uint32_t block;
};
enum status ksplit_init_units(struct ksplit *split, const struct ksplit_units *units,
                              struct arena *arena, struct error *err);

static inline bool ksplit_part_empty(const struct ksplit *split, uint32_t part) {
    return split->part_begin[part] == split->part_begin[part + 1];
}

/* Only the parts begin .. end-1, the others empty: a product over some of the columns. The runs
 * stay those of `split`. */
static inline struct ksplit ksplit_some(const struct ksplit *split, uint32_t begin, uint32_t end) {
    struct ksplit some = *split;
    uint32_t first = split->part_begin[begin], last = split->part_begin[end];
    for (uint32_t p = 0; p <= KSPLIT_PARTS; p++) {
        uint32_t at = split->part_begin[p];
        some.part_begin[p] = at < first ? first : at > last ? last : at;
    }
    return some;
}

/* Adds the parts by the tree; `parts` are the sums of the non-empty ones, at their index. At least
 * one part must not be empty. */
static inline float ksplit_combine(const struct ksplit *split, const float parts[KSPLIT_PARTS]) {
    if (split->n_parts == 1)
        return parts[0];
    float sum[KSPLIT_PARTS];
    bool full[KSPLIT_PARTS];
    for (uint32_t p = 0; p < KSPLIT_PARTS; p++) {
        sum[p] = parts[p];
        full[p] = !ksplit_part_empty(split, p);
    }
    for (uint32_t n = KSPLIT_PARTS / 2; n >= 1; n /= 2) {
        for (uint32_t p = 0; p < n; p++) {
            bool left = full[2 * p], right = full[2 * p + 1];
            float l = sum[2 * p], r = sum[2 * p + 1];
            sum[p] = left && right ? l + r : left ? l : r;
            full[p] = left || right;
        }
    }
    return sum[0];
}

#endif
