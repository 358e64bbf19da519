/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the K types (columns.h): super-blocks of 256 columns. What the bits mean stands in
 * k_quants.h; the same names and order here, places in words of four bytes.
 *
 * A word of a panel is four bytes of 16 rows, so every step works on 16 rows at once. q comes with
 * the bias of the type, -q_min, which is what the packed bits hold anyway. */
#ifndef SHOAL_KERNELS_QUANT_K_QUANTS_SIMD_H
#define SHOAL_KERNELS_QUANT_K_QUANTS_SIMD_H

#include "kernels/quant/columns.h"
#include "kernels/quant/k_quants.h"
#include "kernels/quant/rows_simd.h"

#define LOW_NIBBLES 0x0f0f0f0f

/* The word of a block that begins with a field; the types here have their words first. */
#define WORD_OF(block, field) ((unsigned)(offsetof(struct block, field) / 4))

static inline f32x16 negated(f32x16 a) {
    return f32x16_mul(a, f32x16_set1(-1.0f));
}

static ALWAYS_INLINE void q2_k_panel_scales(const uint8_t *words, float (*scale)[16],
                                            float (*min)[16]) {
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    i32x16 halves = rows_word(words, WORD_OF(block_q2_k, d)); /* d, dmin */
    f32x16 d = rows_low_halves(halves), dmin = negated(rows_low_halves(rows_shr(halves, 16)));
    for (unsigned c = 0; c < 4; c++) {
        i32x16 both = rows_word(words, WORD_OF(block_q2_k, scales) + c);
        rows_scale_bytes(rows_and(both, nibbles), 0, d, scale + 4 * c);
        rows_scale_bytes(rows_and(rows_shr(both, 4), nibbles), 0, dmin, min + 4 * c);
    }
}

/* 128 columns: bits 2j and 2j + 1 of byte l are column 32j + l. */
static ALWAYS_INLINE void q2_k_columns(const uint8_t *words, unsigned unit, column_put *put,
                                       void *to) {
    UNROLL for (unsigned c = 0; c < 8; c++) {
        i32x16 v = rows_word(words, WORD_OF(block_q2_k, qs) + 8 * unit + c);
        UNROLL for (unsigned j = 0; j < 4; j++) put(to, 8 * j + c, rows_move_bits(v, 2 * j, 0, 2));
    }
}

static ALWAYS_INLINE void q3_k_panel_scales(const uint8_t *words, const uint8_t *heads,
                                            float (*scale)[16]) {
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    const unsigned first = WORD_OF(block_q3_k, scales);
    i32x16 a = rows_word(words, first), b = rows_word(words, first + 1);
    i32x16 high = rows_word(words, first + 2);
    i32x16 low[4] = {rows_and(a, nibbles), rows_and(b, nibbles), rows_and(rows_shr(a, 4), nibbles),
                     rows_and(rows_shr(b, 4), nibbles)};
    f32x16 d = rows_heads(heads);
    for (int c = 0; c < 4; c++)
        rows_scale_bytes(rows_or(low[c], rows_shifted_bits(high, 4 - 2 * c, 0x30303030)), 32, d,
                         scale + 4 * c);
}

/* 128 columns: as in Q2_K, and bit 4 unit + j of byte l of hmask is the third bit. */
static ALWAYS_INLINE void q3_k_columns(const uint8_t *words, unsigned unit, column_put *put,
                                       void *to) {
    UNROLL for (unsigned c = 0; c < 8; c++) {
        i32x16 v = rows_word(words, WORD_OF(block_q3_k, qs) + 8 * unit + c);
        i32x16 high = rows_word(words, WORD_OF(block_q3_k, hmask) + c);
        UNROLL for (unsigned j = 0; j < 4; j++)
            put(to, 8 * j + c,
                rows_or(rows_move_bits(v, 2 * j, 0, 2), rows_move_bits(high, 4 * unit + j, 2, 1)));
    }
}

/* Q4_K and Q5_K begin with d, dmin and the packed scales and minima. */
static ALWAYS_INLINE void q4_k_panel_scales(const uint8_t *words, float (*scale)[16],
                                            float (*min)[16]) {
    i32x16 v[4];
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    const i32x16 six = i32x16_set1(0x3f3f3f3f);
    rows_words(words, 0, v);
    f32x16 d = rows_low_halves(v[0]);
    f32x16 dmin = negated(rows_low_halves(rows_shr(v[0], 16)));
    i32x16 scales_high = rows_shifted_bits(v[1], -2, 0x30303030);
    i32x16 mins_high = rows_shifted_bits(v[2], -2, 0x30303030);
    i32x16 scales_low = rows_and(v[3], nibbles);
    i32x16 mins_low = rows_and(rows_shr(v[3], 4), nibbles);
    rows_scale_bytes(rows_and(v[1], six), 0, d, scale);
    rows_scale_bytes(rows_or(scales_low, scales_high), 0, d, scale + 4);
    rows_scale_bytes(rows_and(v[2], six), 0, dmin, min);
    rows_scale_bytes(rows_or(mins_low, mins_high), 0, dmin, min + 4);
}

/* 64 columns: low nibbles, then high ones. */
static ALWAYS_INLINE void q4_k_columns(const uint8_t *words, unsigned unit, column_put *put,
                                       void *to) {
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    UNROLL for (unsigned c = 0; c < 8; c++) {
        i32x16 v = rows_word(words, WORD_OF(block_q4_k, qs) + 8 * unit + c);
        put(to, c, rows_and(v, nibbles));
        put(to, 8 + c, rows_and(rows_shr(v, 4), nibbles));
    }
}

/* As Q4_K; bits 2 unit and 2 unit + 1 of byte l of qh are the fifth bits of columns l, l + 32. */
static ALWAYS_INLINE void q5_k_columns(const uint8_t *words, unsigned unit, column_put *put,
                                       void *to) {
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    UNROLL for (unsigned c = 0; c < 8; c++) {
        i32x16 v = rows_word(words, WORD_OF(block_q5_k, qs) + 8 * unit + c);
        i32x16 high = rows_word(words, WORD_OF(block_q5_k, qh) + c);
        put(to, c, rows_merge(v, nibbles, rows_move_bits(high, 2 * unit, 4, 1)));
        put(to, 8 + c,
            rows_or(rows_move_bits(v, 4, 0, 4), rows_move_bits(high, 2 * unit + 1, 4, 1)));
    }
}

/* Signed bytes times d, which is the head. */
static ALWAYS_INLINE void q6_k_panel_scales(const uint8_t *words, const uint8_t *heads,
                                            float (*scale)[16]) {
    f32x16 d = rows_heads(heads);
    for (unsigned c = 0; c < 4; c++) {
        i32x16 v = rows_word(words, WORD_OF(block_q6_k, scales) + c);
        for (unsigned i = 0; i < 4; i++) {
            i32x16 number = rows_sar(rows_shl(v, 24 - 8 * i), 24);
            f32x16_store(scale[4 * c + i], f32x16_mul(d, i32x16_to_f32(number)));
        }
    }
}

/* 128 columns: nibbles of 64 bytes, low ones first, and two bits each of 32 bytes of qh. */
static ALWAYS_INLINE void q6_k_columns(const uint8_t *words, unsigned unit, column_put *put,
                                       void *to) {
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES), two_bits = i32x16_set1(0x30303030);
    UNROLL for (unsigned c = 0; c < 8; c++) {
        i32x16 high = rows_word(words, WORD_OF(block_q6_k, qh) + 8 * unit + c);
        i32x16 a = rows_word(words, WORD_OF(block_q6_k, ql) + 16 * unit + c);
        i32x16 b = rows_word(words, WORD_OF(block_q6_k, ql) + 16 * unit + 8 + c);
        put(to, c, rows_merge(a, nibbles, rows_move_bits(high, 0, 4, 2)));
        put(to, 8 + c, rows_merge(b, nibbles, rows_move_bits(high, 2, 4, 2)));
        put(to, 16 + c, rows_merge(high, two_bits, rows_move_bits(a, 4, 0, 4)));
        put(to, 24 + c, rows_or(rows_move_bits(b, 4, 0, 4), rows_move_bits(high, 6, 4, 2)));
    }
}

/* A float of scale for all 256 columns, which are bytes with their sign. */
static ALWAYS_INLINE void q8_k_panel_scales(const uint8_t *words, float (*scale)[16]) {
    for (unsigned s = 0; s < 8; s++)
        rows_store(scale[s], rows_word(words, 0));
}

static ALWAYS_INLINE void q8_k_columns(const uint8_t *words, unsigned unit, column_put *put,
                                       void *to) {
    UNROLL for (unsigned c = 0; c < 8; c++)
        put(to, c, rows_wide(rows_word(words, WORD_OF(block_q8_k, qs) + 8 * unit + c)));
}

#endif
