/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the IQ1 types; a unit is 32 columns, four groups of eight.
 *
 * A codebook of 2048 entries is too large for permutations of registers (codebook_avx512.h): a
 * unit would need 64 of 0.33 ns, where four gathers of 2.6 ns (Sapphire Rapids, each alone) bring
 * the digits of eight columns to each row. The bytes are 8 (g + 1) plus 2, or plus 0 where the
 * shift of the group is down: nine too much. */
#ifndef SHOAL_KERNELS_QUANT_IQ1_AVX512_H
#define SHOAL_KERNELS_QUANT_IQ1_AVX512_H

#include "kernels/quant/codebook_avx512.h"

/* Group j of a unit: the eight low bits of its indices are byte j of `low`, the three others those
 * of `high` that lie at 8, 9 and 10; the group is shifted down where the top bit of `minus` is
 * set. */
static ALWAYS_INLINE void iq1_put(__m512i low, __m512i high, __m512i minus, unsigned j,
                                  column_put *put, void *to) {
    const __m512i digit = _mm512_set1_epi8(3 << 3);
    __m512i index = select_bits(i32x16_set1(0x700), high, rows_byte(low, j));
    __m512i digits = _mm512_i32gather_epi32(index, (const int *)(const void *)iq1_digits, 2);
    __m512i shift = _mm512_andnot_si512(rows_sar(minus, 31), _mm512_set1_epi8(2));
    UNROLL for (unsigned half = 0; half < 2; half++) {
        __m512i spread = _mm512_multishift_epi64_epi8(spread_from(half, 3), digits);
        put(to, 2 * j + half, _mm512_ternarylogic_epi64(spread, digit, shift, 0xea));
    }
}

static ALWAYS_INLINE void iq1_s_columns(const uint8_t *words, unsigned unit, column_put *put,
                                        void *to) {
    __m512i low = rows_word(words, unit);
    __m512i high = rows_shl(rows_word(words, 8 + unit / 2), 16 - unit % 2 * 16);
    UNROLL for (unsigned j = 0; j < 4; j++)
        iq1_put(low, rows_shr(high, 8 + 3 * j), high, j, put, to);
}

static ALWAYS_INLINE void iq1_m_columns(const uint8_t *words, unsigned unit, column_put *put,
                                        void *to) {
    __m512i low = rows_word(words, unit);
    /* A nibble per group: three bits of the index, then the shift. */
    __m512i high = rows_shl(rows_word(words, 8 + unit / 2), 16 - unit % 2 * 16);
    UNROLL for (unsigned j = 0; j < 4; j++)
        iq1_put(low, rows_shr(high, 8 + 4 * j), rows_shl(high, 12 - 4 * j), j, put, to);
}

#endif
