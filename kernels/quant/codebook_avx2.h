/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of the codebook types on AVX2. What the bits mean stands in i_quants.h.
 *
 * Without permutations of bytes across a register (codebook_avx512.h) looking up a codebook is a
 * load per 8 (or 4) columns of one row. So rows are unpacked one by one into a stage, 32 columns at
 * a time, and the stage is transposed; only what does not need a codebook, signs and scales, is
 * made for 16 rows at once. IQ2 and IQ3 are staged with their signs, IQ1 with the bias of its
 * tiles. */
#ifndef SHOAL_KERNELS_QUANT_CODEBOOK_AVX2_H
#define SHOAL_KERNELS_QUANT_CODEBOOK_AVX2_H

#include <assert.h>

#include "kernels/quant/i_quants.h"
#include "kernels/quant/i_scales_simd.h"
#include "kernels/quant/tile.h"

/* 16 rows of a super-block. */
struct tile_stage {
    alignas(64) int8_t q[TILE_ROWS][TILE_COLUMNS];
};

static inline void tile_from_stage(const struct tile_stage *stage, int bias,
                                   struct weight_tile *tile) {
    i32x16 v[4];
    const i32x16 biases = rows_set_bytes((int8_t)bias);
    for (unsigned piece = 0; piece < TILE_COLUMNS / 16; piece++) {
        rows_transpose((const uint8_t *)&stage->q[0][16 * piece], TILE_COLUMNS, v);
        for (unsigned c = 0; c < 4; c++)
            rows_store(tile->q[4 * piece + c], rows_add_bytes(v[c], biases));
    }
}

/* Word w of one row, and its bytes. */
static inline uint32_t row_word(const uint8_t *words, unsigned w, unsigned row) {
    uint32_t word;
    memcpy(&word, words + 64 * (size_t)w + 4 * (size_t)row, sizeof word);
    return word;
}

static inline const uint8_t *row_bytes(const uint8_t *words, unsigned w, unsigned row) {
    return words + 64 * (size_t)w + 4 * (size_t)row;
}

/* q[e] = magnitude e, negative where bit e of signs is set. */
static inline void stage_signed(__m256i magnitudes, uint32_t signs, int8_t q[32]) {
    const __m256i byte_of = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2,
                                             2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i bits = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)signs), byte_of);
    __m256i minus = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit_of), bit_of);
    __m256i out = _mm256_sub_epi8(_mm256_xor_si256(magnitudes, minus), minus);
    _mm256_storeu_si256((__m256i *)q, out);
}

/* Bytes of seven signs get the eighth that makes the number of minus signs even. */
static inline i32x16 even_signs_bytes(i32x16 seven) {
    i32x16 odd = rows_xor(seven, rows_shr(seven, 4));
    odd = rows_xor(odd, rows_shr(odd, 2));
    odd = rows_xor(odd, rows_shr(odd, 1));
    return rows_or(seven, rows_shl(rows_and(odd, i32x16_set1(0x01010101)), 7));
}

/* Four times seven bits of signs in the low 28 bits of each row become four whole bytes. */
static inline void even_signs_words(i32x16 packed, uint32_t signs[TILE_ROWS]) {
    i32x16 seven = rows_and(packed, i32x16_set1(0x7f));
    for (int i = 1; i < 4; i++)
        seven = rows_or(seven, rows_shifted_bits(packed, i, 0x7f << 8 * i));
    rows_store(signs, even_signs_bytes(seven));
}

/* 8 (g + 1) + 2 or + 0: the integers 8 g + 1 and 8 g - 1 of i_quants.h plus 9. `minus` is 0 or 1
 * and used as a number: a branch on it would be mispredicted every other time. */
static inline void iq1_stage_group(uint32_t index, uint64_t minus, int8_t q[8]) {
    uint64_t bytes = iq1_grid[index] + (1 - minus) * 0x0202020202020202u;
    memcpy(q, &bytes, sizeof bytes);
}

static inline void iq1_s_stage(const uint8_t *words, unsigned s, struct tile_stage *stage) {
    for (unsigned r = 0; r < TILE_ROWS; r++) {
        const uint8_t *low = row_bytes(words, s, r);
        uint32_t high = row_word(words, 8 + s / 2, r) >> 16 * (s % 2) & 0xffff;
        for (unsigned l = 0; l < 4; l++) {
            uint32_t index = low[l] | (high >> 3 * l & 7) << 8;
            iq1_stage_group(index, high >> 15, stage->q[r] + 32 * s + 8 * l);
        }
    }
}

static inline void iq1_m_stage(const uint8_t *words, unsigned s, struct tile_stage *stage) {
    for (unsigned r = 0; r < TILE_ROWS; r++) {
        const uint8_t *low = row_bytes(words, s, r);
        uint32_t high = row_word(words, 8 + s / 2, r) >> 16 * (s % 2);
        for (unsigned l = 0; l < 4; l++) {
            uint32_t index = low[l] | (high >> 4 * l & 7) << 8;
            iq1_stage_group(index, high >> (4 * l + 3) & 1, stage->q[r] + 32 * s + 8 * l);
        }
    }
}

static inline __m256i iq2_magnitudes(const uint64_t *grid, uint32_t i0, uint32_t i1, uint32_t i2,
                                     uint32_t i3) {
    return _mm256_set_epi64x((int64_t)grid[i3], (int64_t)grid[i2], (int64_t)grid[i1],
                             (int64_t)grid[i0]);
}

static inline void iq2_xxs_stage(const uint8_t *words, unsigned s, struct tile_stage *stage) {
    uint32_t signs[TILE_ROWS];
    even_signs_words(rows_word(words, 2 * s + 1), signs);
    for (unsigned r = 0; r < TILE_ROWS; r++) {
        const uint8_t *i = row_bytes(words, 2 * s, r);
        stage_signed(iq2_magnitudes(iq2xxs_grid, i[0], i[1], i[2], i[3]), signs[r],
                     stage->q[r] + 32 * s);
    }
}

static inline void iq2_xs_stage(const uint8_t *words, unsigned s, struct tile_stage *stage) {
    i32x16 first = rows_word(words, 2 * s), second = rows_word(words, 2 * s + 1);
    i32x16 seven = rows_shifted_bits(first, -9, 0x7f);
    seven = rows_or(seven, rows_shifted_bits(first, -17, 0x7f << 8));
    seven = rows_or(seven, rows_shifted_bits(second, 7, 0x7f << 16));
    seven = rows_or(seven, rows_shifted_bits(second, -1, 0x7f << 24));
    uint32_t signs[TILE_ROWS];
    rows_store(signs, even_signs_bytes(seven));
    for (unsigned r = 0; r < TILE_ROWS; r++) {
        uint32_t a = row_word(words, 2 * s, r), b = row_word(words, 2 * s + 1, r);
        stage_signed(iq2_magnitudes(iq2xs_grid, a & 511, a >> 16 & 511, b & 511, b >> 16 & 511),
                     signs[r], stage->q[r] + 32 * s);
    }
}

static inline void iq2_s_stage(const uint8_t *words, unsigned s, struct tile_stage *stage) {
    for (unsigned r = 0; r < TILE_ROWS; r++) {
        const uint8_t *i = row_bytes(words, s, r);
        uint32_t high = row_bytes(words, 16 + s / 4, r)[s % 4];
        stage_signed(iq2_magnitudes(iq2s_grid, i[0] | (high << 8 & 0x300),
                                    i[1] | (high << 6 & 0x300), i[2] | (high << 4 & 0x300),
                                    i[3] | (high << 2 & 0x300)),
                     row_word(words, 8 + s, r), stage->q[r] + 32 * s);
    }
}

/* Eight indices of a row, of which a word has those at even or at odd places (tensor/panels.h). A
 * gather, because they are made in a register: eight single loads of a codebook took up to twice
 * the time (IQ3_S: 650 instead of 355 ns a tile). */
static inline __m256i iq3_indices(const uint8_t *words, unsigned s, unsigned r) {
    __m128i even = _mm_cvtsi32_si128((int32_t)row_word(words, 2 * s, r));
    __m128i odd = _mm_cvtsi32_si128((int32_t)row_word(words, 2 * s + 1, r));
    return _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd));
}

static inline __m256i iq3_magnitudes(const uint32_t *grid, __m256i index) {
    return _mm256_i32gather_epi32((const int *)grid, index, 4);
}

static inline void iq3_xxs_stage(const uint8_t *words, unsigned s, struct tile_stage *stage) {
    uint32_t signs[TILE_ROWS];
    even_signs_words(rows_word(words, 16 + s), signs);
    for (unsigned r = 0; r < TILE_ROWS; r++)
        stage_signed(iq3_magnitudes(iq3xxs_grid, iq3_indices(words, s, r)), signs[r],
                     stage->q[r] + 32 * s);
}

static inline void iq3_s_stage(const uint8_t *words, unsigned s, struct tile_stage *stage) {
    const __m256i to_bit_8 = _mm256_setr_epi32(8, 7, 6, 5, 4, 3, 2, 1);
    for (unsigned r = 0; r < TILE_ROWS; r++) {
        int32_t ninth = row_bytes(words, 16 + s / 4, r)[s % 4];
        __m256i high = _mm256_sllv_epi32(_mm256_set1_epi32(ninth), to_bit_8);
        high = _mm256_and_si256(high, _mm256_set1_epi32(256));
        __m256i index = _mm256_or_si256(iq3_indices(words, s, r), high);
        stage_signed(iq3_magnitudes(iq3s_grid, index), row_word(words, 18 + s, r),
                     stage->q[r] + 32 * s);
    }
}

/* Makes 32 columns of 16 rows, those of sub-block s. */
typedef void stage_fn(const uint8_t *words, unsigned s, struct tile_stage *stage);

/* `bias` is added to the bytes of IQ2 and IQ3. */
static inline void codebook_block_tile(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                                       int bias, struct weight_tile *tile) {
    struct tile_stage stage;
    stage_fn *make;
    switch (dtype) {
    case DTYPE_IQ1_S:
        iq1_s_panel_scales(words, heads, tile->scale);
        make = iq1_s_stage;
        bias = 0;
        break;
    case DTYPE_IQ1_M:
        iq1_m_panel_scales(words, tile->scale);
        make = iq1_m_stage;
        bias = 0;
        break;
    case DTYPE_IQ2_XXS:
        iq2_xxs_panel_scales(words, heads, tile->scale);
        make = iq2_xxs_stage;
        break;
    case DTYPE_IQ2_XS:
        iq2_panel_scales(words, 16, heads, tile->scale);
        make = iq2_xs_stage;
        break;
    case DTYPE_IQ2_S:
        iq2_panel_scales(words, 18, heads, tile->scale);
        make = iq2_s_stage;
        break;
    case DTYPE_IQ3_XXS:
        iq3_xxs_panel_scales(words, heads, tile->scale);
        make = iq3_xxs_stage;
        break;
    case DTYPE_IQ3_S:
        iq3_s_panel_scales(words, heads, tile->scale);
        make = iq3_s_stage;
        break;
    default:
        assert(!"a type with a codebook");
        return;
    }
    for (unsigned i = 0; i < BLOCK_SUPER / 32; i++)
        make(words, i, &stage);
    tile_from_stage(&stage, bias, tile);
}

#endif
