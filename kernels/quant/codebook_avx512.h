/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers (columns.h) of codebook types share on AVX-512: looking up, spreading and
 * signing 64 bytes at a time, so that no entry is fetched by an address of its own.
 *
 * Four bytes of each of 16 rows fill a register; below, byte j of a row is its slot j. A reader
 *
 *   1. looks up 64 slots at once: the codebook lies in tables of bytes, each the digits of four
 *      columns (digits_table.h), and permutations of bytes reach 64 or 128 entries at a time;
 *   2. for each slot j spreads the digits of its byte to the row's four bytes, one per column;
 *   3. brings the sign of each column to its byte, for all slots at once, by transposing bits;
 *   4. looks up digits and sign, which are a number below 64 by then, in a table of values.
 *
 * IQ3 does without 2 and 3 and leaves columns where their slots are (iq3_avx512.h).
 *
 * Permutations of bytes and the spreading run on one port of the machines we know, shifts and
 * the bit transposition on the other: the readers are written so that both are about as busy. */
#ifndef SHOAL_KERNELS_QUANT_CODEBOOK_AVX512_H
#define SHOAL_KERNELS_QUANT_CODEBOOK_AVX512_H

#include "kernels/quant/columns.h"
#include "kernels/quant/digits_table.h"
#include "kernels/quant/rows_simd.h"

/* Bits 0..6 of each index name a byte of the table. */
static inline __m512i lookup_128(const uint8_t *table, __m512i index) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), index, _mm512_load_si512(table + 64));
}

static inline __m512i lookup_256(const uint8_t *table, __m512i index) {
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), lookup_128(table, index),
                                  lookup_128(table + 128, index));
}

static inline __m512i lookup_merge(__m512i out, __mmask64 here, __m512i index,
                                   const uint8_t *table) {
    return _mm512_mask_permutexvar_epi8(out, here, index, _mm512_load_si512(table));
}

/* The same by permutations of one register, each merged into the last: three instructions less once
 * the masks are made, which pays where an index is looked up in several tables (IQ2_S, one token:
 * 6.4 -> 7.5 GB/s) and gains nothing for IQ2_XXS. */
static inline __m512i lookup_256_merged(const uint8_t *table, __m512i index) {
    __mmask64 bit_7 = _mm512_movepi8_mask(index);
    __mmask64 bit_6 = _mm512_movepi8_mask(_mm512_add_epi8(index, index));
    __m512i out = _mm512_permutexvar_epi8(index, _mm512_load_si512(table));
    out = lookup_merge(out, bit_6, index, table + 64);
    out = lookup_merge(out, bit_7, index, table + 128);
    out = lookup_merge(out, _kand_mask64(bit_6, bit_7), index, table + 192);
    return out;
}

static inline __m512i lookup_128_merged(const uint8_t *table, __m512i index) {
    __mmask64 bit_6 = _mm512_movepi8_mask(_mm512_add_epi8(index, index));
    __m512i out = _mm512_permutexvar_epi8(index, _mm512_load_si512(table));
    return lookup_merge(out, bit_6, index, table + 64);
}

/* bit_8: the ninth bits of the indices. */
static inline __m512i lookup_512(const uint8_t *table, __m512i index, __mmask64 bit_8) {
    return _mm512_mask_blend_epi8(bit_8, lookup_256_merged(table, index),
                                  lookup_256_merged(table + 256, index));
}

/* Bit by bit: a where the mask is set, b elsewhere. */
static inline __m512i select_bits(__m512i mask, __m512i a, __m512i b) {
    return _mm512_ternarylogic_epi64(mask, a, b, 0xca);
}

/* The bytes 0 and 2 (or 1 and 3) of two words as slots: first, second, first, second. */
static inline __m512i even_slots(__m512i first, __m512i second) {
    return select_bits(_mm512_set1_epi16(0xff), first, _mm512_slli_epi32(second, 8));
}

static inline __m512i odd_slots(__m512i first, __m512i second) {
    return select_bits(_mm512_set1_epi16(0xff), _mm512_srli_epi32(first, 8), second);
}

/* Bytes of each lane: byte j of in[c] is byte c of out[j]. A shift of bytes merged into a register
 * is one instruction, by words and by pairs of them. */
static ALWAYS_INLINE void transpose_bytes(const __m512i in[4], __m512i out[4]) {
    const __mmask64 even = 0x5555555555555555, low = 0x3333333333333333;
    __m512i half[4]; /* [parity of j][columns 0 1, 2 3] */
    UNROLL for (unsigned c = 0; c < 2; c++) {
        __m512i a = in[2 * c], b = in[2 * c + 1];
        half[c] = _mm512_mask_alignr_epi8(a, ~even, b, b, 15);
        half[2 + c] = _mm512_mask_alignr_epi8(b, even, a, a, 1);
    }
    UNROLL for (unsigned j = 0; j < 2; j++) {
        __m512i a = half[2 * j], b = half[2 * j + 1];
        out[j] = _mm512_mask_alignr_epi8(a, ~low, b, b, 14);
        out[j + 2] = _mm512_mask_alignr_epi8(b, low, a, a, 2);
    }
}

/* Columns of a slot as bits of its byte, for columns 0..3 in the order of bytes. */
#define COLUMNS_0_3 0x08040201u
#define COLUMNS_4_7 0x80402010u
/* For signs of which seven are stored: the eighth is minus where the seven have an odd number of
 * minus signs. */
#define COLUMNS_4_7_EVEN 0x7f402010u

/* The product of 8 by 8 bits takes the same bit of 8 bytes, that is of two rows: an even row's bits
 * arrive in the high nibble, its neighbour's in the low one, slot 0 highest. */
static inline __m512i slots_of_columns(__m512i slots, uint32_t columns) {
    return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi32((int32_t)columns), slots, 0);
}

/* Byte c of a row: bit 3 - j is that of column c in slot j; the high nibble is of no use. */
static inline __m512i columns_low(__m512i slots, uint32_t columns) {
    return _mm512_srlv_epi32(slots_of_columns(slots, columns), _mm512_set1_epi64(4));
}

/* Where the digits of slot 0 begin, two bits per column, for each byte of two rows; then so that
 * they come to lie `at` bits above the lowest of their byte. */
static inline __m512i spread_from(unsigned slot, unsigned at) {
    const __m512i columns = _mm512_set1_epi64(0x2624222006040200);
    return _mm512_add_epi8(columns, _mm512_set1_epi8((int8_t)(8 * slot - at)));
}

#endif
