/* SPDX-License-Identifier: Apache-2.0 */
/* Every bit pattern of codes and signs is valid in every format; only the scales need care. Minima
 * are set so that a sub-block has mean 0. */
#include "cli/synth_fill.h"

#include "base/rng.h"
#include "tensor/blocks.h"
#include "tensor/f16.h"

#include <xxhash.h>

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* Standard deviation of the values of a block of random bits whose d is 1 and whose other scales
 * are as below: computed from 20,000 blocks per type, dequantised by the `gguf` Python package. */
static const float unit_std[DTYPE_N_COMPUTE] = {
    [DTYPE_Q4_0] = 4.637f,  [DTYPE_Q4_1] = 4.610f,   [DTYPE_Q5_0] = 9.245f,
    [DTYPE_Q5_1] = 9.233f,  [DTYPE_Q8_0] = 73.90f,   [DTYPE_IQ4_NL] = 67.51f,
    [DTYPE_MXFP4] = 5.852f, [DTYPE_Q2_K] = 9.84f,    [DTYPE_Q3_K] = 43.4f,
    [DTYPE_Q4_K] = 168.7f,  [DTYPE_Q5_K] = 337.7f,   [DTYPE_Q6_K] = 1365.f,
    [DTYPE_IQ1_S] = 7.20f,  [DTYPE_IQ1_M] = 7.20f,   [DTYPE_IQ2_XXS] = 53.3f,
    [DTYPE_IQ2_XS] = 56.0f, [DTYPE_IQ2_S] = 56.4f,   [DTYPE_IQ3_XXS] = 142.4f,
    [DTYPE_IQ3_S] = 139.7f, [DTYPE_IQ4_XS] = 1245.f,
};

/* Sets apart the numbers of scales and of bits under one key. */
#define SCALES_KEY 0x5ca1e5u

uint64_t synth_fill_key(uint64_t seed, const char *tensor_name) {
    return XXH3_64bits_withSeed(tensor_name, strlen(tensor_name), seed);
}

static void fill_bits(unsigned char *out, uint64_t key, uint64_t first_word, uint64_t n_words) {
    for (uint64_t i = 0; i < n_words; i++) {
        uint64_t word = rng_u64(key, first_word + i);
        memcpy(out + 8 * i, &word, 8);
    }
}

/* The 6-bit minima become equal to the scales, in their packing of 12 bytes. */
static void pair_scales(uint8_t scales[12]) {
    for (int i = 0; i < 4; i++) {
        scales[4 + i] = scales[i];
        scales[8 + i] = (uint8_t)((scales[8 + i] & 15) * 17);
    }
}

static void put_half(unsigned char *to, float value) {
    uint16_t half = f32_to_f16(value);
    memcpy(to, &half, sizeof half);
}

/* d is spread over the top nibbles of four words. */
static void put_iq1_m(struct block_iq1_m *block, float d) {
    uint16_t half = f32_to_f16(d);
    for (int i = 0; i < 4; i++) {
        uint16_t nibble = (uint16_t)(half >> (4 * i) & 15);
        block->scales[i] = (uint16_t)((block->scales[i] & 0x0fff) | nibble << 12);
    }
}

/* A power of two: one of the two neighbours of d, by chance, so that the mean square is right. */
static uint8_t exponent_of(float d, float chance) {
    int exponent;
    float fraction = frexpf(d, &exponent);       /* d = fraction * 2^exponent, fraction in 1/2..1 */
    float mean_square = fraction * fraction * 4; /* in units of 4^(exponent - 1): 1..4 */
    int up = chance < (mean_square - 1) / 3;
    int biased = exponent - 1 + up + 128;
    return (uint8_t)(biased < 1 ? 1 : biased > 254 ? 254 : biased);
}

/* The scale fields of one block: d, or a little more or less. `chance` is uniform in 0..1. */
static void put_scales(enum dtype dtype, unsigned char *block, float d_mean, float chance) {
    float d = d_mean * (0.75f + 0.5f * chance);
    switch (dtype) {
    case DTYPE_Q4_1:
        put_half(block + offsetof(struct block_q4_1, m), -7.5f * d);
        break;
    case DTYPE_Q5_1:
        put_half(block + offsetof(struct block_q5_1, m), -15.5f * d);
        break;
    case DTYPE_MXFP4:
        block[offsetof(struct block_mxfp4, e)] = exponent_of(d_mean, chance);
        return;
    case DTYPE_Q2_K:
        put_half(block + offsetof(struct block_q2_k, d), d);
        put_half(block + offsetof(struct block_q2_k, dmin), 1.5f * d);
        for (int i = 0; i < 16; i++)
            block[offsetof(struct block_q2_k, scales) + i] = (uint8_t)((block[i] & 15) * 17);
        return;
    case DTYPE_Q3_K:
        put_half(block + offsetof(struct block_q3_k, d), d);
        return;
    case DTYPE_Q4_K:
        put_half(block + offsetof(struct block_q4_k, dmin), 7.5f * d);
        pair_scales(block + offsetof(struct block_q4_k, scales));
        break;
    case DTYPE_Q5_K:
        put_half(block + offsetof(struct block_q5_k, dmin), 15.5f * d);
        pair_scales(block + offsetof(struct block_q5_k, scales));
        break;
    case DTYPE_Q6_K:
        put_half(block + offsetof(struct block_q6_k, d), d);
        return;
    case DTYPE_IQ1_M:
        put_iq1_m((struct block_iq1_m *)block, d);
        return;
    default:
        break;
    }
    put_half(block, d); /* all others begin with d */
}

static void fill_blocks(unsigned char *out, const struct synth_fill *fill, uint64_t first_block,
                        uint64_t n_blocks) {
    uint32_t block_bytes = dtype_info(fill->dtype)->block_bytes;
    uint64_t n_bytes = n_blocks * block_bytes;
    fill_bits(out, fill->key, first_block * block_bytes / 8, (n_bytes + 7) / 8);
    float d = fill->std / unit_std[fill->dtype];
    for (uint64_t i = 0; i < n_blocks; i++) {
        float chance = (float)rng_double(fill->key ^ SCALES_KEY, first_block + i);
        put_scales(fill->dtype, out + i * block_bytes, d, chance);
    }
}

/* F16 and BF16 without a conversion: sign and mantissa at random, the exponent one of four, whose
 * largest is chosen per run of 64 so that the mean square is right.
 *
 * The mean square of 1.m * 2^-k, k = 0..3, is 7/3 * (1 + 1/4 + 1/16 + 1/64) / 4. */
static void fill_halves(unsigned char *out, const struct synth_fill *fill, uint64_t first,
                        uint64_t n) {
    const float mean_square_unit = 7.0f / 3 * (85.0f / 64) / 4;
    int mantissa_bits = fill->dtype == DTYPE_F16 ? 10 : 7;
    int bias = fill->dtype == DTYPE_F16 ? 15 : 127;
    int exponent;
    float mean_square = fill->std * fill->std / mean_square_unit;
    frexpf(sqrtf(mean_square), &exponent);
    exponent--; /* 4^exponent <= mean_square < 4^(exponent + 1) */
    float share_up = (ldexpf(mean_square, -2 * exponent) - 1) / 3;
    uint16_t keep = (uint16_t)(0x8000 | ((1 << mantissa_bits) - 1));
    fill_bits(out, fill->key, first / 4, (n + 3) / 4);
    for (uint64_t begin = 0; begin < n; begin += 64) {
        double chance = rng_double(fill->key ^ SCALES_KEY, (first + begin) / 64);
        int largest = exponent + (chance < (double)share_up) + bias;
        uint64_t end = begin + 64 < n ? begin + 64 : n;
        for (uint64_t i = begin; i < end; i++) {
            uint16_t half;
            memcpy(&half, out + 2 * i, 2);
            int biased = largest - (half >> mantissa_bits & 3);
            biased = biased < 1 ? 1 : biased;
            half = (uint16_t)((half & keep) | biased << mantissa_bits);
            memcpy(out + 2 * i, &half, 2);
        }
    }
}

/* `u` is uniform in 0..1. */
static float value_of(const struct synth_fill *fill, double u) {
    switch (fill->values) {
    case VALUES_WEIGHT:
        return (float)((2 * u - 1) * 1.7320508) * fill->std; /* sqrt(3): uniform, std 1 */
    case VALUES_NORM:
        return (float)(0.9 + 0.2 * u);
    case VALUES_SSM_A:
        return (float)-(1 + 15 * u);
    case VALUES_DT_BIAS: {
        double step = 0.001 * pow(100, u);
        return (float)(step + log(-expm1(-step)));
    }
    }
    return 0;
}

static void fill_floats(unsigned char *out, const struct synth_fill *fill, uint64_t first,
                        uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        float value = value_of(fill, rng_double(fill->key, first + i));
        memcpy(out + 4 * i, &value, sizeof value);
    }
}

void synth_fill(unsigned char *out, const struct synth_fill *fill, uint64_t first_block,
                uint64_t n_blocks) {
    assert(first_block % SYNTH_FILL_BLOCKS == 0 && fill->dtype < DTYPE_N_COMPUTE);
    assert(fill->values == VALUES_WEIGHT || fill->dtype == DTYPE_F32);
    if (fill->dtype == DTYPE_F32)
        fill_floats(out, fill, first_block, n_blocks);
    else if (fill->dtype == DTYPE_F16 || fill->dtype == DTYPE_BF16)
        fill_halves(out, fill, first_block, n_blocks);
    else
        fill_blocks(out, fill, first_block, n_blocks);
}
