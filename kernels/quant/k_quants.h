/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the K types: one super-block of 256 -> integers, and a scale (and minimum) for each
 * sub-block of 16 or 32. The value of element e is scale[s] * q[e] (+ min[s]), s its sub-block.
 *
 * Scales are integers of 4 to 8 bits times the half-precision `d` of the super-block. That product
 * has at most 11 + 8 bits, and times q at most 24: exact in float, in any order. Formats: ggml. */
#ifndef SHOAL_KERNELS_QUANT_K_QUANTS_H
#define SHOAL_KERNELS_QUANT_K_QUANTS_H

#include "kernels/quant/half.h"
#include "tensor/blocks.h"

/* Elements 128n + 32j + l are the bits 2j, 2j + 1 of byte 32n + l. */
static inline void q2_k_read(const struct block_q2_k *b, int8_t *q, float *scale, float *min) {
    float d = half_to_f32(b->d), dmin = half_to_f32(b->dmin);
    for (int s = 0; s < 16; s++) {
        scale[s] = d * (float)(b->scales[s] & 15);
        min[s] = -(dmin * (float)(b->scales[s] >> 4));
    }
    for (int n = 0; n < 2; n++) {
        for (int j = 0; j < 4; j++) {
            for (int l = 0; l < 32; l++)
                q[128 * n + 32 * j + l] = (int8_t)(b->qs[32 * n + l] >> 2 * j & 3);
        }
    }
}

/* The 16 scales of 6 bits, 0..63: low nibbles in bytes 0..7 (two per byte), high pairs of bits in
 * bytes 8..11 (four per byte). */
static inline void q3_k_scales(const uint8_t packed[12], uint8_t out[16]) {
    for (int s = 0; s < 16; s++) {
        int low = s < 8 ? packed[s] & 15 : packed[s - 8] >> 4;
        int high = packed[8 + s % 4] >> 2 * (s / 4) & 3;
        out[s] = (uint8_t)(low | high << 4);
    }
}

/* As Q2_K, with a third bit in hmask: where it is missing, 4 is subtracted. */
static inline void q3_k_read(const struct block_q3_k *b, int8_t *q, float *scale) {
    float d = half_to_f32(b->d);
    uint8_t scales[16];
    q3_k_scales(b->scales, scales);
    for (int s = 0; s < 16; s++)
        scale[s] = d * (float)(scales[s] - 32);
    for (int n = 0; n < 2; n++) {
        for (int j = 0; j < 4; j++) {
            for (int l = 0; l < 32; l++) {
                int low = b->qs[32 * n + l] >> 2 * j & 3;
                int high = b->hmask[l] >> (4 * n + j) & 1;
                q[128 * n + 32 * j + l] = (int8_t)(low + 4 * high - 4);
            }
        }
    }
}

/* The 8 scales and 8 minima of 6 bits of Q4_K and Q5_K. The first four of each lie in the low six
 * bits of bytes 0..3 and 4..7; the others have their low nibbles in bytes 8..11 and their two high
 * bits on top of the first eight bytes. */
static inline void q4_k_scales(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8]) {
    for (int s = 0; s < 4; s++) {
        scales[s] = packed[s] & 63;
        mins[s] = packed[s + 4] & 63;
        scales[s + 4] = (uint8_t)((packed[s + 8] & 15) | (packed[s] >> 6) << 4);
        mins[s + 4] = (uint8_t)(packed[s + 8] >> 4 | (packed[s + 4] >> 6) << 4);
    }
}

static inline void q4_k_read_scales(uint16_t half_d, uint16_t half_dmin, const uint8_t packed[12],
                                    float scale[8], float min[8]) {
    float d = half_to_f32(half_d), dmin = half_to_f32(half_dmin);
    uint8_t scales[8], mins[8];
    q4_k_scales(packed, scales, mins);
    for (int s = 0; s < 8; s++) {
        scale[s] = d * (float)scales[s];
        min[s] = -(dmin * (float)mins[s]);
    }
}

/* Bytes 32p .. 32p + 31 hold sub-block 2p in their low nibbles and 2p + 1 in their high. */
static inline void q4_k_read(const struct block_q4_k *b, int8_t *q, float *scale, float *min) {
    q4_k_read_scales(b->d, b->dmin, b->scales, scale, min);
    for (int p = 0; p < 4; p++) {
        for (int l = 0; l < 32; l++) {
            q[64 * p + l] = (int8_t)(b->qs[32 * p + l] & 15);
            q[64 * p + 32 + l] = (int8_t)(b->qs[32 * p + l] >> 4);
        }
    }
}

/* As Q4_K; bit s of qh[l] is the fifth bit of element l of sub-block s. */
static inline void q5_k_read(const struct block_q5_k *b, int8_t *q, float *scale, float *min) {
    q4_k_read_scales(b->d, b->dmin, b->scales, scale, min);
    for (int p = 0; p < 4; p++) {
        for (int l = 0; l < 32; l++) {
            int high = b->qh[l] >> 2 * p;
            q[64 * p + l] = (int8_t)((b->qs[32 * p + l] & 15) | (high & 1) << 4);
            q[64 * p + 32 + l] = (int8_t)(b->qs[32 * p + l] >> 4 | (high & 2) << 3);
        }
    }
}

/* Element 128n + 32k + l: nibble k / 2 of byte 64n + 32 (k mod 2) + l, and the bits 2k, 2k + 1 of
 * byte 32n + l of qh. */
static inline void q6_k_read(const struct block_q6_k *b, int8_t *q, float *scale) {
    float d = half_to_f32(b->d);
    for (int s = 0; s < 16; s++)
        scale[s] = d * (float)b->scales[s];
    for (int n = 0; n < 2; n++) {
        for (int k = 0; k < 4; k++) {
            for (int l = 0; l < 32; l++) {
                int low = b->ql[64 * n + 32 * (k & 1) + l] >> 4 * (k >> 1) & 15;
                int high = b->qh[32 * n + l] >> 2 * k & 3;
                q[128 * n + 32 * k + l] = (int8_t)((low | high << 4) - 32);
            }
        }
    }
}

static inline void q8_k_read(const struct block_q8_k *b, int8_t *q, float *scale) {
    for (int s = 0; s < 8; s++)
        scale[s] = b->d;
    memcpy(q, b->qs, sizeof b->qs);
}

#endif
