/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the I types: one super-block of 256 -> integers and a scale for each sub-block of 16
 * or 32. The value of element e is scale[s] * q[e], s its sub-block.
 *
 * An index into a codebook (grids_table.h) names 8 magnitudes, or 4 for IQ3; a byte of signs
 * follows from 7 stored bits where the number of minus signs is even, else it is stored whole.
 * Where a format has a scale of (1/2 + n)/4 the reader gives (2n + 1)/8, so that every product is
 * an odd integer times a power of two times `d`: exact in float. Formats: ggml. */
#ifndef SHOAL_KERNELS_QUANT_I_QUANTS_H
#define SHOAL_KERNELS_QUANT_I_QUANTS_H

#include "kernels/quant/grids_table.h"
#include "kernels/quant/half.h"
#include "kernels/quant/small_quants.h"
#include "tensor/blocks.h"

/* Seven signs and the eighth that makes their number even; bit j set: element j is negative. */
static inline uint32_t even_signs(uint32_t seven) {
    uint32_t odd = seven ^ seven >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return seven | (odd & 1) << 7;
}

static inline void read_signed(uint64_t magnitudes, uint32_t signs, int n, int8_t *q) {
    for (int j = 0; j < n; j++) {
        int m = (int)(magnitudes >> 8 * j & 0xff);
        q[j] = (int8_t)(signs >> j & 1 ? -m : m);
    }
}

static inline void iq2_xxs_read(const struct block_iq2_xxs *b, int8_t *q, float *scale) {
    float d = half_to_f32(b->d);
    for (int s = 0; s < 8; s++) {
        uint32_t bits = b->sub[s].signs;
        scale[s] = d * (float)(2 * (bits >> 28) + 1) * 0.125f;
        for (int l = 0; l < 4; l++)
            read_signed(iq2xxs_grid[b->sub[s].index[l]], even_signs(bits >> 7 * l & 127), 8,
                        q + 32 * s + 8 * l);
    }
}

/* The 16 scales of IQ2_XS and IQ2_S, two nibbles per byte. */
static inline void iq2_read_scales(float d, const uint8_t packed[8], float scale[16]) {
    for (int s = 0; s < 8; s++) {
        scale[2 * s] = d * (float)(2 * (packed[s] & 15) + 1) * 0.125f;
        scale[2 * s + 1] = d * (float)(2 * (packed[s] >> 4) + 1) * 0.125f;
    }
}

static inline void iq2_xs_read(const struct block_iq2_xs *b, int8_t *q, float *scale) {
    iq2_read_scales(half_to_f32(b->d), b->scales, scale);
    for (int g = 0; g < 32; g++)
        read_signed(iq2xs_grid[b->qs[g] & 511], even_signs(b->qs[g] >> 9), 8, q + 8 * g);
}

static inline void iq2_s_read(const struct block_iq2_s *b, int8_t *q, float *scale) {
    iq2_read_scales(half_to_f32(b->d), b->scales, scale);
    for (int g = 0; g < 32; g++) {
        int index = b->qs[g] | (b->qh[g / 4] >> 2 * (g % 4) & 3) << 8;
        read_signed(iq2s_grid[index], b->signs[g], 8, q + 8 * g);
    }
}

static inline void iq3_xxs_read(const struct block_iq3_xxs *b, int8_t *q, float *scale) {
    float d = half_to_f32(b->d);
    for (int s = 0; s < 8; s++) {
        uint32_t bits = b->signs[s];
        scale[s] = d * (float)(2 * (bits >> 28) + 1) * 0.25f;
        for (int l = 0; l < 4; l++) {
            uint32_t signs = even_signs(bits >> 7 * l & 127);
            const uint8_t *index = b->qs + 8 * s + 2 * l;
            read_signed(iq3xxs_grid[index[0]], signs, 4, q + 32 * s + 8 * l);
            read_signed(iq3xxs_grid[index[1]], signs >> 4, 4, q + 32 * s + 8 * l + 4);
        }
    }
}

static inline void iq3_s_read(const struct block_iq3_s *b, int8_t *q, float *scale) {
    float d = half_to_f32(b->d);
    for (int s = 0; s < 8; s++) {
        int nibble = b->scales[s / 2] >> 4 * (s % 2) & 15;
        scale[s] = d * (float)(2 * nibble + 1);
        for (int k = 0; k < 8; k++) {
            int index = b->qs[8 * s + k] | (b->qh[s] >> k & 1) << 8;
            uint32_t signs = b->signs[4 * s + k / 2] >> 4 * (k % 2);
            read_signed(iq3s_grid[index], signs, 4, q + 32 * s + 4 * k);
        }
    }
}

/* The codebook holds 8 (g + 1); the shift of an eighth makes it 8 g + 1 or 8 g - 1. */
static inline void iq1_read_group(uint32_t index, int minus, int8_t q[8]) {
    uint64_t grid = iq1_grid[index];
    for (int j = 0; j < 8; j++)
        q[j] = (int8_t)((int)(grid >> 8 * j & 0xff) - (minus ? 9 : 7));
}

static inline void iq1_s_read(const struct block_iq1_s *b, int8_t *q, float *scale) {
    float d = half_to_f32(b->d);
    for (int s = 0; s < 8; s++) {
        uint32_t high = b->qh[s];
        scale[s] = d * (float)(2 * (high >> 12 & 7) + 1) * 0.125f;
        for (int l = 0; l < 4; l++) {
            uint32_t index = b->qs[4 * s + l] | (high >> 3 * l & 7) << 8;
            iq1_read_group(index, (int)(high >> 15), q + 32 * s + 8 * l);
        }
    }
}

static inline void iq1_m_read(const struct block_iq1_m *b, int8_t *q, float *scale) {
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= (uint32_t)(b->scales[i] >> 12) << 4 * i;
    float d = half_to_f32((uint16_t)bits);
    for (int s = 0; s < 16; s++)
        scale[s] = d * (float)(2 * (b->scales[s / 4] >> 3 * (s % 4) & 7) + 1) * 0.125f;
    for (int g = 0; g < 32; g++) {
        uint32_t nibble = b->qh[g / 2] >> 4 * (g % 2) & 15;
        iq1_read_group(b->qs[g] | (nibble & 7) << 8, (int)(nibble >> 3), q + 8 * g);
    }
}

static inline void iq4_xs_read(const struct block_iq4_xs *b, int8_t *q, float *scale) {
    static const int8_t values[16] = IQ4_VALUES;
    float d = half_to_f32(b->d);
    for (int s = 0; s < 8; s++) {
        int low = b->scales_l[s / 2] >> 4 * (s % 2) & 15;
        int high = b->scales_h >> 2 * s & 3;
        scale[s] = d * (float)((low | high << 4) - 32);
        read_nibble_values(b->qs + 16 * s, values, q + 32 * s);
    }
}

#endif
