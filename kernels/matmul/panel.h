/* SPDX-License-Identifier: Apache-2.0 */
/* A panel: 16 rows of a matrix times a list of tokens. The unit of work of all fast products:
 * matmul gives every thread a range of panels, experts a list of (expert, panel).
 *
 * The tokens are named by the rows of y they fill; several rows of y may share a row of x, as the
 * choices of one token do. A panel reads its weights once per PANEL_TOKENS tokens. */
#ifndef SHOAL_KERNELS_MATMUL_PANEL_H
#define SHOAL_KERNELS_MATMUL_PANEL_H

#include "kernels/matmul/matmul.h"
#include "kernels/quant/tile.h"
#include "tensor/panels.h"

/* Tokens whose sums are kept at once. At 128 unpacking the weights takes below a tenth of the
 * time, and the activations of one pass still fit the second-level cache. */
#define PANEL_TOKENS 128

/* Panels that meet a pass at once where a call has several: the products share the loads of
 * activations. */
#define PANELS_TOGETHER 2

struct panel_args {
    float *y;
    uint64_t y_stride;          /* in floats */
    const struct activation *x; /* d = w.d_in */
    struct matrix w;
    const struct ksplit *split;
    const uint32_t *rows; /* [n_rows] rows of y; NULL: 0..n_rows-1 */
    uint32_t n_rows;
    uint32_t rows_per_token; /* row r of y belongs to row r / rows_per_token of x */
};

/* The panels of a product on its own: every row of x has its row of y. */
static inline struct panel_args panels_of(const struct matmul_args *product) {
    return (struct panel_args){.y = product->y,
                               .y_stride = product->y_stride,
                               .x = product->x,
                               .w = *product->w,
                               .split = product->split,
                               .n_rows = product->x->n_tokens,
                               .rows_per_token = 1};
}

/* Tokens of the next group, of n_left, where the registers hold n_max: the last two groups share
 * what is left. */
static inline uint32_t token_group(uint32_t n_left, uint32_t n_max) {
    if (n_left <= n_max)
        return n_left;
    return n_left < 2 * n_max ? (n_left + 1) / 2 : n_max;
}

/* The thread's scratch of a panel. */
struct panel_scratch {
    struct weight_tile tiles[PANELS_TOGETHER];
    alignas(64) float parts[PANELS_TOGETHER][KSPLIT_PARTS][PANEL_TOKENS][PANEL_ROWS];
    const void *x[PANEL_TOKENS]; /* a token's activation blocks, or floats */
};

/* Rows 16 panel .. of y = w x for n_panels panels; the last may have fewer rows. Any thread. */
typedef void matmul_panels_fn(const struct panel_args *a, uint32_t panel, uint32_t n_panels,
                              struct panel_scratch *scratch);
matmul_panels_fn matmul_panels_avx2, matmul_panels_avx512;

#endif
