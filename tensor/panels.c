/* SPDX-License-Identifier: Apache-2.0 */
/* Words are moved as they are, whatever they mean, but for those that are dealt: one loop serves
 * every type, and a panel read back is its rows byte for byte. */
#include "tensor/panels.h"

#include "base/size.h"

#include <assert.h>
#include <string.h>

#define WORD_BYTES 4u

struct panel_format panel_format(enum dtype dtype) {
    assert(dtype < DTYPE_N_COMPUTE && dtype_is_quantised(dtype));
    uint32_t block_bytes = dtype_info(dtype)->block_bytes;
    struct panel_format f = {.n_words = block_bytes / WORD_BYTES,
                             .head_bytes = block_bytes % WORD_BYTES};
    if (dtype == DTYPE_Q3_K || dtype == DTYPE_Q6_K)
        f.head_offset = f.n_words * WORD_BYTES;
    else
        f.word_offset = f.head_bytes;
    if (dtype == DTYPE_IQ3_XXS || dtype == DTYPE_IQ3_S)
        f.n_dealt = 16;
    return f;
}

uint64_t panel_bytes(enum dtype dtype, uint32_t d_in) {
    return align_up(PANEL_ROWS * dtype_row_bytes(dtype, d_in), PANEL_ALIGNMENT);
}

uint64_t panel_heads_offset(enum dtype dtype, uint32_t d_in) {
    uint64_t n_blocks = d_in / dtype_info(dtype)->block_elements;
    return n_blocks * panel_format(dtype).n_words * WORD_BYTES * PANEL_ROWS;
}

struct matrix matrix_rows(const struct matrix *matrix, uint32_t begin, uint32_t end) {
    struct matrix rows = *matrix;
    bool in_panels = matrix->layout == MATRIX_PANELS;
    assert(begin <= end && end <= matrix->d_out && (!in_panels || begin % PANEL_ROWS == 0));
    rows.d_out = end - begin;
    if (begin > 0) /* a matrix without rows has no data */
        rows.data = (const unsigned char *)matrix->data +
                    (in_panels ? begin / PANEL_ROWS * panel_bytes(matrix->dtype, matrix->d_in)
                               : begin * matrix->row_bytes);
    return rows;
}

/* The bits of the mask change places with those n above. */
static uint64_t swap_bits(uint64_t x, uint64_t mask, unsigned n) {
    uint64_t t = (x ^ x >> n) & mask;
    return x ^ t ^ t << n;
}

/* The bytes of two words: those at even places before those at odd ones, and back. Both steps swap
 * the same places whichever end of a number is stored first. */
static uint64_t deal(uint64_t bytes) {
    return swap_bits(swap_bits(bytes, 0x0000ff000000ff00, 8), 0xffff0000, 16);
}

static uint64_t collect(uint64_t bytes) {
    return swap_bits(swap_bits(bytes, 0xffff0000, 16), 0x0000ff000000ff00, 8);
}

/* A compiler turns the copies of constant size into single moves. */
static void pack_block(const struct panel_format *f, const unsigned char *block, uint64_t row_bytes,
                       uint32_t n_rows, unsigned char *words, unsigned char *heads) {
    for (uint32_t w = 0; w < f->n_dealt; w += 2) {
        for (uint32_t r = 0; r < n_rows; r++) {
            unsigned char *to = words + (w * PANEL_ROWS + r) * WORD_BYTES;
            uint64_t two;
            memcpy(&two, block + r * row_bytes + f->word_offset + w * WORD_BYTES, sizeof two);
            two = deal(two);
            memcpy(to, &two, WORD_BYTES);
            memcpy(to + PANEL_ROWS * WORD_BYTES, (unsigned char *)&two + WORD_BYTES, WORD_BYTES);
        }
    }
    for (uint32_t w = f->n_dealt; w < f->n_words; w++) {
        const unsigned char *from = block + f->word_offset + w * WORD_BYTES;
        for (uint32_t r = 0; r < n_rows; r++)
            memcpy(words + (w * PANEL_ROWS + r) * WORD_BYTES, from + r * row_bytes, WORD_BYTES);
    }
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t i = 0; i < f->head_bytes; i++)
            heads[r * f->head_bytes + i] = block[r * row_bytes + f->head_offset + i];
    }
}

void panel_pack(const struct panel_rows *shape, const void *rows, void *panel) {
    const struct panel_format f = panel_format(shape->dtype);
    const struct dtype_info *info = dtype_info(shape->dtype);
    uint32_t n_blocks = shape->d_in / info->block_elements;
    unsigned char *heads = (unsigned char *)panel + panel_heads_offset(shape->dtype, shape->d_in);
    assert(shape->n_rows >= 1 && shape->n_rows <= PANEL_ROWS);
    if (shape->n_rows < PANEL_ROWS)
        memset(panel, 0, panel_bytes(shape->dtype, shape->d_in));
    for (uint32_t b = 0; b < n_blocks; b++) {
        const unsigned char *block = (const unsigned char *)rows + (size_t)b * info->block_bytes;
        unsigned char *words =
            (unsigned char *)panel + (size_t)b * f.n_words * WORD_BYTES * PANEL_ROWS;
        unsigned char *block_heads = heads + (size_t)b * f.head_bytes * PANEL_ROWS;
        if (shape->n_rows == PANEL_ROWS)
            pack_block(&f, block, shape->row_bytes, PANEL_ROWS, words, block_heads);
        else
            pack_block(&f, block, shape->row_bytes, shape->n_rows, words, block_heads);
    }
}

void panel_unpack_row(const struct panel_rows *shape, const void *panel, uint32_t row_idx,
                      void *row) {
    const struct panel_format f = panel_format(shape->dtype);
    const struct dtype_info *info = dtype_info(shape->dtype);
    uint32_t n_blocks = shape->d_in / info->block_elements;
    const unsigned char *words = panel;
    const unsigned char *heads = words + panel_heads_offset(shape->dtype, shape->d_in);
    assert(row_idx < PANEL_ROWS);
    for (uint32_t b = 0; b < n_blocks; b++) {
        unsigned char *block = (unsigned char *)row + (size_t)b * info->block_bytes;
        for (uint32_t w = 0; w < f.n_words; w++) {
            size_t word = ((size_t)b * f.n_words + w) * PANEL_ROWS + row_idx;
            memcpy(block + f.word_offset + w * WORD_BYTES, words + word * WORD_BYTES, WORD_BYTES);
        }
        for (uint32_t w = 0; w < f.n_dealt; w += 2) {
            unsigned char *at = block + f.word_offset + w * WORD_BYTES;
            uint64_t two;
            memcpy(&two, at, sizeof two);
            two = collect(two);
            memcpy(at, &two, sizeof two);
        }
        size_t head = ((size_t)b * PANEL_ROWS + row_idx) * f.head_bytes;
        memcpy(block + f.head_offset, heads + head, f.head_bytes);
    }
}
