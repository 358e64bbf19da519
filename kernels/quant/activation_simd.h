/* SPDX-License-Identifier: Apache-2.0 */
/* Quantising one block of 32 activations; 256-bit registers are enough on every machine. */
#ifndef SHOAL_KERNELS_QUANT_ACTIVATION_SIMD_H
#define SHOAL_KERNELS_QUANT_ACTIVATION_SIMD_H

#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/device/parallel.h"
#include "kernels/quant/activation.h"
#include "tensor/f16.h"

#define F32_INFINITY_BITS 0x7f800000u

/* The bits of the largest |x|. As integers they keep the order of the numbers, and infinity and
 * NaN come out above all others. */
static inline uint32_t block_max_bits(const __m256i x[4]) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_and_si256(x[0], magnitude);
    for (int i = 1; i < 4; i++)
        max = _mm256_max_epi32(max, _mm256_and_si256(x[i], magnitude));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    __m128i one = _mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(one);
}

static inline void activation_quantise_block(const float x[ACT_BLOCK], struct act_block *block) {
    __m256i bits[4];
    for (int i = 0; i < 4; i++)
        bits[i] = _mm256_loadu_si256((const __m256i *)(x + 8 * i));
    uint32_t max_bits = block_max_bits(bits);
    float amax = f32_from_bits(max_bits);
    float inverse = 127.0f / amax;
    if (max_bits >= F32_INFINITY_BITS || !(inverse < INFINITY)) {
        memset(block, 0, sizeof *block);
        if (max_bits >= F32_INFINITY_BITS)
            block->scale = block->scaled_half_sum[0] = block->scaled_half_sum[1] =
                block->scaled_sum = NAN;
        return;
    }
    __m256i q[4];
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(
            _mm256_mul_ps(_mm256_castsi256_ps(bits[i]), _mm256_set1_ps(inverse)));
    /* Packing works within 128-bit lanes; the permutation brings groups of four back in order. */
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)block->q, bytes);
    /* Sums of 8 bytes each, taken without sign as q + 128. */
    __m256i sums =
        _mm256_sad_epu8(_mm256_xor_si256(bytes, _mm256_set1_epi8(-128)), _mm256_setzero_si256());
    int64_t first = _mm256_extract_epi64(sums, 0) + _mm256_extract_epi64(sums, 1) - 16 * 128;
    int64_t second = _mm256_extract_epi64(sums, 2) + _mm256_extract_epi64(sums, 3) - 16 * 128;
    float scale = amax / 127.0f;
    block->scale = scale;
    block->half_sum[0] = (int16_t)first;
    block->half_sum[1] = (int16_t)second;
    block->scaled_half_sum[0] = scale * (float)first;
    block->scaled_half_sum[1] = scale * (float)second;
    block->scaled_sum = scale * (float)(first + second);
}

/* A run of n elements, a multiple of ACT_BLOCK: what an operation calls on the row or head that it
 * has just made, while it is in the first cache. */
static inline void activation_quantise_run(const float *x, struct act_block *blocks, uint64_t n) {
    for (uint64_t i = 0; i < n; i += ACT_BLOCK)
        activation_quantise_block(x + i, &blocks[i / ACT_BLOCK]);
}

/* The share of one thread. Rows follow each other, so blocks are counted over all of them. */
static inline void activation_quantise_share(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct activation *a = arg;
    uint64_t begin, end;
    thread_range((uint64_t)a->n_tokens * (a->d / ACT_BLOCK), thread_idx, n_threads, &begin, &end);
    activation_quantise_run(a->x + begin * ACT_BLOCK, a->blocks + begin, (end - begin) * ACT_BLOCK);
}

static inline void activation_quantise_simd(struct kernel_ctx *k, const struct activation *a) {
    struct activation copy = *a;
    assert(a->d % ACT_BLOCK == 0);
    parallel_run(k, activation_quantise_share, &copy, (uint64_t)a->n_tokens * a->d);
}

#endif
