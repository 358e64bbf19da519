/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the IQ2 types (codebook_avx512.h tells how); a unit is 32 columns, four slots of
 * eight. */
#ifndef SHOAL_KERNELS_QUANT_IQ2_AVX512_H
#define SHOAL_KERNELS_QUANT_IQ2_AVX512_H

#include "kernels/quant/codebook_avx512.h"

/* Values with their bias of 43 by digit (bits 4 and 5) and sign (bit 3 - slot), whatever the other
 * bits are. */
static inline __m512i iq2_values(unsigned slot) {
    static const uint64_t minus[4] = {0xff00ff00ff00ff00, 0xf0f0f0f0f0f0f0f0, 0xcccccccccccccccc,
                                      0xaaaaaaaaaaaaaaaa};
    const __m512i bias = _mm512_set1_epi8(43);
    const __m512i magnitude =
        _mm512_set_epi64(0, 0, 0x2b2b2b2b2b2b2b2b, 0x2b2b2b2b2b2b2b2b, 0x1919191919191919,
                         0x1919191919191919, 0x0808080808080808, 0x0808080808080808);
    __m512i plus = _mm512_add_epi8(bias, magnitude);
    return _mm512_mask_sub_epi8(plus, minus[slot], bias, magnitude);
}

/* The digits and signs of a unit's slots: of columns 0..3, of columns 4..7. */
struct iq2_slots {
    __m512i digits[2];
    __m512i signs[2]; /* by columns_low */
};

/* `group` is the first group of four columns of slot j. */
static ALWAYS_INLINE void iq2_put(struct iq2_slots v, unsigned j, unsigned group, column_put *put,
                                  void *to) {
    UNROLL for (unsigned half = 0; half < 2; half++) {
        __m512i digits = _mm512_multishift_epi64_epi8(spread_from(j, 4), v.digits[half]);
        __m512i number = select_bits(_mm512_set1_epi8(0x30), digits, v.signs[half]);
        put(to, group + half, _mm512_permutexvar_epi8(number, iq2_values(j)));
    }
}

static ALWAYS_INLINE void iq2_xxs_columns(const uint8_t *words, unsigned unit, column_put *put,
                                          void *to) {
    /* Seven bits per slot, and one of the next that COLUMNS_4_7_EVEN leaves out. */
    const __m512i seven = _mm512_set1_epi64(0x352e2720150e0700);
    __m512i index = rows_word(words, 2 * unit);
    __m512i slots = _mm512_multishift_epi64_epi8(seven, rows_word(words, 2 * unit + 1));
    struct iq2_slots v = {
        .digits = {lookup_256(iq2xxs_digits[0], index), lookup_256(iq2xxs_digits[1], index)},
        .signs = {columns_low(slots, COLUMNS_0_3), columns_low(slots, COLUMNS_4_7_EVEN)}};
    UNROLL for (unsigned j = 0; j < 4; j++) iq2_put(v, j, 2 * j, put, to);
}

/* A word has two numbers of 16 bits, nine of index and seven of signs. The low bytes of two words
 * are slots of indices, the high ones slots with the ninth bit lowest and the signs above. */
static ALWAYS_INLINE void iq2_xs_columns(const uint8_t *words, unsigned unit, column_put *put,
                                         void *to) {
    __m512i first = rows_word(words, 2 * unit), second = rows_word(words, 2 * unit + 1);
    __m512i index = even_slots(first, second), high = odd_slots(first, second);
    __mmask64 bit_8 = _mm512_movepi8_mask(_mm512_slli_epi32(high, 7));
    struct iq2_slots v = {.digits = {lookup_512(iq2xs_digits[0], index, bit_8),
                                     lookup_512(iq2xs_digits[1], index, bit_8)},
                          .signs = {columns_low(high, COLUMNS_0_3 << 1),
                                    columns_low(high, (COLUMNS_4_7_EVEN & 0x7f7f7f7fu) << 1)}};
    UNROLL for (unsigned j = 0; j < 4; j++)
        iq2_put(v, j, 2 * (j / 2 + j % 2 * 2), put, to); /* slots are 0 2 1 3 */
}

/* Bytes of two bits per slot hold the upper bits of the indices. */
static ALWAYS_INLINE void iq2_s_columns(const uint8_t *words, unsigned unit, column_put *put,
                                        void *to) {
    __m512i index = rows_word(words, unit), slots = rows_word(words, 8 + unit);
    __m512i high = rows_word(words, 16 + unit / 4);
    __m512i bits = _mm512_add_epi8(_mm512_set1_epi64(0x2624222006040200),
                                   _mm512_set1_epi8((int8_t)(unit % 4 * 8)));
    __mmask64 bit_8 = _mm512_bitshuffle_epi64_mask(high, bits);
    __mmask64 bit_9 =
        _mm512_bitshuffle_epi64_mask(high, _mm512_add_epi8(bits, _mm512_set1_epi8(1)));
    struct iq2_slots v = {
        .signs = {columns_low(slots, COLUMNS_0_3), columns_low(slots, COLUMNS_4_7)}};
    UNROLL for (unsigned half = 0; half < 2; half++) {
        const uint8_t *table = iq2s_digits[half];
        v.digits[half] = _mm512_mask_blend_epi8(bit_9, lookup_512(table, index, bit_8),
                                                lookup_512(table + 512, index, bit_8));
    }
    UNROLL for (unsigned j = 0; j < 4; j++) iq2_put(v, j, 2 * j, put, to);
}

#endif
