/* SPDX-License-Identifier: Apache-2.0 */
/* A matrix in panels: the layout in which fast kernels read quantised weights from memory.
 *
 * A panel is 16 rows. Its blocks are cut into words of four bytes, and the same word of all 16 rows
 * lies together, so that one 64-byte load fetches what 16 rows hold at one place:
 *
 *     panel -> words [d_in / block_elements][n_words][16 rows][4 bytes]
 *              heads [d_in / block_elements][16 rows][head_bytes]
 *              padding up to a multiple of 64 bytes
 *
 * Eight indices of IQ3, two words, are dealt: the first word of a panel takes those at even places,
 * the second those at odd ones, so that byte j of both belongs to byte j of the signs.
 *
 * The head is the scale that keeps a block from being whole words (two bytes, one for MXFP4): at
 * the front of most types, at the end of Q3_K and Q6_K. It stays out of the words so that every
 * load of them is aligned. Apart from the padding a panel has the bytes of its rows, only in
 * another order; rows that the last panel lacks are zeros. F32, F16 and BF16 stay in rows: their
 * kernels sum along columns, and a row is a stream already.
 *
 * Pure arithmetic; any thread. */
#ifndef SHOAL_TENSOR_PANELS_H
#define SHOAL_TENSOR_PANELS_H

#include <stdint.h>

#include "tensor/dtype.h"
#include "tensor/tensor.h"

#define PANEL_ROWS      16
#define PANEL_ALIGNMENT 64

/* A block of a quantised type as words and head. */
struct panel_format {
    uint32_t n_words;     /* of four bytes */
    uint32_t head_bytes;  /* 0, 1 or 2 */
    uint32_t head_offset; /* in the block: 0, or behind the words */
    uint32_t word_offset; /* in the block: where the first word begins */
    uint32_t n_dealt;     /* the first so many words are dealt two by two */
};

/* A quantised dtype below DTYPE_N_COMPUTE. */
struct panel_format panel_format(enum dtype dtype);

/* From one panel to the next. d_in a multiple of the block. */
uint64_t panel_bytes(enum dtype dtype, uint32_t d_in);

/* Where the heads begin in a panel. */
uint64_t panel_heads_offset(enum dtype dtype, uint32_t d_in);

static inline uint32_t panel_count(uint32_t d_out) {
    return (d_out + PANEL_ROWS - 1) / PANEL_ROWS;
}

/* Rows begin .. end-1 of a matrix, as a matrix; begin a multiple of PANEL_ROWS if it is in panels.
 */
struct matrix matrix_rows(const struct matrix *matrix, uint32_t begin, uint32_t end);

/* The rows of a panel (n_rows 1..16, each row_bytes long and row_bytes apart) to `panel`, and back
 * for one row (row_idx 0..15). */
struct panel_rows {
    enum dtype dtype;
    uint32_t d_in;
    uint32_t n_rows;
    uint64_t row_bytes;
};
void panel_pack(const struct panel_rows *shape, const void *rows, void *panel);
void panel_unpack_row(const struct panel_rows *shape, const void *panel, uint32_t row_idx,
                      void *row);

#endif
