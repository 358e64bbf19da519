/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader of a quantised type gives: four columns of 16 rows at a time, in a register.
 *
 * A type has two readers, inlined into every loop that uses them (tiles, single-token products), so
 * that unpacked weights need not pass through memory:
 *
 *     x_scales(words, heads, scale, min)   of one block: scale[sub-blocks][16 rows], min likewise
 *     x_columns(words, unit, put, to)      put(to, group, q) for each group of four columns of one
 *                                          unit of the block, counted from the unit's first column
 *
 * A unit is the fewest whole runs of 32 columns that can be read together: 32, 64 or 128, after how
 * the type packs them. `words` and `heads` are those of the block (tensor/panels.h). Lane = row;
 * byte i of a lane is column 4 group + i, q plus the bias of the type (tile_bias). Where the bytes
 * of a register are slots of several columns each, they are put as they are, columns apart
 * (block_columns_apart): of the run group / 8 byte i is column group % 8 + 8 i, and groups come in
 * order. A sum over a run's columns does not care which four of them meet. */
#ifndef SHOAL_KERNELS_QUANT_COLUMNS_H
#define SHOAL_KERNELS_QUANT_COLUMNS_H

#include <stddef.h>

#include "kernels/device/simd.h"

/* A reader is compiled into its loop: its branches and indices must be gone. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Loops over the groups of a unit, whose sums are meant to stay in registers. */
#define UNROLL _Pragma("GCC unroll 16")

/* How far ahead of the words in use memory is asked for the next ones. A panel is one stream, but
 * a core that computes between its loads does not keep the machine's own prefetchers busy. (Q4_K,
 * one token, one core of a Sapphire Rapids that reads 17 GB/s: 7.4 -> 12 GB/s.) */
#define WORDS_AHEAD 4096

/* Into which cache they come. The second is enough where memory bounds a type (Q5_K is 6 % faster
 * than with the first); where arithmetic does, there is no time to wait even for that (IQ3_S and
 * IQ3_XXS are 4 % faster with the first). */
enum ahead_cache { AHEAD_FIRST_CACHE, AHEAD_SECOND_CACHE };

/* Asks for one of n_shares of a block's words, in the order of addresses, whatever that of the
 * reader: so the machine's prefetchers see a stream. Nothing is read through the address, it may
 * lie behind the matrix. (Were it a call, gcc would drop it: it has no effect that gcc knows.) */
static ALWAYS_INLINE void words_ahead(const uint8_t *words, size_t words_bytes, unsigned share,
                                      unsigned n_shares, enum ahead_cache cache) {
    const size_t n_lines = (words_bytes / 64 + n_shares - 1) / n_shares;
    const uintptr_t first = (uintptr_t)words + WORDS_AHEAD + share * n_lines * 64;
    for (size_t i = 0; i < n_lines; i++) {
        if (cache == AHEAD_FIRST_CACHE)
            _mm_prefetch((const char *)(first + 64 * i), _MM_HINT_T0);
        else
            _mm_prefetch((const char *)(first + 64 * i), _MM_HINT_T1);
    }
}

typedef void column_put(void *to, unsigned group, i32x16 q);

#endif
