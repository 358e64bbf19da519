/* SPDX-License-Identifier: Apache-2.0 */
/* A tile: 16 rows by up to 256 columns of a quantised matrix, unpacked for the fast products.
 *
 * Everything lies so that one register holds the same columns of 16 rows, lane = row:
 *
 *     q     [columns / 4][16 rows][4 columns]   q[e] + bias, or q[e] with its sign (tile_bias)
 *     scale [columns / sub][16 rows]
 *     min   [columns / sub][16 rows]            types with minima only
 *
 * Then a product needs no sum across lanes: four columns of one token, broadcast, meet 16 rows.
 * The readers (*_simd.h of each family) find the packed bytes of 16 rows side by side already
 * (tensor/panels.h) and only take them apart. A tile is 6 KiB and stays in the first-level
 * cache. */
#ifndef SHOAL_KERNELS_QUANT_TILE_H
#define SHOAL_KERNELS_QUANT_TILE_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/quant/unpack.h"

#define TILE_ROWS    16
#define TILE_COLUMNS 256

struct weight_tile {
    alignas(64) uint8_t q[TILE_COLUMNS / 4][TILE_ROWS * 4];
    alignas(64) float scale[QUANT_SUBS_MAX][TILE_ROWS];
    alignas(64) float min[QUANT_SUBS_MAX][TILE_ROWS];
};

/* Types with more than 7 bits. The bytes of AVX2's product saturate with them, so there they keep
 * their sign and the sign moves to the activations; VNNI takes them plus 128. */
static inline bool quant_is_wide(struct quant_traits t) {
    return t.q_max - t.q_min > 127;
}

#endif
