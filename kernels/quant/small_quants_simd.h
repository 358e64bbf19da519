/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the types with blocks of 32 for a tile: block b of each of 16 rows, `stride` bytes
 * apart, becomes the columns 32b .. 32b + 31. What the bits mean stands in small_quants.h. */
#ifndef SHOAL_KERNELS_QUANT_SMALL_QUANTS_SIMD_H
#define SHOAL_KERNELS_QUANT_SMALL_QUANTS_SIMD_H

#include "kernels/quant/rows_simd.h"
#include "kernels/quant/small_quants.h"
#include "kernels/quant/tile.h"

/* Turns bytes with a sign into what a tile of a wide type holds (tile.h). */
static inline i32x16 rows_wide(i32x16 q) {
#if SIMD_AVX512
    return rows_xor(q, rows_set_bytes(-128)); /* + 128 */
#else
    return q;
#endif
}

static inline void tile_store_half(struct weight_tile *tile, unsigned b, const uint8_t *d,
                                   size_t stride) {
    f32x16_store(tile->scale[b], rows_low_halves(rows_load_words(d, stride)));
}

/* 16 bytes of nibbles: low ones are columns 0..15 of the block, high ones 16..31. */
static inline void nibbles_transpose(const uint8_t *qs, size_t stride, i32x16 low[4],
                                     i32x16 high[4]) {
    const i32x16 nibbles = i32x16_set1(0x0f0f0f0f);
    rows_read(qs, stride, low);
    for (unsigned c = 0; c < 4; c++) {
        high[c] = rows_and(rows_shr(low[c], 4), nibbles);
        low[c] = rows_and(low[c], nibbles);
    }
}

static inline void q4_0_tile(const uint8_t *p, size_t stride, unsigned b,
                             struct weight_tile *tile) {
    i32x16 low[4], high[4];
    tile_store_half(tile, b, p, stride);
    nibbles_transpose(p + offsetof(struct block_q4_0, qs), stride, low, high);
    for (unsigned c = 0; c < 4; c++) {
        rows_store(tile->q[8 * b + c], low[c]);
        rows_store(tile->q[8 * b + 4 + c], high[c]);
    }
}

static inline void q4_1_tile(const uint8_t *p, size_t stride, unsigned b,
                             struct weight_tile *tile) {
    i32x16 low[4], high[4];
    i32x16 halves = rows_load_words(p, stride); /* d, m */
    f32x16_store(tile->scale[b], rows_low_halves(halves));
    f32x16_store(tile->min[b], rows_low_halves(rows_shr(halves, 16)));
    nibbles_transpose(p + offsetof(struct block_q4_1, qs), stride, low, high);
    for (unsigned c = 0; c < 4; c++) {
        rows_store(tile->q[8 * b + c], low[c]);
        rows_store(tile->q[8 * b + 4 + c], high[c]);
    }
}

/* Bits 0..3 of each lane to bit 4 of its bytes 0..3. */
static inline i32x16 four_bits_to_bytes(i32x16 a) {
    a = rows_and(a, i32x16_set1(15));
    a = rows_or(a, rows_shl(a, 7));
    a = rows_or(a, rows_shl(a, 14));
    return rows_shl(rows_and(a, i32x16_set1(0x01010101)), 4);
}

/* Nibbles with a fifth bit each: bit e of the row's 32 bits belongs to column e. */
static inline void five_bits_tile(const uint8_t *qs, size_t stride, i32x16 qh, unsigned b,
                                  struct weight_tile *tile) {
    i32x16 low[4], high[4];
    nibbles_transpose(qs, stride, low, high);
    for (unsigned c = 0; c < 4; c++) {
        i32x16 fifth = four_bits_to_bytes(rows_shr(qh, 4 * c));
        rows_store(tile->q[8 * b + c], rows_or(low[c], fifth));
        fifth = four_bits_to_bytes(rows_shr(qh, 16 + 4 * c));
        rows_store(tile->q[8 * b + 4 + c], rows_or(high[c], fifth));
    }
}

/* The first 16 bytes are d, 4 of qh and 10 of qs. */
static inline void q5_0_tile(const uint8_t *p, size_t stride, unsigned b,
                             struct weight_tile *tile) {
    i32x16 v[4];
    rows_read(p, stride, v);
    f32x16_store(tile->scale[b], rows_low_halves(v[0]));
    i32x16 qh = rows_or(rows_shr(v[0], 16), rows_shl(v[1], 16));
    five_bits_tile(p + offsetof(struct block_q5_0, qs), stride, qh, b, tile);
}

static inline void q5_1_tile(const uint8_t *p, size_t stride, unsigned b,
                             struct weight_tile *tile) {
    i32x16 v[4];
    rows_read(p, stride, v);
    f32x16_store(tile->scale[b], rows_low_halves(v[0]));
    f32x16_store(tile->min[b], rows_low_halves(rows_shr(v[0], 16)));
    five_bits_tile(p + offsetof(struct block_q5_1, qs), stride, v[1], b, tile);
}

/* 16 columns that are stored as bytes with a sign: groups group .. group + 3. */
static inline void bytes_tile(const uint8_t *qs, size_t stride, unsigned group,
                              struct weight_tile *tile) {
    i32x16 v[4];
    rows_read(qs, stride, v);
    for (unsigned c = 0; c < 4; c++)
        rows_store(tile->q[group + c], rows_wide(v[c]));
}

static inline void q8_0_tile(const uint8_t *p, size_t stride, unsigned b,
                             struct weight_tile *tile) {
    const uint8_t *qs = p + offsetof(struct block_q8_0, qs);
    tile_store_half(tile, b, p, stride);
    bytes_tile(qs, stride, 8 * b, tile);
    bytes_tile(qs + 16, stride, 8 * b + 4, tile);
}

/* A whole super-block: eight times 32 columns with one scale. */
static inline void q8_k_tile(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    i32x16 d = rows_load_words(p + offsetof(struct block_q8_k, d), stride);
    for (unsigned s = 0; s < 8; s++)
        rows_store(tile->scale[s], d);
    for (unsigned piece = 0; piece < 16; piece++)
        bytes_tile(p + offsetof(struct block_q8_k, qs) + 16 * piece, stride, 4 * piece, tile);
}

/* 32 columns of nibbles that name entries of the IQ4 codebook. */
static inline void iq4_tile(const uint8_t *qs, size_t stride, unsigned b,
                            struct weight_tile *tile) {
    static const int8_t values[16] = IQ4_VALUES;
    i32x16 low[4], high[4];
    nibbles_transpose(qs, stride, low, high);
    for (unsigned c = 0; c < 4; c++) {
        rows_store(tile->q[8 * b + c], rows_wide(rows_lookup(values, low[c])));
        rows_store(tile->q[8 * b + 4 + c], rows_wide(rows_lookup(values, high[c])));
    }
}

static inline void iq4_nl_tile(const uint8_t *p, size_t stride, unsigned b,
                               struct weight_tile *tile) {
    tile_store_half(tile, b, p, stride);
    iq4_tile(p + offsetof(struct block_iq4_nl, qs), stride, b, tile);
}

/* A whole super-block. The first 8 bytes are d, the high and the low bits of the scales. */
static inline void iq4_xs_tile(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    i32x16 v[4];
    rows_read(p, stride, v);
    f32x16 d = rows_low_halves(v[0]);
    for (unsigned s = 0; s < 8; s++) {
        i32x16 low = rows_and(rows_shr(v[1], 4 * s), i32x16_set1(15));
        i32x16 high = rows_and(rows_shr(v[0], 16 + 2 * s), i32x16_set1(3));
        i32x16 number = i32x16_sub(rows_or(low, rows_shl(high, 4)), i32x16_set1(32));
        f32x16_store(tile->scale[s], f32x16_mul(d, i32x16_to_f32(number)));
        iq4_tile(p + offsetof(struct block_iq4_xs, qs) + 16 * s, stride, s, tile);
    }
}

static inline void mxfp4_tile(const uint8_t *p, size_t stride, unsigned b,
                              struct weight_tile *tile) {
    static const int8_t values[16] = FP4_VALUES;
    const i32x16 bias = rows_set_bytes(12);
    i32x16 low[4], high[4];
    for (unsigned r = 0; r < 16; r++)
        tile->scale[b][r] = mxfp4_scale(p[r * stride]);
    nibbles_transpose(p + offsetof(struct block_mxfp4, qs), stride, low, high);
    for (unsigned c = 0; c < 4; c++) {
        rows_store(tile->q[8 * b + c], rows_add_bytes(rows_lookup(values, low[c]), bias));
        rows_store(tile->q[8 * b + 4 + c], rows_add_bytes(rows_lookup(values, high[c]), bias));
    }
}

#endif
