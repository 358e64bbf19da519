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
 * byte i of a lane is column 4 group + i, q plus the bias of the type (tile_bias). */
#ifndef SHOAL_KERNELS_QUANT_COLUMNS_H
#define SHOAL_KERNELS_QUANT_COLUMNS_H

#include "kernels/device/simd.h"

/* A reader is compiled into its loop: its branches and indices must be gone. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Loops over the groups of a unit, whose sums are meant to stay in registers. */
#define UNROLL _Pragma("GCC unroll 16")

typedef void column_put(void *to, unsigned group, i32x16 q);

#endif
