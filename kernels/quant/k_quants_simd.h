/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the K types for a tile: one super-block of each of 16 rows, `stride` bytes apart.
 * What the bits mean stands in k_quants.h; the same names and order here.
 *
 * A lane is a row. Bytes are transposed as they lie in the block, 16 at a time, and every step
 * after that works on four columns of 16 rows. q is stored plus the bias of the type, -q_min,
 * which is what the packed bits hold anyway. */
#ifndef SHOAL_KERNELS_QUANT_K_QUANTS_SIMD_H
#define SHOAL_KERNELS_QUANT_K_QUANTS_SIMD_H

#include "kernels/quant/rows_simd.h"
#include "kernels/quant/tile.h"

#define LOW_NIBBLES 0x0f0f0f0f

static inline f32x16 negated(f32x16 a) {
    return f32x16_mul(a, f32x16_set1(-1.0f));
}

static inline void q2_k_tile(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    i32x16 v[4];
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    i32x16 halves = rows_load_words(p + offsetof(struct block_q2_k, d), stride); /* d, dmin */
    f32x16 d = rows_low_halves(halves), dmin = negated(rows_low_halves(rows_shr(halves, 16)));
    rows_read(p + offsetof(struct block_q2_k, scales), stride, v);
    for (unsigned c = 0; c < 4; c++) {
        rows_scale_bytes(rows_and(v[c], nibbles), 0, d, tile->scale + 4 * c);
        rows_scale_bytes(rows_and(rows_shr(v[c], 4), nibbles), 0, dmin, tile->min + 4 * c);
    }
    const uint8_t *qs = p + offsetof(struct block_q2_k, qs);
    for (unsigned piece = 0; piece < 4; piece++) { /* 16 bytes: l = 16 (piece mod 2) + 0..15 */
        rows_read(qs + 16 * piece, stride, v);
        for (unsigned c = 0; c < 4; c++) {
            unsigned group = 32 * (piece / 2) + 4 * (piece % 2) + c;
            for (unsigned j = 0; j < 4; j++)
                rows_store(tile->q[group + 8 * j],
                           rows_and(rows_shr(v[c], 2 * j), i32x16_set1(0x03030303)));
        }
    }
}

/* The last 16 bytes of the block are two of qs, the 12 of the scales and d. */
static inline void q3_k_tile_scales(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    i32x16 v[4];
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    rows_read(p + sizeof(struct block_q3_k) - 16, stride, v);
    i32x16 a = rows_or(rows_shr(v[0], 16), rows_shl(v[1], 16));    /* bytes 0..3 of the scales */
    i32x16 b = rows_or(rows_shr(v[1], 16), rows_shl(v[2], 16));    /* 4..7 */
    i32x16 high = rows_or(rows_shr(v[2], 16), rows_shl(v[3], 16)); /* 8..11 */
    i32x16 low[4] = {rows_and(a, nibbles), rows_and(b, nibbles), rows_and(rows_shr(a, 4), nibbles),
                     rows_and(rows_shr(b, 4), nibbles)};
    f32x16 d = rows_low_halves(rows_shr(v[3], 16));
    for (int c = 0; c < 4; c++)
        rows_scale_bytes(rows_or(low[c], rows_shifted_bits(high, 4 - 2 * c, 0x30303030)), 32, d,
                         tile->scale + 4 * c);
}

static inline void q3_k_tile(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    const uint8_t *qs = p + offsetof(struct block_q3_k, qs);
    const uint8_t *hmask = p + offsetof(struct block_q3_k, hmask);
    q3_k_tile_scales(p, stride, tile);
    for (unsigned half = 0; half < 2; half++) { /* l = 16 half + 0..15 */
        i32x16 high[4], v[4];
        rows_read(hmask + 16 * half, stride, high);
        for (unsigned n = 0; n < 2; n++) {
            rows_read(qs + 32 * n + 16 * half, stride, v);
            for (unsigned c = 0; c < 4; c++) {
                unsigned group = 32 * n + 4 * half + c;
                for (unsigned j = 0; j < 4; j++) {
                    i32x16 low = rows_and(rows_shr(v[c], 2 * j), i32x16_set1(0x03030303));
                    int shift = 2 - (int)(4 * n + j); /* bit 4n + j to bit 2 */
                    rows_store(tile->q[group + 8 * j],
                               rows_or(low, rows_shifted_bits(high[c], shift, 0x04040404)));
                }
            }
        }
    }
}

/* Q4_K and Q5_K begin with 16 bytes of d, dmin and the packed scales and minima. */
static inline void q4_k_tile_scales(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    i32x16 v[4];
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    const i32x16 six = i32x16_set1(0x3f3f3f3f);
    rows_read(p, stride, v);
    f32x16 d = rows_low_halves(v[0]);
    f32x16 dmin = negated(rows_low_halves(rows_shr(v[0], 16)));
    i32x16 scales_high = rows_shifted_bits(v[1], -2, 0x30303030);
    i32x16 mins_high = rows_shifted_bits(v[2], -2, 0x30303030);
    i32x16 scales_low = rows_and(v[3], nibbles);
    i32x16 mins_low = rows_and(rows_shr(v[3], 4), nibbles);
    rows_scale_bytes(rows_and(v[1], six), 0, d, tile->scale);
    rows_scale_bytes(rows_or(scales_low, scales_high), 0, d, tile->scale + 4);
    rows_scale_bytes(rows_and(v[2], six), 0, dmin, tile->min);
    rows_scale_bytes(rows_or(mins_low, mins_high), 0, dmin, tile->min + 4);
}

static inline void q4_k_tile(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    const uint8_t *qs = p + offsetof(struct block_q4_k, qs);
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    q4_k_tile_scales(p, stride, tile);
    for (unsigned piece = 0; piece < 8; piece++) {
        i32x16 v[4];
        rows_read(qs + 16 * piece, stride, v);
        for (unsigned c = 0; c < 4; c++) {
            unsigned group = 16 * (piece / 2) + 4 * (piece % 2) + c;
            rows_store(tile->q[group], rows_and(v[c], nibbles));
            rows_store(tile->q[group + 8], rows_and(rows_shr(v[c], 4), nibbles));
        }
    }
}

static inline void q5_k_tile(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    const uint8_t *qs = p + offsetof(struct block_q5_k, qs);
    const uint8_t *qh = p + offsetof(struct block_q5_k, qh);
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    q4_k_tile_scales(p, stride, tile);
    for (unsigned half = 0; half < 2; half++) { /* l = 16 half + 0..15 */
        i32x16 high[4], v[4];
        rows_read(qh + 16 * half, stride, high);
        for (unsigned pair = 0; pair < 4; pair++) {
            rows_read(qs + 32 * pair + 16 * half, stride, v);
            for (unsigned c = 0; c < 4; c++) {
                unsigned group = 16 * pair + 4 * half + c;
                int shift = 4 - 2 * (int)pair; /* bits 2 pair and 2 pair + 1 to bit 4 */
                i32x16 even = rows_shifted_bits(high[c], shift, 0x10101010);
                i32x16 odd = rows_shifted_bits(high[c], shift - 1, 0x10101010);
                rows_store(tile->q[group], rows_or(rows_and(v[c], nibbles), even));
                rows_store(tile->q[group + 8], rows_or(rows_and(rows_shr(v[c], 4), nibbles), odd));
            }
        }
    }
}

/* Signed bytes times d, which is the high half of the block's last word. */
static inline void q6_k_tile_scales(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    i32x16 v[4];
    i32x16 last = rows_load_words(p + sizeof(struct block_q6_k) - 4, stride);
    f32x16 d = rows_low_halves(rows_shr(last, 16));
    rows_read(p + offsetof(struct block_q6_k, scales), stride, v);
    for (unsigned c = 0; c < 4; c++) {
        for (unsigned i = 0; i < 4; i++) {
            i32x16 number = rows_sar(rows_shl(v[c], 24 - 8 * i), 24);
            f32x16_store(tile->scale[4 * c + i], f32x16_mul(d, i32x16_to_f32(number)));
        }
    }
}

static inline void q6_k_tile(const uint8_t *p, size_t stride, struct weight_tile *tile) {
    const uint8_t *ql = p + offsetof(struct block_q6_k, ql);
    const uint8_t *qh = p + offsetof(struct block_q6_k, qh);
    const i32x16 nibbles = i32x16_set1(LOW_NIBBLES);
    q6_k_tile_scales(p, stride, tile);
    for (unsigned quarter = 0; quarter < 4; quarter++) { /* n = quarter / 2 */
        unsigned n = quarter / 2, half = quarter % 2;    /* l = 16 half + 0..15 */
        i32x16 high[4], v[4];
        rows_read(qh + 32 * n + 16 * half, stride, high);
        for (unsigned k = 0; k < 2; k++) {
            rows_read(ql + 64 * n + 32 * k + 16 * half, stride, v);
            for (unsigned c = 0; c < 4; c++) {
                unsigned group = 32 * n + 8 * k + 4 * half + c;
                int shift = 4 - 2 * (int)k; /* bits 2k, 2k + 1 to bit 4; four more for k + 2 */
                i32x16 first = rows_shifted_bits(high[c], shift, 0x30303030);
                i32x16 third = rows_shifted_bits(high[c], shift - 4, 0x30303030);
                rows_store(tile->q[group], rows_or(rows_and(v[c], nibbles), first));
                rows_store(tile->q[group + 16],
                           rows_or(rows_and(rows_shr(v[c], 4), nibbles), third));
            }
        }
    }
}

#endif
