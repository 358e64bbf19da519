/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of 16 rows at once: a register of 16 lanes (simd.h), each lane four bytes of one row.
 *
 * Integer operations that simd.h does not need elsewhere. Include only in files compiled for a SIMD
 * variant. */
#ifndef SHOAL_KERNELS_QUANT_ROWS_SIMD_H
#define SHOAL_KERNELS_QUANT_ROWS_SIMD_H

#include <stddef.h>
#include <string.h>

#include "kernels/device/simd.h"

/* Shifts of whole lanes are written with the compilers' vector types: the intrinsics insist on a
 * literal count, and these become the same instruction wherever the count turns out constant. */
typedef uint32_t rows_u32 __attribute__((vector_size(SIMD_AVX512 ? 64 : 32)));
typedef int32_t rows_s32 __attribute__((vector_size(SIMD_AVX512 ? 64 : 32)));

#if SIMD_AVX512

static inline i32x16 rows_load(const void *p) {
    return _mm512_loadu_si512(p);
}
static inline void rows_store(void *p, i32x16 a) {
    _mm512_storeu_si512(p, a);
}
static inline i32x16 rows_and(i32x16 a, i32x16 b) {
    return _mm512_and_si512(a, b);
}
static inline i32x16 rows_or(i32x16 a, i32x16 b) {
    return _mm512_or_si512(a, b);
}
static inline i32x16 rows_xor(i32x16 a, i32x16 b) {
    return _mm512_xor_si512(a, b);
}
static inline i32x16 rows_add_bytes(i32x16 a, i32x16 b) {
    return _mm512_add_epi8(a, b);
}
static inline i32x16 rows_shr(i32x16 a, unsigned n) {
    return (__m512i)((rows_u32)a >> n);
}
static inline i32x16 rows_shl(i32x16 a, unsigned n) {
    return (__m512i)((rows_u32)a << n);
}
static inline i32x16 rows_sar(i32x16 a, unsigned n) {
    return (__m512i)((rows_s32)a >> n);
}
static inline i32x16 rows_set_bytes(int8_t x) {
    return _mm512_set1_epi8(x);
}
/* (a & mask) | b */
static inline i32x16 rows_merge(i32x16 a, i32x16 mask, i32x16 b) {
    return _mm512_ternarylogic_epi32(a, mask, b, 0xea);
}
/* Bit `from` of each byte at `to`, n bits of it; the others are 0. A product of bits does what a
 * shift and a mask do. It gains where a type has many of them (one token: Q6_K 13.7 -> 14.4 GB/s,
 * Q2_K 13.1 -> 13.5) and loses where they are few (Q4_K 17.0 -> 16.2), so nibbles are shifted. */
static inline i32x16 rows_move_bits(i32x16 a, unsigned from, unsigned to, unsigned n) {
    uint64_t matrix = 0; /* byte 7 - i is the row of bit i */
    for (unsigned i = 0; i < n; i++)
        matrix |= (uint64_t)1 << (8 * (7 - (to + i)) + from + i);
    return _mm512_gf2p8affine_epi64_epi8(a, _mm512_set1_epi64((int64_t)matrix), 0);
}
/* Each byte 0..15 of `a` becomes that entry of the table. */
static inline i32x16 rows_lookup(const int8_t table[16], i32x16 a) {
    __m128i t = _mm_loadu_si128((const __m128i *)table);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), a);
}
/* Sixteen bytes, one per lane. */
static inline i32x16 rows_bytes_to_i32(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
/* The half-precision numbers in the low 16 bits of the lanes. */
static inline f32x16 rows_low_halves(i32x16 a) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
}

#else

static inline i32x16 rows_load(const void *p) {
    const __m256i *v = p;
    return (i32x16){_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
static inline void rows_store(void *p, i32x16 a) {
    __m256i *v = p;
    _mm256_storeu_si256(v, a.lo);
    _mm256_storeu_si256(v + 1, a.hi);
}
static inline i32x16 rows_and(i32x16 a, i32x16 b) {
    return (i32x16){_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
static inline i32x16 rows_or(i32x16 a, i32x16 b) {
    return (i32x16){_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
static inline i32x16 rows_xor(i32x16 a, i32x16 b) {
    return (i32x16){_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}
static inline i32x16 rows_add_bytes(i32x16 a, i32x16 b) {
    return (i32x16){_mm256_add_epi8(a.lo, b.lo), _mm256_add_epi8(a.hi, b.hi)};
}
static inline i32x16 rows_shr(i32x16 a, unsigned n) {
    return (i32x16){(__m256i)((rows_u32)a.lo >> n), (__m256i)((rows_u32)a.hi >> n)};
}
static inline i32x16 rows_shl(i32x16 a, unsigned n) {
    return (i32x16){(__m256i)((rows_u32)a.lo << n), (__m256i)((rows_u32)a.hi << n)};
}
static inline i32x16 rows_sar(i32x16 a, unsigned n) {
    return (i32x16){(__m256i)((rows_s32)a.lo >> n), (__m256i)((rows_s32)a.hi >> n)};
}
static inline i32x16 rows_set_bytes(int8_t x) {
    return (i32x16){_mm256_set1_epi8(x), _mm256_set1_epi8(x)};
}
/* (a & mask) | b */
static inline i32x16 rows_merge(i32x16 a, i32x16 mask, i32x16 b) {
    return rows_or(rows_and(a, mask), b);
}
/* Bit `from` of each byte at `to`, n bits of it; the others are 0. */
static inline i32x16 rows_move_bits(i32x16 a, unsigned from, unsigned to, unsigned n) {
    i32x16 shifted = from >= to ? rows_shr(a, from - to) : rows_shl(a, to - from);
    return rows_and(shifted, rows_set_bytes((int8_t)(((1u << n) - 1) << to)));
}
/* Each byte 0..15 of `a` becomes that entry of the table. */
static inline i32x16 rows_lookup(const int8_t table[16], i32x16 a) {
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    return (i32x16){_mm256_shuffle_epi8(t, a.lo), _mm256_shuffle_epi8(t, a.hi)};
}
/* Sixteen bytes, one per lane. */
static inline i32x16 rows_bytes_to_i32(const uint8_t *p) {
    return (i32x16){_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)),
                    _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8)))};
}
/* The half-precision numbers in the low 16 bits of the lanes. */
static inline f32x16 rows_low_halves(i32x16 a) {
    i32x16 low = rows_and(a, i32x16_set1(0xffff));
    __m256i packed = _mm256_packus_epi32(low.lo, low.hi); /* rows 0-3, 8-11, 4-7, 12-15 */
    packed = _mm256_permute4x64_epi64(packed, 0xd8);
    return (f32x16){_mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
                    _mm256_cvtph_ps(_mm256_extracti128_si256(packed, 1))};
}

/* Rows 0..7 of rows_transpose. */
static inline void rows_transpose_half(const uint8_t *p, size_t stride, __m256i out[4]) {
    __m256i z[4]; /* z[i], 128-bit lane l: 16 bytes of row 4l + i */
    for (int i = 0; i < 4; i++) {
        const uint8_t *row = p + (size_t)i * stride;
        __m256i a = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)row));
        __m128i upper = _mm_loadu_si128((const __m128i *)(row + 4 * stride));
        z[i] = _mm256_inserti128_si256(a, upper, 1);
    }
    __m256i low01 = _mm256_unpacklo_epi32(z[0], z[1]), high01 = _mm256_unpackhi_epi32(z[0], z[1]);
    __m256i low23 = _mm256_unpacklo_epi32(z[2], z[3]), high23 = _mm256_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm256_unpacklo_epi64(low01, low23);
    out[1] = _mm256_unpackhi_epi64(low01, low23);
    out[2] = _mm256_unpacklo_epi64(high01, high23);
    out[3] = _mm256_unpackhi_epi64(high01, high23);
}

/* out[c]: the four bytes p[4c .. 4c + 3] of each row, for 16 rows `stride` bytes apart. */
static inline void rows_transpose(const uint8_t *p, size_t stride, i32x16 out[4]) {
    __m256i low[4], high[4];
    rows_transpose_half(p, stride, low);
    rows_transpose_half(p + 8 * stride, stride, high);
    for (int c = 0; c < 4; c++)
        out[c] = (i32x16){low[c], high[c]};
}

#endif

/* Word w of the 16 rows of a panel (tensor/panels.h). */
static inline i32x16 rows_word(const uint8_t *words, unsigned w) {
    return rows_load(words + 64 * (size_t)w);
}

/* Four of them, w .. w + 3: what rows_transpose would make of 16 bytes of each row. */
static inline void rows_words(const uint8_t *words, unsigned w, i32x16 out[4]) {
    for (unsigned c = 0; c < 4; c++)
        out[c] = rows_word(words, w + c);
}

/* Turns bytes with a sign into what a wide type's columns are (tile.h). */
static inline i32x16 rows_wide(i32x16 q) {
#if SIMD_AVX512
    return rows_xor(q, rows_set_bytes(-128)); /* + 128 */
#else
    return q;
#endif
}

/* The heads of a panel's block, when they are half-precision numbers. */
static inline f32x16 rows_heads(const uint8_t *heads) {
    return f32x16_load_f16((const uint16_t *)(const void *)heads);
}

/* Byte i of each lane, 0..255. */
static inline i32x16 rows_byte(i32x16 a, unsigned i) {
    return rows_and(rows_shr(a, 8 * i), i32x16_set1(0xff));
}

/* The bits of `mask` after a shift to the left by n, to the right if n is negative. */
static inline i32x16 rows_shifted_bits(i32x16 a, int n, int32_t mask) {
    i32x16 shifted = n >= 0 ? rows_shl(a, (unsigned)n) : rows_shr(a, (unsigned)-n);
    return rows_and(shifted, i32x16_set1(mask));
}

/* Four small numbers per lane, one per byte, times a float per row: out[i] is that of byte i. */
static inline void rows_scale_bytes(i32x16 a, int subtract, f32x16 d, float (*out)[16]) {
    for (unsigned i = 0; i < 4; i++) {
        i32x16 number = i32x16_sub(rows_byte(a, i), i32x16_set1(subtract));
        f32x16_store(out[i], f32x16_mul(d, i32x16_to_f32(number)));
    }
}

#endif
