/* SPDX-License-Identifier: Apache-2.0 */
/* The codebooks of the IQ types: an index names a group of 8 (or 4) magnitudes, packed into one
 * word with element j in byte j. Read-only data; how an index is stored is in i_quants.h. */
#ifndef SHOAL_KERNELS_QUANT_GRIDS_TABLE_H
#define SHOAL_KERNELS_QUANT_GRIDS_TABLE_H

#include <stdint.h>

extern const uint64_t iq2xxs_grid[256]; /* magnitudes 8, 25, 43 */
extern const uint64_t iq2xs_grid[512];
extern const uint64_t iq2s_grid[1024];
extern const uint32_t iq3xxs_grid[256]; /* magnitudes 4, 12, 20, 28, 36, 44, 52, 62 */
extern const uint32_t iq3s_grid[512];   /* magnitudes 1, 3, 5, .. 15 */

/* 8 * (g + 1) for g = -1, 0, 1: IQ1_S and IQ1_M shift every element by an eighth, so that eight
 * times the value is an integer. */
extern const uint64_t iq1_grid[2048];

#endif
