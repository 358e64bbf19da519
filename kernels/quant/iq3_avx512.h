/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the IQ3 types: 64 slots of four columns at a time, put 8 columns apart (columns.h).
 *
 * Byte j of a row's word of indices names columns 8 j .. 8 j + 3 of the run, or 8 j + 4 .. 8 j + 7
 * in the other of two words (panels.h), so that a nibble of byte j of the signs belongs to it. What
 * is known of the four columns fills two bytes, each of them two columns:
 *
 *     outer   column 0: sign 0, digit 1 2 4    column 3: sign 3, digit 5 6 7    (bits, lowest
 * first) inner   column 1: sign 1, digit 0 3 4    column 2: sign 2, digit 5 6 7
 *
 * Signs stand where their nibble has them. The digits of `outer` come from one table, which has two
 * bits of `inner` in place of the signs; the upper nibble of `inner` comes from another. A column's
 * value then follows from a byte by one instruction, and the bytes of the register stay where the
 * indices were: nothing is spread over columns. */
#ifndef SHOAL_KERNELS_QUANT_IQ3_AVX512_H
#define SHOAL_KERNELS_QUANT_IQ3_AVX512_H

#include "kernels/quant/codebook_avx512.h"

struct iq3_slots {
    __m512i outer, inner;
};

/* `rest` has the upper nibble of `inner`, `signs` a slot's four in the lower nibble. */
static ALWAYS_INLINE struct iq3_slots iq3_slots(__m512i digits, __m512i rest, __m512i signs) {
    const __m512i outer_signs = _mm512_set1_epi8(0x09);
    const __m512i upper = _mm512_set1_epi8((char)0xf0);
    __m512i lower = select_bits(outer_signs, digits, signs);
    return (struct iq3_slots){.outer = select_bits(outer_signs, signs, digits),
                              .inner = select_bits(upper, rest, lower)};
}

/* The high nibble of each byte, or the low one where the mask is set, in the high nibble. */
static inline __m512i choose_nibble(__m512i bytes, __mmask64 low) {
    const __m512i swap = _mm512_set1_epi64(0x1020408001020408);
    return _mm512_mask_gf2p8affine_epi64_epi8(bytes, low, bytes, swap, 0);
}

static ALWAYS_INLINE void iq3_xxs_columns(const uint8_t *words, unsigned unit, column_put *put,
                                          void *to) {
    /* Seven bits per slot, and one of the next in place of the eighth, which the product makes. */
    const __m512i seven = _mm512_set1_epi64(0x352e2720150e0700);
    const __m512i even = _mm512_set1_epi64(0x010204081020407f);
    __m512i slots = _mm512_multishift_epi64_epi8(seven, rows_word(words, 16 + unit));
    __m512i signs = _mm512_gf2p8affine_epi64_epi8(slots, even, 0);
    UNROLL for (unsigned half = 0; half < 2; half++) {
        __m512i index = rows_word(words, 2 * unit + half);
        __m512i rest =
            choose_nibble(lookup_128_merged(iq3xxs_rest, index), _mm512_movepi8_mask(index));
        struct iq3_slots v = iq3_slots(lookup_256_merged(iq3xxs_outer, index), rest,
                                       half ? _mm512_srli_epi16(signs, 4) : signs);
        /* Of a byte six bits choose a value: the lowest, or after the shift the highest. */
        const __m512i number[4] = {v.outer, v.inner, _mm512_srli_epi16(v.inner, 2),
                                   _mm512_srli_epi16(v.outer, 2)};
        UNROLL for (unsigned c = 0; c < 4; c++) {
            __m512i values = _mm512_load_si512(iq3xxs_values[c]);
            put(to, 4 * half + c, _mm512_permutexvar_epi8(number[c], values));
        }
    }
}

/* A magnitude is 2 n - 15 for n = 8 + digit, its negative for n with its four bits turned: this is
 * linear in bits, so that 2 n is a product of bits, off the port of permutations. */
static inline __m512i iq3_s_values(__m512i slots, uint64_t column) {
    return _mm512_gf2p8affine_epi64_epi8(slots, _mm512_set1_epi64((int64_t)column), 0x10);
}

/* Four runs, which share a word of ninth bits: a byte per run, a bit per index. */
static ALWAYS_INLINE void iq3_s_columns(const uint8_t *words, unsigned unit, column_put *put,
                                        void *to) {
    const uint64_t bits = 0x2624222006040200, each_byte = 0x0101010101010101;
    __m512i ninth = rows_word(words, 16 + unit);
    UNROLL for (unsigned run = 0; run < 4; run++) {
        __m512i signs = rows_word(words, 18 + 4 * unit + run);
        UNROLL for (unsigned half = 0; half < 2; half++) {
            __m512i index = rows_word(words, 8 * unit + 2 * run + half);
            __m512i from = _mm512_set1_epi64((int64_t)(bits + each_byte * (8 * run + half)));
            __mmask64 bit_8 = _mm512_bitshuffle_epi64_mask(ninth, from);
            __m512i rest = choose_nibble(lookup_256_merged(iq3s_rest, index), bit_8);
            struct iq3_slots v = iq3_slots(lookup_512(iq3s_outer, index, bit_8), rest,
                                           half ? _mm512_srli_epi16(signs, 4) : signs);
            unsigned group = 8 * run + 4 * half;
            put(to, group, iq3_s_values(v.outer, 0x0003051101000000));
            put(to, group + 1, iq3_s_values(v.inner, 0x00030a1202000000));
            put(to, group + 2, iq3_s_values(v.inner, 0x0024448404000000));
            put(to, group + 3, iq3_s_values(v.outer, 0x0028488808000000));
        }
    }
}

#endif
