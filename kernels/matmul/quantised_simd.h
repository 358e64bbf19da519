/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a panel with quantised weights: read a tile, multiply all tokens with it, next. */
#ifndef SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H
#define SHOAL_KERNELS_MATMUL_QUANTISED_SIMD_H

#include <string.h>

#include "kernels/matmul/panel.h"
#include "kernels/quant/tile_simd.h"

#if SIMD_AVX512
#include "kernels/matmul/tile_dot_avx512.h"
#else
#include "kernels/matmul/tile_dot_avx2.h"
#endif

typedef void tile_dot_fn(struct tile_dot d, uint32_t n_tokens);

/* All tokens of the pass, in groups that fit the registers. */
static ALWAYS_INLINE void tile_dot_all(struct tile_dot d, const struct tile_kind kind,
                                       uint32_t n_tokens) {
    uint32_t n_done = 0;
    while (n_done < n_tokens) {
        uint32_t left = n_tokens - n_done, n = 1;
        if (left >= TILE_DOT_TOKENS) {
            n = TILE_DOT_TOKENS;
            tile_dot_tokens(&d, kind, TILE_DOT_TOKENS);
        } else if (left >= TILE_DOT_TOKENS / 2) {
            n = TILE_DOT_TOKENS / 2;
            tile_dot_tokens(&d, kind, TILE_DOT_TOKENS / 2);
        } else {
            tile_dot_tokens(&d, kind, 1);
        }
        d.x += n;
        d.sum += n;
        d.minima += n;
        n_done += n;
    }
}

static void tile_dot_32_min(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 32, .has_min = true, .n_narrow = 4}, n_tokens);
}

static void tile_dot_16_min(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 16, .has_min = true, .n_narrow = 4}, n_tokens);
}

static void tile_dot_32(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 32, .n_narrow = 4}, n_tokens);
}

static void tile_dot_16(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 16, .n_narrow = 4}, n_tokens);
}

#if SIMD_AVX512

/* VNNI adds in 32 bits: the number of bits does not matter. */
static tile_dot_fn *tile_dot_choose(struct quant_traits t) {
    if (t.has_min)
        return t.sub == 32 ? tile_dot_32_min : tile_dot_16_min;
    return t.sub == 32 ? tile_dot_32 : tile_dot_16;
}

#else

static void tile_dot_32_wide(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 32, .wide = true, .n_narrow = 1}, n_tokens);
}

static void tile_dot_32_7bit(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 32, .n_narrow = 1}, n_tokens);
}

static void tile_dot_16_7bit(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 16, .n_narrow = 1}, n_tokens);
}

static void tile_dot_16_6bit(struct tile_dot d, uint32_t n_tokens) {
    tile_dot_all(d, (struct tile_kind){.sub = 16, .n_narrow = 2}, n_tokens);
}

/* How many results of maddubs fit 16 bits: each is two products of at most q * 127. */
static tile_dot_fn *tile_dot_choose(struct quant_traits t) {
    int n_fit = INT16_MAX / (2 * 127 * (t.q_max - t.q_min));
    if (t.has_min) { /* all of them have at most 5 bits */
        assert(n_fit >= 4);
        return t.sub == 32 ? tile_dot_32_min : tile_dot_16_min;
    }
    if (t.sub == 32)
        return quant_is_wide(t) ? tile_dot_32_wide : n_fit >= 4 ? tile_dot_32 : tile_dot_32_7bit;
    assert(!quant_is_wide(t));
    return n_fit >= 4 ? tile_dot_16 : n_fit >= 2 ? tile_dot_16_6bit : tile_dot_16_7bit;
}

#endif

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
    float(*sum)[PANEL_ROWS] = scratch->parts[part], (*minima)[PANEL_ROWS] = scratch->minima;
    memset(sum, 0, n_tokens * sizeof *sum);
    memset(minima, 0, n_tokens * sizeof *minima);
    for (uint32_t r = split->part_begin[part]; r < split->part_begin[part + 1]; r++) {
        const struct krun run = split->runs[r];
        for (uint32_t c = run.begin; c < run.end; c += TILE_COLUMNS) {
            uint32_t end = run.end - c < TILE_COLUMNS ? run.end : c + TILE_COLUMNS;
            quantised_tile(w, rows, n_rows, c, end, scratch);
            dot((struct tile_dot){.tile = &scratch->tile,
                                  .x = (const struct act_block *const *)scratch->x,
                                  .first_block = c / ACT_BLOCK,
                                  .sum = sum,
                                  .minima = minima,
                                  .n_blocks = (end - c) / ACT_BLOCK,
                                  .bias = tile_bias(traits)},
                n_tokens);
        }
    }
    if (!traits.has_min)
        return;
    for (uint32_t t = 0; t < n_tokens; t++)
        f32x16_store(sum[t], f32x16_add(f32x16_load(sum[t]), f32x16_load(minima[t])));
}

#endif
