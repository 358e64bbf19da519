/* SPDX-License-Identifier: Apache-2.0 */
/* Readers (columns.h) of the types with blocks of 32, and of IQ4_XS, which packs its columns like
 * one of them. A block is a unit. What the bits mean stands in small_quants.h and i_quants.h. */
#ifndef SHOAL_KERNELS_QUANT_SMALL_QUANTS_SIMD_H
#define SHOAL_KERNELS_QUANT_SMALL_QUANTS_SIMD_H

#include "kernels/quant/columns.h"
#include "kernels/quant/rows_simd.h"
#include "kernels/quant/small_quants.h"

/* Q4_0, Q5_0, Q8_0, IQ4_NL: the head is d. */
static ALWAYS_INLINE void head_panel_scales(const uint8_t *heads, float (*scale)[16]) {
    f32x16_store(scale[0], rows_heads(heads));
}

/* Q4_1, Q5_1: the first word is d, m. */
static ALWAYS_INLINE void d_and_m_panel_scales(const uint8_t *words, float (*scale)[16],
                                               float (*min)[16]) {
    i32x16 halves = rows_word(words, 0);
    f32x16_store(scale[0], rows_low_halves(halves));
    f32x16_store(min[0], rows_low_halves(rows_shr(halves, 16)));
}

/* Four words of nibbles, from word w on: low ones are columns 0..15, high ones 16..31. */
static ALWAYS_INLINE void nibble_columns(const uint8_t *words, unsigned w, column_put *put,
                                         void *to) {
    const i32x16 nibbles = i32x16_set1(0x0f0f0f0f);
    UNROLL for (unsigned c = 0; c < 4; c++) {
        i32x16 v = rows_word(words, w + c);
        put(to, c, rows_and(v, nibbles));
        put(to, 4 + c, rows_and(rows_shr(v, 4), nibbles));
    }
}

/* Bits 0..3 of each lane to bit 4 of its bytes 0..3. */
static inline i32x16 four_bits_to_bytes(i32x16 a) {
    a = rows_and(a, i32x16_set1(15));
    a = rows_or(a, rows_shl(a, 7));
    a = rows_or(a, rows_shl(a, 14));
    return rows_shl(rows_and(a, i32x16_set1(0x01010101)), 4);
}

/* Nibbles with a fifth bit each: bit e of word w belongs to column e; the nibbles follow. */
static ALWAYS_INLINE void five_bits_columns(const uint8_t *words, unsigned w, column_put *put,
                                            void *to) {
    const i32x16 nibbles = i32x16_set1(0x0f0f0f0f), qh = rows_word(words, w);
    UNROLL for (unsigned c = 0; c < 4; c++) {
        i32x16 v = rows_word(words, w + 1 + c);
        i32x16 fifth = four_bits_to_bytes(rows_shr(qh, 4 * c));
        put(to, c, rows_or(rows_and(v, nibbles), fifth));
        fifth = four_bits_to_bytes(rows_shr(qh, 16 + 4 * c));
        put(to, 4 + c, rows_or(rows_and(rows_shr(v, 4), nibbles), fifth));
    }
}

static ALWAYS_INLINE void q8_0_columns(const uint8_t *words, column_put *put, void *to) {
    UNROLL for (unsigned c = 0; c < 8; c++) put(to, c, rows_wide(rows_word(words, c)));
}

/* Nibbles that name entries of a table, which holds them with the bias of the type. */
static ALWAYS_INLINE void lookup_columns(const uint8_t *words, unsigned w, const int8_t table[16],
                                         column_put *put, void *to) {
    const i32x16 nibbles = i32x16_set1(0x0f0f0f0f);
    UNROLL for (unsigned c = 0; c < 4; c++) {
        i32x16 v = rows_word(words, w + c);
        put(to, c, rows_lookup(table, rows_and(v, nibbles)));
        put(to, 4 + c, rows_lookup(table, rows_and(rows_shr(v, 4), nibbles)));
    }
}

static ALWAYS_INLINE void iq4_columns(const uint8_t *words, unsigned w, column_put *put, void *to) {
    static const int8_t values[16] = IQ4_VALUES;
    int8_t table[16]; /* a wide type (tile.h) */
    for (int i = 0; i < 16; i++)
        table[i] = SIMD_AVX512 ? (int8_t)(uint8_t)(values[i] + 128) : values[i];
    lookup_columns(words, w, table, put, to);
}

/* A super-block. Word 0 is d and the high bits of the scales, word 1 their low bits. */
static ALWAYS_INLINE void iq4_xs_panel_scales(const uint8_t *words, float (*scale)[16]) {
    i32x16 first = rows_word(words, 0), scales_low = rows_word(words, 1);
    f32x16 d = rows_low_halves(first);
    for (unsigned s = 0; s < 8; s++) {
        i32x16 low = rows_and(rows_shr(scales_low, 4 * s), i32x16_set1(15));
        i32x16 high = rows_and(rows_shr(first, 16 + 2 * s), i32x16_set1(3));
        i32x16 number = i32x16_sub(rows_or(low, rows_shl(high, 4)), i32x16_set1(32));
        f32x16_store(scale[s], f32x16_mul(d, i32x16_to_f32(number)));
    }
}

/* The head is the exponent, one byte: 2^(e - 128) as the product of two halves, because the least
 * two of these numbers are subnormal. */
static ALWAYS_INLINE void mxfp4_panel_scales(const uint8_t *heads, float (*scale)[16]) {
    i32x16 e = rows_bytes_to_i32(heads), half = rows_shr(e, 1);
    i32x16 rest = i32x16_sub(e, half), bias = i32x16_set1(127 - 64);
    f32x16_store(scale[0], f32x16_mul(f32x16_from_bits(i32x16_shl23(i32x16_add(half, bias))),
                                      f32x16_from_bits(i32x16_shl23(i32x16_add(rest, bias)))));
}

static ALWAYS_INLINE void mxfp4_columns(const uint8_t *words, column_put *put, void *to) {
    static const int8_t values[16] = FP4_VALUES;
    int8_t table[16];
    for (int i = 0; i < 16; i++)
        table[i] = (int8_t)(values[i] + 12);
    lookup_columns(words, 0, table, put, to);
}

#endif
