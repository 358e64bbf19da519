/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a panel with quantised weights: read a tile, multiply all tokens with it, next. */
#ifndef SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H
#define SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H

#include <string.h>

#include "kernels/matmul/gemv_simd.h"
#include "kernels/matmul/panel.h"

/* scratch->parts[part][token][row] for the pass's tokens. */
static void quantised_part(const struct matrix *w, const struct ksplit *split, uint32_t part,
                           uint32_t panel, uint32_t n_tokens, struct panel_scratch *scratch) {
    if (n_tokens == 1 && gemv_part(w, split, part, panel, scratch->x[0], scratch->parts[part][0]))
        return;
    const struct quant_traits traits = quant_traits(w->dtype);
    tile_dot_fn *dot = tile_dot_choose(traits);
    float(*sum)[PANEL_ROWS] = scratch->parts[part];
    memset(sum, 0, n_tokens * sizeof *sum);
    for (uint32_t r = split->part_begin[part]; r < split->part_begin[part + 1]; r++) {
        const struct krun run = split->runs[r];
        for (uint32_t c = run.begin; c < run.end; c += TILE_COLUMNS) {
            uint32_t end = run.end - c < TILE_COLUMNS ? run.end : c + TILE_COLUMNS;
            const struct panel_place at = panel_place(w, panel, c);
            tile_read(w->dtype, at.words, at.heads, end - c, &scratch->tile);
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
