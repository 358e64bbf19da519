/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the types with blocks of 32: one block -> 32 integers, one scale and, for the
 * types "_1", one minimum; the value of element e is scale * q[e] (+ min).
 *
 * Byte j of the 16 nibble bytes holds element j (low nibble) and element j + 16 (high nibble).
 * Q4_0 .. Q8_0 and IQ4_NL as in ggml; MXFP4 as in the OCP Microscaling specification 1.0, whose
 * E2M1 values are stored doubled here so that they are integers. */
#ifndef SHOAL_KERNELS_QUANT_SMALL_QUANTS_H
#define SHOAL_KERNELS_QUANT_SMALL_QUANTS_H

#include "kernels/quant/half.h"
#include "tensor/blocks.h"

/* The 16 values of a nibble in IQ4_NL and IQ4_XS, and in MXFP4. */
#define IQ4_VALUES                                                                                 \
    { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 }
#define FP4_VALUES                                                                                 \
    { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 }

static inline void read_nibbles(const uint8_t qs[16], int offset, int8_t q[32]) {
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)((qs[j] & 15) + offset);
        q[j + 16] = (int8_t)((qs[j] >> 4) + offset);
    }
}

static inline void read_nibbles_and_high_bits(const uint8_t qs[16], uint32_t qh, int offset,
                                              int8_t q[32]) {
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)((qs[j] & 15) + (qh >> j & 1) * 16 + offset);
        q[j + 16] = (int8_t)((qs[j] >> 4) + (qh >> (j + 16) & 1) * 16 + offset);
    }
}

static inline void read_nibble_values(const uint8_t qs[16], const int8_t values[16], int8_t q[32]) {
    for (int j = 0; j < 16; j++) {
        q[j] = values[qs[j] & 15];
        q[j + 16] = values[qs[j] >> 4];
    }
}

static inline void q4_0_read(const struct block_q4_0 *b, int8_t *q, float *scale) {
    *scale = half_to_f32(b->d);
    read_nibbles(b->qs, -8, q);
}

static inline void q4_1_read(const struct block_q4_1 *b, int8_t *q, float *scale, float *min) {
    *scale = half_to_f32(b->d);
    *min = half_to_f32(b->m);
    read_nibbles(b->qs, 0, q);
}

static inline void q5_0_read(const struct block_q5_0 *b, int8_t *q, float *scale) {
    *scale = half_to_f32(b->d);
    read_nibbles_and_high_bits(b->qs, b->qh, -16, q);
}

static inline void q5_1_read(const struct block_q5_1 *b, int8_t *q, float *scale, float *min) {
    *scale = half_to_f32(b->d);
    *min = half_to_f32(b->m);
    read_nibbles_and_high_bits(b->qs, b->qh, 0, q);
}

static inline void q8_0_read(const struct block_q8_0 *b, int8_t *q, float *scale) {
    *scale = half_to_f32(b->d);
    memcpy(q, b->qs, sizeof b->qs);
}

static inline void iq4_nl_read(const struct block_iq4_nl *b, int8_t *q, float *scale) {
    static const int8_t values[16] = IQ4_VALUES;
    *scale = half_to_f32(b->d);
    read_nibble_values(b->qs, values, q);
}

/* 2^(e - 128) as float bits: for e of 0 and 1 a subnormal number. */
static inline float mxfp4_scale(uint8_t e) {
    return f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

static inline void mxfp4_read(const struct block_mxfp4 *b, int8_t *q, float *scale) {
    static const int8_t values[16] = FP4_VALUES;
    *scale = mxfp4_scale(b->e);
    read_nibble_values(b->qs, values, q);
}

#endif
