/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the IQ3 types (codebook_avx512.h tells how); a unit is 32 columns, eight slots of four
 * in two registers.
 *
 * A digit has three bits: two are spread, the third takes the way of the signs. The eight indices
 * are two words; a register takes those at 0 4 2 6, another those at 1 5 3 7, so that one meets the
 * low nibbles of the bytes 0 2 1 3 of signs, the other the high nibbles. */
#ifndef SHOAL_KERNELS_QUANT_IQ3_AVX512_H
#define SHOAL_KERNELS_QUANT_IQ3_AVX512_H

#include "kernels/quant/codebook_avx512.h"

/* The low nibble of each byte, or the high one where the mask is set, in the low nibble. */
static inline __m512i choose_nibble(__m512i bytes, __mmask64 high) {
    const __m512i swap = _mm512_set1_epi64(0x1020408001020408);
    return _mm512_mask_gf2p8affine_epi64_epi8(bytes, high, bytes, swap, 0);
}

/* The numbers of each slot's columns: the two low bits of the digit in bits 2 and 3, the third bit
 * and the sign in bits 4 and 0 (slots 1 and 3) or 5 and 1 (slots 0 and 2). `third` has the third
 * bits of four columns in the low nibble of a slot, `signs` is by columns_low. */
static ALWAYS_INLINE void iq3_numbers(__m512i low, __m512i third, __m512i signs,
                                      __m512i number[4]) {
    const __m512i two = _mm512_set1_epi8(0x0c), nibble = _mm512_set1_epi8(0x0f);
    __m512i late = select_bits(nibble, signs, columns_high(third, COLUMNS_0_3));
    __m512i early = _mm512_srli_epi32(late, 2);
    UNROLL for (unsigned j = 0; j < 4; j++) {
        __m512i digits = _mm512_multishift_epi64_epi8(spread_from(j, 2), low);
        number[j] = select_bits(two, digits, j < 2 ? early : late);
    }
}

/* The group of four columns of slot j, in the register of the even or odd indices. */
static inline unsigned iq3_group(unsigned odd, unsigned j) {
    return j / 2 * 2 + j % 2 * 4 + odd;
}

/* Values with their bias of 62 by the number of an even or odd slot. Their magnitudes are four
 * times an odd number but for the last, so that they need a table. */
static inline __m512i iq3_xxs_values(bool even_slot) {
    const __m512i bias = _mm512_set1_epi8(62);
    const __m128i below = _mm_setr_epi32(0x04040404, 0x0c0c0c0c, 0x14141414, 0x1c1c1c1c);
    const __m128i above = _mm_setr_epi32(0x24242424, 0x2c2c2c2c, 0x34343434, 0x3e3e3e3e);
    const __mmask16 third = even_slot ? 0xff00 : 0xf0f0; /* 16 entries have a bit 4 and 5 */
    const __mmask64 minus = even_slot ? 0xcccccccccccccccc : 0xaaaaaaaaaaaaaaaa;
    __m512i magnitude = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(below), third, above);
    return _mm512_mask_sub_epi8(_mm512_add_epi8(bias, magnitude), minus, bias, magnitude);
}

static ALWAYS_INLINE void iq3_xxs_columns(const uint8_t *words, unsigned unit, column_put *put,
                                          void *to) {
    const __m512i seven = _mm512_set1_epi64(0x35272e2015070e00);
    __m512i first = rows_word(words, 2 * unit), second = rows_word(words, 2 * unit + 1);
    __m512i slots = _mm512_multishift_epi64_epi8(seven, rows_word(words, 16 + unit));
    UNROLL for (unsigned odd = 0; odd < 2; odd++) {
        __m512i index = odd ? odd_slots(first, second) : even_slots(first, second);
        __m512i signs = columns_low(slots, odd ? COLUMNS_4_7_EVEN : COLUMNS_0_3);
        __m512i third = choose_nibble(lookup_128(iq3xxs_third, index), _mm512_movepi8_mask(index));
        __m512i number[4];
        iq3_numbers(lookup_256(iq3xxs_low, index), third, signs, number);
        UNROLL for (unsigned j = 0; j < 4; j++) put(
            to, iq3_group(odd, j), _mm512_permutexvar_epi8(number[j], iq3_xxs_values(j % 2 == 0)));
    }
}

/* A magnitude is 2 n - 15 for n = 8 + digit, its negative for n with its four bits turned: this is
 * linear in bits, so that 2 n is a product of bits, off the port of permutations. */
static inline __m512i iq3_s_values(__m512i number, bool even_slot) {
    const __m512i product = _mm512_set1_epi64(even_slot ? 0x00060a2202000000 : 0x0005091101000000);
    return _mm512_gf2p8affine_epi64_epi8(number, product, 0x10);
}

static ALWAYS_INLINE void iq3_s_columns(const uint8_t *words, unsigned unit, column_put *put,
                                        void *to) {
    const __m512i swap_middle =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
    __m512i first = rows_word(words, 2 * unit), second = rows_word(words, 2 * unit + 1);
    __m512i ninth = rows_word(words, 16 + unit / 4); /* a byte per unit, a bit per index */
    __m512i slots = _mm512_shuffle_epi8(rows_word(words, 18 + unit), swap_middle);
    UNROLL for (unsigned odd = 0; odd < 2; odd++) {
        __m512i index = odd ? odd_slots(first, second) : even_slots(first, second);
        __m512i bits = _mm512_add_epi8(_mm512_set1_epi64(0x2622242006020400),
                                       _mm512_set1_epi8((int8_t)(unit % 4 * 8 + odd)));
        __mmask64 bit_8 = _mm512_bitshuffle_epi64_mask(ninth, bits);
        __m512i signs = columns_low(slots, odd ? COLUMNS_4_7 : COLUMNS_0_3);
        __m512i third = choose_nibble(lookup_256_merged(iq3s_third, index), bit_8);
        __m512i number[4];
        iq3_numbers(lookup_512(iq3s_low, index, bit_8), third, signs, number);
        UNROLL for (unsigned j = 0; j < 4; j++)
            put(to, iq3_group(odd, j), iq3_s_values(number[j], j % 2 == 0));
    }
}

#endif
