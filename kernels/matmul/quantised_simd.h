/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a panel with quantised weights: read a tile, multiply all tokens with it, next. */
#ifndef SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H
#define SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H

#include <string.h>

#include "kernels/matmul/panel.h"
#include "kernels/matmul/tile_dot_choose_simd.h"
#include "kernels/quant/tile_simd.h"

/* The columns begin .. end - 1 of the panel's rows; its first row begins at `rows`. */
static void quantised_tile(const struct matrix *w, const uint8_t *rows, uint32_t n_rows,
                           uint32_t begin, uint32_t end, struct panel_scratch *scratch) {
    const struct dtype_info *info = dtype_info(w->dtype);
    const uint8_t *blocks = rows + (size_t)(begin / info->block_elements) * info->block_bytes;
    size_t stride = w->row_bytes;
    if (n_rows < PANEL_ROWS) { /* readers want 16 rows: the last one stands in for the others */
        size_t bytes = (size_t)(end - begin) / info->block_elements * info->block_bytes;
        for (uint32_t r = 0; r < PANEL_ROWS; r++)
            memcpy(scratch->stage[r], blocks + (r < n_rows ? r : n_rows - 1) * stride, bytes);
        blocks = scratch->stage[0];
        stride = sizeof scratch->stage[0];
    }
    tile_read(w->dtype, blocks, stride, end - begin, &scratch->tile);
}

/* scratch->parts[part][token][row] for the pass's tokens. */
static void quantised_part(const struct matrix *w, const struct ksplit *split, uint32_t part,
                           uint32_t panel, uint32_t n_tokens, struct panel_scratch *scratch) {
    const struct quant_traits traits = quant_traits(w->dtype);
    const uint8_t *rows = (const uint8_t *)w->data + (size_t)panel * PANEL_ROWS * w->row_bytes;
    uint32_t n_rows = w->d_out - panel * PANEL_ROWS;
    tile_dot_fn *dot = tile_dot_choose(traits);
    float(*sum)[PANEL_ROWS] = scratch->parts[part];
    memset(sum, 0, n_tokens * sizeof *sum);
    for (uint32_t r = split->part_begin[part]; r < split->part_begin[part + 1]; r++) {
        const struct krun run = split->runs[r];
        for (uint32_t c = run.begin; c < run.end; c += TILE_COLUMNS) {
            uint32_t end = run.end - c < TILE_COLUMNS ? run.end : c + TILE_COLUMNS;
            quantised_tile(w, rows, n_rows, c, end, scratch);
            dot((struct tile_dot){.tile = &scratch->tile,
                                  .x = (const struct act_block *const *)scratch->x,
                                  .first_block = c / ACT_BLOCK,
                                  .sum = sum,
                                  .n_blocks = (end - c) / ACT_BLOCK,
                                  .bias = tile_bias(traits)},
                n_tokens);
        }
    }
}

#endif
