/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a panel with quantised weights: read a tile, multiply all tokens with it, next. */
#ifndef SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H
#define SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H

#include <string.h>

#include "base/size.h"
#include "kernels/matmul/gemv_simd.h"
#include "kernels/matmul/panel.h"

/* One token without a tile; false if the type needs one. */
static bool gemv_panels(const struct matrix *w, const struct ksplit *split, uint32_t part,
                        uint32_t panel, uint32_t n_panels, struct panel_scratch *scratch) {
    for (uint32_t i = 0; i < n_panels; i++) {
        if (!gemv_part(w, split, part, panel + i, scratch->x[0], scratch->parts[i][part][0]))
            return false;
    }
    return true;
}

/* parts[i][part][token][row] of the scratch for the pass's tokens and panels panel + i. */
static void quantised_part(const struct matrix *w, const struct ksplit *split, uint32_t part,
                           uint32_t panel, uint32_t n_panels, uint32_t n_tokens,
                           struct panel_scratch *scratch) {
    if (n_tokens == 1 && gemv_panels(w, split, part, panel, n_panels, scratch))
        return;
    const struct quant_traits traits = quant_traits(w->dtype);
    struct tile_dot d = {.tiles = scratch->tiles,
                         .n_tiles = n_panels,
                         .x = (const struct act_block *const *)scratch->x,
                         .bias = tile_bias(traits)};
    tile_dot_fn *dot = tile_dot_choose(traits);
    struct panel_place first[PANELS_TOGETHER];
    for (uint32_t i = 0; i < n_panels; i++) {
        first[i] = panel_place(w, panel + i);
        d.sum[i] = scratch->parts[i][part];
        memset(d.sum[i], 0, n_tokens * sizeof *d.sum[i]);
    }
    const size_t tile_bytes = TILE_COLUMNS / first[0].block * first[0].words_each;
    d.ahead_lines = (uint32_t)div_up(tile_bytes / 64, TILE_COLUMNS / ACT_BLOCK);
    for (uint32_t r = split->part_begin[part]; r < split->part_begin[part + 1]; r++) {
        const struct krun run = split->runs[r];
        for (uint32_t c = run.begin; c < run.end; c += TILE_COLUMNS) {
            uint32_t end = run.end - c < TILE_COLUMNS ? run.end : c + TILE_COLUMNS;
            for (uint32_t i = 0; i < n_panels; i++) {
                const struct panel_place at = panel_at(&first[i], c);
                tile_read(w->dtype, at.words, at.heads, end - c, &scratch->tiles[i]);
                d.ahead[i] = at.words + tile_bytes + WORDS_AHEAD;
            }
            d.first_block = c / ACT_BLOCK;
            d.n_blocks = (end - c) / ACT_BLOCK;
            dot(d, n_tokens);
        }
    }
}

#endif
