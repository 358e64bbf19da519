/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a panel with F32, F16 or BF16 weights. Lane l of 16 sums the columns with
 * i mod 16 = l; a few rows meet a few tokens so that each load serves several products. */
#ifndef SHOAL_KERNELS_MATMUL_FLOATS_SIMD_H
#define SHOAL_KERNELS_MATMUL_FLOATS_SIMD_H

#include <assert.h>
#include <string.h>

#include "kernels/device/simd.h"
#include "kernels/matmul/panel.h"
#include "kernels/matmul/tile_dot.h"

/* Rows and tokens of a register block: the sums take 24 of 32 registers, or (two each) 8 of 16. A
 * single token reads four rows at once on any machine, as streams from memory. */
#define FLOAT_ROWS_MAX 4
#if SIMD_AVX512
#define FLOAT_ROWS   4
#define FLOAT_TOKENS 6
#else
#define FLOAT_ROWS   2
#define FLOAT_TOKENS 2
#endif
#define FLOAT_SUMS (FLOAT_ROWS * FLOAT_TOKENS)

static ALWAYS_INLINE f32x16 load_weights(enum dtype dtype, const uint8_t *row, size_t column) {
    if (dtype == DTYPE_F32)
        return f32x16_load((const float *)(const void *)(row + 4 * column));
    const uint16_t *p = (const uint16_t *)(const void *)(row + 2 * column);
    return dtype == DTYPE_F16 ? f32x16_load_f16(p) : f32x16_load_bf16(p);
}

/* The columns column .. end - 1, fewer than 16, then zeros. */
static ALWAYS_INLINE f32x16 load_weights_tail(enum dtype dtype, const uint8_t *row, size_t column,
                                              uint32_t end) {
    uint8_t padded[64] = {0};
    size_t bytes = dtype == DTYPE_F32 ? 4 : 2;
    memcpy(padded, row + column * bytes, (end - column) * bytes);
    return load_weights(dtype, padded, 0);
}

static ALWAYS_INLINE f32x16 load_tail(const float *x, size_t column, uint32_t end) {
    float padded[16] = {0};
    memcpy(padded, x + column, (end - column) * sizeof *x);
    return f32x16_load(padded);
}

/* The rows and tokens of one register block. */
struct float_block {
    const uint8_t *w[FLOAT_ROWS_MAX];
    uint64_t ahead; /* bytes from a row to the same row of the next block */
    const float *x[FLOAT_TOKENS];
};

/* Asks for the place in the next block's row while this row is at work, a line at a time; the
 * address may lie behind the matrix, nothing is read through it. One token is as fast as memory:
 * BF16, one core of a Sapphire Rapids that reads 17 GB/s, 12.8 -> 15.6 GB/s (2 to 8 KiB ahead in
 * the order of addresses: at most 14.1). */
static ALWAYS_INLINE void prefetch_weights(enum dtype dtype, const struct float_block *b,
                                           unsigned row, size_t column) {
    size_t per_line = dtype == DTYPE_F32 ? 16 : 32;
    if (column % per_line == 0)
        _mm_prefetch((const char *)((uintptr_t)b->w[row] + b->ahead + column * (64 / per_line)),
                     _MM_HINT_T0);
}

/* sum[token][row] of n_tokens and n_rows. */
static ALWAYS_INLINE void float_block_run(const struct float_block *b, enum dtype dtype,
                                          const struct krun run, unsigned n_rows, unsigned n_tokens,
                                          f32x16 sum[FLOAT_SUMS]) {
    f32x16 w[FLOAT_ROWS_MAX];
    size_t i = run.begin;
    for (; i + 16 <= run.end; i += 16) {
        for (unsigned r = 0; r < n_rows; r++) {
            if (n_tokens == 1)
                prefetch_weights(dtype, b, r, i);
            w[r] = load_weights(dtype, b->w[r], i);
        }
        for (unsigned t = 0; t < n_tokens; t++) {
            f32x16 x = f32x16_load(b->x[t] + i);
            for (unsigned r = 0; r < n_rows; r++)
                sum[t * n_rows + r] = f32x16_fma(w[r], x, sum[t * n_rows + r]);
        }
    }
    if (i == run.end)
        return;
    for (unsigned r = 0; r < n_rows; r++)
        w[r] = load_weights_tail(dtype, b->w[r], i, run.end);
    for (unsigned t = 0; t < n_tokens; t++) {
        f32x16 x = load_tail(b->x[t], i, run.end);
        for (unsigned r = 0; r < n_rows; r++)
            sum[t * n_rows + r] = f32x16_fma(w[r], x, sum[t * n_rows + r]);
    }
}

/* out[token][row] for n_rows rows from `first_row` of the panel and n_tokens tokens. */
static ALWAYS_INLINE void float_block_part(const struct float_block *b, enum dtype dtype,
                                           const struct ksplit *split, uint32_t part,
                                           unsigned n_rows, unsigned n_tokens, uint32_t first_row,
                                           float (*out)[PANEL_ROWS]) {
    f32x16 sum[FLOAT_SUMS];
    for (unsigned i = 0; i < n_rows * n_tokens; i++)
        sum[i] = f32x16_zero();
    for (uint32_t r = split->part_begin[part]; r < split->part_begin[part + 1]; r++)
        float_block_run(b, dtype, split->runs[r], n_rows, n_tokens, sum);
    for (unsigned i = 0; i < n_rows * n_tokens; i += 4) { /* 4 rows, or 2 rows of 2 tokens */
        float four[4];
        _mm_storeu_ps(four, f32x16_sum4(sum[i], sum[i + 1], sum[i + 2], sum[i + 3]));
        for (unsigned j = 0; j < 4; j += n_rows)
            memcpy(&out[(i + j) / n_rows][first_row], four + j, n_rows * sizeof *four);
    }
}

/* 1 to FLOAT_TOKENS tokens. */
static ALWAYS_INLINE void float_block_tokens(const struct float_block *b, enum dtype dtype,
                                             const struct ksplit *split, uint32_t part,
                                             uint32_t n_tokens, uint32_t first_row,
                                             float (*out)[PANEL_ROWS]) {
    switch (n_tokens) {
    case 1:
        return float_block_part(b, dtype, split, part, FLOAT_ROWS_MAX, 1, first_row, out);
    case 2:
        return float_block_part(b, dtype, split, part, FLOAT_ROWS, 2, first_row, out);
#if SIMD_AVX512
    case 3:
        return float_block_part(b, dtype, split, part, FLOAT_ROWS, 3, first_row, out);
    case 4:
        return float_block_part(b, dtype, split, part, FLOAT_ROWS, 4, first_row, out);
    case 5:
        return float_block_part(b, dtype, split, part, FLOAT_ROWS, 5, first_row, out);
    case 6:
        return float_block_part(b, dtype, split, part, FLOAT_ROWS, 6, first_row, out);
#endif
    default:
        assert(!"a number of tokens that fits the registers");
    }
}

/* out[token][row] for the tokens of x; rows the matrix lacks repeat its last. */
static ALWAYS_INLINE void float_part_of(enum dtype dtype, const struct matrix *w,
                                        const struct ksplit *split, uint32_t part, uint32_t panel,
                                        const void *const *x, uint32_t n_tokens,
                                        float (*out)[PANEL_ROWS]) {
    struct float_block b;
    for (uint32_t t = 0, n; t < n_tokens; t += n) {
        n = token_group(n_tokens - t, FLOAT_TOKENS);
        for (uint32_t j = 0; j < n; j++)
            b.x[j] = x[t + j];
        const uint32_t n_rows = n == 1 ? FLOAT_ROWS_MAX : FLOAT_ROWS;
        b.ahead = n_rows * w->row_bytes;
        for (uint32_t first = 0; first < PANEL_ROWS; first += n_rows) {
            for (uint32_t r = 0; r < n_rows; r++) {
                uint32_t row = panel * PANEL_ROWS + first + r;
                row = row < w->d_out ? row : w->d_out - 1;
                b.w[r] = (const uint8_t *)w->data + (size_t)row * w->row_bytes;
            }
            float_block_tokens(&b, dtype, split, part, n, first, out + t);
        }
    }
}

static void float_part(const struct matrix *w, const struct ksplit *split, uint32_t part,
                       uint32_t panel, const void *const *x, uint32_t n_tokens,
                       float (*out)[PANEL_ROWS]) {
    if (w->dtype == DTYPE_F32)
        float_part_of(DTYPE_F32, w, split, part, panel, x, n_tokens, out);
    else if (w->dtype == DTYPE_F16)
        float_part_of(DTYPE_F16, w, split, part, panel, x, n_tokens, out);
    else
        float_part_of(DTYPE_BF16, w, split, part, panel, x, n_tokens, out);
}

#endif
