/* SPDX-License-Identifier: Apache-2.0 */
/* Scales of the codebook types (columns.h), for any machine: 16 rows at once. What the bits mean
 * stands in i_quants.h; (2 n + 1) / 8 there is an exact product here. */
#ifndef SHOAL_KERNELS_QUANT_I_SCALES_SIMD_H
#define SHOAL_KERNELS_QUANT_I_SCALES_SIMD_H

#include "kernels/quant/columns.h"
#include "kernels/quant/rows_simd.h"

/* (2 n + 1) times the scale, for n of four bits that begin at bit `at` of each lane. */
static inline f32x16 odd_scale(i32x16 word, unsigned at, f32x16 scale) {
    i32x16 twice =
        rows_and(at == 0 ? rows_shl(word, 1) : rows_shr(word, at - 1), i32x16_set1(0x1e));
    return f32x16_mul(scale, i32x16_to_f32(rows_or(twice, i32x16_set1(1))));
}

static ALWAYS_INLINE void iq1_s_panel_scales(const uint8_t *words, const uint8_t *heads,
                                             float (*scale)[16]) {
    f32x16 d = f32x16_mul(rows_heads(heads), f32x16_set1(0.125f));
    for (unsigned s = 0; s < 8; s++) {
        i32x16 three = rows_shr(rows_word(words, 8 + s / 2), s % 2 * 16 + 12);
        f32x16_store(scale[s], odd_scale(rows_and(three, i32x16_set1(7)), 0, d));
    }
}

static ALWAYS_INLINE void iq1_m_panel_scales(const uint8_t *words, float (*scale)[16]) {
    i32x16 packed[2] = {rows_word(words, 12), rows_word(words, 13)};
    /* The scale of the block is the top nibbles of four half words. */
    i32x16 half = rows_and(rows_shr(packed[0], 12), i32x16_set1(0x000f));
    half = rows_or(half, rows_and(rows_shr(packed[0], 24), i32x16_set1(0x00f0)));
    half = rows_or(half, rows_and(rows_shr(packed[1], 4), i32x16_set1(0x0f00)));
    half = rows_or(half, rows_and(rows_shr(packed[1], 16), i32x16_set1(0xf000)));
    f32x16 d = f32x16_mul(rows_low_halves(half), f32x16_set1(0.125f));
    for (unsigned i = 0; i < 16; i++) {
        i32x16 three = rows_shr(packed[i / 8], i % 8 / 4 * 16 + i % 4 * 3);
        f32x16_store(scale[i], odd_scale(rows_and(three, i32x16_set1(7)), 0, d));
    }
}

static ALWAYS_INLINE void iq2_xxs_panel_scales(const uint8_t *words, const uint8_t *heads,
                                               float (*scale)[16]) {
    f32x16 d = f32x16_mul(rows_heads(heads), f32x16_set1(0.125f));
    for (unsigned s = 0; s < 8; s++)
        f32x16_store(scale[s], odd_scale(rows_word(words, 2 * s + 1), 28, d));
}

/* Two words of nibbles from `first` on, in each byte the scale of 16 columns and of the next. */
static ALWAYS_INLINE void iq2_panel_scales(const uint8_t *words, unsigned first,
                                           const uint8_t *heads, float (*scale)[16]) {
    f32x16 d = f32x16_mul(rows_heads(heads), f32x16_set1(0.125f));
    for (unsigned w = 0; w < 2; w++) {
        i32x16 packed = rows_word(words, first + w);
        UNROLL for (unsigned i = 0; i < 8; i++)
            f32x16_store(scale[8 * w + i], odd_scale(packed, 4 * i, d));
    }
}

static ALWAYS_INLINE void iq3_xxs_panel_scales(const uint8_t *words, const uint8_t *heads,
                                               float (*scale)[16]) {
    f32x16 d = f32x16_mul(rows_heads(heads), f32x16_set1(0.25f));
    for (unsigned s = 0; s < 8; s++)
        f32x16_store(scale[s], odd_scale(rows_word(words, 16 + s), 28, d));
}

static ALWAYS_INLINE void iq3_s_panel_scales(const uint8_t *words, const uint8_t *heads,
                                             float (*scale)[16]) {
    f32x16 d = rows_heads(heads);
    i32x16 packed = rows_word(words, 26);
    UNROLL for (unsigned s = 0; s < 8; s++) f32x16_store(scale[s], odd_scale(packed, 4 * s, d));
}

#endif
