/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of the codebook types on AVX2. What the bits mean stands in i_quants.h.
 *
 * Without permutations of bytes across a register (codebook_avx512.h) looking up a codebook is a
 * load per 8 (or 4) columns of one row. So the blocks of a panel are put together again, unpacked
 * one by one into a stage, and the stage is transposed. IQ2 and IQ3 are staged with their signs,
 * whose bits become bytes 32 columns at a time; IQ1 is staged with the bias of its tiles. */
#ifndef SHOAL_KERNELS_QUANT_CODEBOOK_AVX2_H
#define SHOAL_KERNELS_QUANT_CODEBOOK_AVX2_H

#include <assert.h>

#include "kernels/quant/i_quants.h"
#include "kernels/quant/rows_simd.h"
#include "kernels/quant/tile.h"
#include "tensor/panels.h"

/* 16 rows, one super-block of each. */
struct tile_stage {
    alignas(64) int8_t q[TILE_ROWS][TILE_COLUMNS];
    alignas(64) float scale[TILE_ROWS][QUANT_SUBS_MAX];
};

/* A whole super-block with n_subs sub-blocks. */
static inline void tile_from_stage(const struct tile_stage *stage, int bias, unsigned n_subs,
                                   struct weight_tile *tile) {
    i32x16 v[4];
    const i32x16 biases = rows_set_bytes((int8_t)bias);
    for (unsigned piece = 0; piece < TILE_COLUMNS / 16; piece++) {
        rows_transpose((const uint8_t *)&stage->q[0][16 * piece], TILE_COLUMNS, v);
        for (unsigned c = 0; c < 4; c++)
            rows_store(tile->q[4 * piece + c], rows_add_bytes(v[c], biases));
    }
    for (unsigned piece = 0; piece < n_subs / 4; piece++) {
        rows_transpose((const uint8_t *)&stage->scale[0][4 * piece], sizeof stage->scale[0], v);
        for (unsigned c = 0; c < 4; c++)
            rows_store(tile->scale[4 * piece + c], v[c]);
    }
}

/* The blocks of 16 rows as a file has them, one every BLOCK_ROOM bytes. */
#define BLOCK_ROOM 128

/* Four words of eight rows: 16 bytes of each, at the same place of eight blocks. */
static inline void blocks_store_words(const __m256i w[4], uint8_t *blocks) {
    __m256i low01 = _mm256_unpacklo_epi32(w[0], w[1]), high01 = _mm256_unpackhi_epi32(w[0], w[1]);
    __m256i low23 = _mm256_unpacklo_epi32(w[2], w[3]), high23 = _mm256_unpackhi_epi32(w[2], w[3]);
    const __m256i rows[4] = {
        /* r and r + 4 */
        _mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
        _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
    for (unsigned r = 0; r < 4; r++) {
        uint8_t *block = blocks + (size_t)r * BLOCK_ROOM;
        _mm_storeu_si128((__m128i *)block, _mm256_castsi256_si128(rows[r]));
        _mm_storeu_si128((__m128i *)(block + 4 * BLOCK_ROOM), _mm256_extracti128_si256(rows[r], 1));
    }
}

/* At least four words to a block; the last four may be written twice. */
static inline void blocks_from_panel(const struct panel_format f, const uint8_t *words,
                                     const uint8_t *heads, uint8_t *blocks) {
    for (unsigned w = 0; w < f.n_words; w += 4) {
        unsigned first = w + 4 <= f.n_words ? w : f.n_words - 4;
        i32x16 v[4];
        rows_words(words, first, v);
        uint8_t *at = blocks + f.word_offset + 4 * (size_t)first;
        blocks_store_words((const __m256i[4]){v[0].lo, v[1].lo, v[2].lo, v[3].lo}, at);
        blocks_store_words((const __m256i[4]){v[0].hi, v[1].hi, v[2].hi, v[3].hi},
                           at + 8 * BLOCK_ROOM);
    }
    for (unsigned r = 0; r < TILE_ROWS; r++)
        memcpy(blocks + (size_t)r * BLOCK_ROOM + f.head_offset, heads + (size_t)r * f.head_bytes,
               f.head_bytes);
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
static inline __m256i even_signs_bytes(__m256i seven) {
    __m256i odd = _mm256_xor_si256(seven, _mm256_srli_epi16(seven, 4));
    odd = _mm256_xor_si256(odd, _mm256_srli_epi16(odd, 2));
    odd = _mm256_xor_si256(odd, _mm256_srli_epi16(odd, 1));
    odd = _mm256_and_si256(odd, _mm256_set1_epi8(1));
    return _mm256_or_si256(seven, _mm256_slli_epi16(odd, 7));
}

/* Four times seven bits of signs in the low 28 bits of each lane become four whole bytes. */
static inline __m256i even_signs_words(__m256i packed) {
    __m256i a = _mm256_and_si256(packed, _mm256_set1_epi32(0x7f));
    __m256i b = _mm256_and_si256(_mm256_slli_epi32(packed, 1), _mm256_set1_epi32(0x7f00));
    __m256i c = _mm256_and_si256(_mm256_slli_epi32(packed, 2), _mm256_set1_epi32(0x7f0000));
    __m256i d = _mm256_and_si256(_mm256_slli_epi32(packed, 3), _mm256_set1_epi32(0x7f000000));
    return even_signs_bytes(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
}

/* out[i] = (2 n[i] + 1) * d */
static inline void stage_odd_scales(__m256i n, float d, float out[8]) {
    __m256i odd = _mm256_add_epi32(_mm256_add_epi32(n, n), _mm256_set1_epi32(1));
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(odd)));
}

/* The nibbles of 8 bytes, low ones first, as 16 bytes. */
static inline __m128i nibble_bytes(__m128i packed) {
    const __m128i low = _mm_set1_epi8(15);
    return _mm_unpacklo_epi8(_mm_and_si128(packed, low),
                             _mm_and_si128(_mm_srli_epi16(packed, 4), low));
}

/* 8 (g + 1) + 2 or + 0: the integers 8 g + 1 and 8 g - 1 of i_quants.h plus 9. `minus` is 0 or 1
 * and used as a number: a branch on it would be mispredicted every other time. */
static inline void iq1_stage_group(uint32_t index, uint64_t minus, int8_t q[8]) {
    uint64_t bytes = iq1_grid[index] + (1 - minus) * 0x0202020202020202u;
    memcpy(q, &bytes, sizeof bytes);
}

static inline void iq1_s_stage(const struct block_iq1_s *b, int8_t *q, float *scale) {
    float d = half_to_f32(b->d) * 0.125f;
    for (int s = 0; s < 8; s++) {
        uint32_t high = b->qh[s];
        scale[s] = d * (float)(2 * (high >> 12 & 7) + 1);
        for (int l = 0; l < 4; l++) {
            uint32_t index = b->qs[4 * s + l] | (high >> 3 * l & 7) << 8;
            iq1_stage_group(index, high >> 15, q + 32 * s + 8 * l);
        }
    }
}

static inline void iq1_m_stage(const struct block_iq1_m *b, int8_t *q, float *scale) {
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= (uint32_t)(b->scales[i] >> 12) << 4 * i;
    float d = half_to_f32((uint16_t)bits) * 0.125f;
    for (int i = 0; i < 4; i++) {
        uint32_t three = b->scales[i];
        for (int j = 0; j < 4; j++)
            scale[4 * i + j] = d * (float)(2 * (three >> 3 * j & 7) + 1);
    }
    for (int i = 0; i < 16; i++) {
        uint32_t high = b->qh[i];
        iq1_stage_group(b->qs[2 * i] | (high << 8 & 0x700), high >> 3 & 1, q + 16 * i);
        iq1_stage_group(b->qs[2 * i + 1] | (high << 4 & 0x700), high >> 7, q + 16 * i + 8);
    }
}

static inline __m256i iq2_magnitudes(const uint64_t *grid, uint32_t i0, uint32_t i1, uint32_t i2,
                                     uint32_t i3) {
    return _mm256_set_epi64x((int64_t)grid[i3], (int64_t)grid[i2], (int64_t)grid[i1],
                             (int64_t)grid[i0]);
}

static inline void iq2_xxs_stage(const struct block_iq2_xxs *b, int8_t *q, float *scale) {
    /* Sub-blocks are pairs of words (indices, signs); the second words, brought into order. */
    __m256 first = _mm256_loadu_ps((const float *)(const void *)&b->sub[0]);
    __m256 second = _mm256_loadu_ps((const float *)(const void *)&b->sub[4]);
    __m256i words = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xdd));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    uint32_t signs[8];
    _mm256_storeu_si256((__m256i *)signs, even_signs_words(words));
    stage_odd_scales(_mm256_srli_epi32(words, 28), half_to_f32(b->d) * 0.125f, scale);
    for (int s = 0; s < 8; s++) {
        const uint8_t *index = b->sub[s].index;
        stage_signed(iq2_magnitudes(iq2xxs_grid, index[0], index[1], index[2], index[3]), signs[s],
                     q + 32 * s);
    }
}

static inline void iq2_stage_scales(const uint8_t packed[8], float d, float scale[16]) {
    __m128i bytes = nibble_bytes(_mm_loadl_epi64((const __m128i *)packed));
    stage_odd_scales(_mm256_cvtepu8_epi32(bytes), d * 0.125f, scale);
    stage_odd_scales(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)), d * 0.125f, scale + 8);
}

static inline void iq2_xs_stage(const struct block_iq2_xs *b, int8_t *q, float *scale) {
    const uint8_t *qs = (const uint8_t *)b + offsetof(struct block_iq2_xs, qs);
    __m256i first = _mm256_loadu_si256((const __m256i *)qs);
    __m256i second = _mm256_loadu_si256((const __m256i *)(qs + 32));
    const __m256i nine = _mm256_set1_epi16(511);
    uint16_t index[32];
    uint32_t signs[8];
    _mm256_storeu_si256((__m256i *)index, _mm256_and_si256(first, nine));
    _mm256_storeu_si256((__m256i *)(index + 16), _mm256_and_si256(second, nine));
    __m256i seven = _mm256_packus_epi16(_mm256_srli_epi16(first, 9), _mm256_srli_epi16(second, 9));
    seven = _mm256_permute4x64_epi64(seven, 0xd8);
    _mm256_storeu_si256((__m256i *)signs, even_signs_bytes(seven));
    iq2_stage_scales(b->scales, half_to_f32(b->d), scale);
    for (int s = 0; s < 8; s++) {
        const uint16_t *i = index + 4 * s;
        stage_signed(iq2_magnitudes(iq2xs_grid, i[0], i[1], i[2], i[3]), signs[s], q + 32 * s);
    }
}

static inline void iq2_s_stage(const struct block_iq2_s *b, int8_t *q, float *scale) {
    iq2_stage_scales(b->scales, half_to_f32(b->d), scale);
    for (int s = 0; s < 8; s++) {
        const uint8_t *i = b->qs + 4 * s;
        uint32_t high = b->qh[s], signs;
        memcpy(&signs, b->signs + 4 * s, sizeof signs);
        stage_signed(iq2_magnitudes(iq2s_grid, i[0] | (high << 8 & 0x300),
                                    i[1] | (high << 6 & 0x300), i[2] | (high << 4 & 0x300),
                                    i[3] | (high << 2 & 0x300)),
                     signs, q + 32 * s);
    }
}

/* A gather, although rows_simd.h avoids it: eight indices per 32 columns are made in a register,
 * and eight single loads of a codebook took up to twice the time (IQ3_S: 650 instead of 355 ns). */
static inline __m256i iq3_magnitudes(const uint32_t *grid, __m256i index) {
    return _mm256_i32gather_epi32((const int *)grid, index, 4);
}

static inline void iq3_xxs_stage(const struct block_iq3_xxs *b, int8_t *q, float *scale) {
    const uint8_t *packed = (const uint8_t *)b + offsetof(struct block_iq3_xxs, signs);
    __m256i words = _mm256_loadu_si256((const __m256i *)packed);
    uint32_t signs[8];
    _mm256_storeu_si256((__m256i *)signs, even_signs_words(words));
    stage_odd_scales(_mm256_srli_epi32(words, 28), half_to_f32(b->d) * 0.25f, scale);
    for (int s = 0; s < 8; s++) {
        __m128i index = _mm_loadl_epi64((const __m128i *)(b->qs + 8 * s));
        stage_signed(iq3_magnitudes(iq3xxs_grid, _mm256_cvtepu8_epi32(index)), signs[s],
                     q + 32 * s);
    }
}

static inline void iq3_s_stage(const struct block_iq3_s *b, int8_t *q, float *scale) {
    const __m256i to_bit_8 = _mm256_setr_epi32(8, 7, 6, 5, 4, 3, 2, 1);
    int32_t packed;
    memcpy(&packed, b->scales, sizeof packed);
    __m128i nibbles = nibble_bytes(_mm_cvtsi32_si128(packed));
    stage_odd_scales(_mm256_cvtepu8_epi32(nibbles), half_to_f32(b->d), scale);
    for (int s = 0; s < 8; s++) {
        __m256i low = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(b->qs + 8 * s)));
        __m256i high = _mm256_sllv_epi32(_mm256_set1_epi32(b->qh[s]), to_bit_8);
        high = _mm256_and_si256(high, _mm256_set1_epi32(256));
        uint32_t signs;
        memcpy(&signs, b->signs + 4 * s, sizeof signs);
        stage_signed(iq3_magnitudes(iq3s_grid, _mm256_or_si256(low, high)), signs, q + 32 * s);
    }
}

static inline void codebook_block_stage(enum dtype dtype, const void *block, int8_t *q,
                                        float *scale) {
    switch (dtype) {
    case DTYPE_IQ1_S:
        iq1_s_stage(block, q, scale);
        break;
    case DTYPE_IQ1_M:
        iq1_m_stage(block, q, scale);
        break;
    case DTYPE_IQ2_XXS:
        iq2_xxs_stage(block, q, scale);
        break;
    case DTYPE_IQ2_XS:
        iq2_xs_stage(block, q, scale);
        break;
    case DTYPE_IQ2_S:
        iq2_s_stage(block, q, scale);
        break;
    case DTYPE_IQ3_XXS:
        iq3_xxs_stage(block, q, scale);
        break;
    case DTYPE_IQ3_S:
        iq3_s_stage(block, q, scale);
        break;
    default:
        assert(!"a type with a codebook");
    }
}

/* `bias` is added to the bytes of IQ2 and IQ3. */
static inline void codebook_block_tile(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                                       int bias, struct weight_tile *tile) {
    alignas(32) uint8_t blocks[TILE_ROWS * BLOCK_ROOM];
    struct tile_stage stage;
    const unsigned n_subs = BLOCK_SUPER / quant_traits(dtype).sub;
    const bool has_bias = dtype == DTYPE_IQ1_S || dtype == DTYPE_IQ1_M;
    blocks_from_panel(panel_format(dtype), words, heads, blocks);
    for (unsigned r = 0; r < TILE_ROWS; r++)
        codebook_block_stage(dtype, blocks + (size_t)r * BLOCK_ROOM, stage.q[r], stage.scale[r]);
    tile_from_stage(&stage, has_bias ? 0 : bias, n_subs, tile);
}

#endif
