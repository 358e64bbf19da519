/* SPDX-License-Identifier: Apache-2.0 */
/* Without VNNI a product of bytes is three instructions: pairs to 16 bits, pairs to 32, the sum. */
#include "bench/compute_peak.h"

#include <immintrin.h>

/* The operands pass through an empty asm in every round, or the compiler would compute the products
 * once. */
float integer_loop_avx2(uint32_t n) {
    __m256i sum[COMPUTE_PEAK_REGISTERS];
    __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
    for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[r] = _mm256_setzero_si256();
    for (uint32_t i = 0; i < n; i++) {
#pragma GCC unroll 10
        for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++) {
            __asm__ volatile("" : "+x"(b));
            __m256i pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones);
            sum[r] = _mm256_add_epi32(sum[r], pairs);
        }
    }
    for (int r = 1; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[0] = _mm256_add_epi32(sum[0], sum[r]);
    return (float)_mm256_extract_epi32(sum[0], 0);
}

float float_loop_avx2(uint32_t n) {
    __m256 sum[COMPUTE_PEAK_REGISTERS];
    __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
    for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[r] = _mm256_set1_ps((float)r);
    for (uint32_t i = 0; i < n; i++) {
#pragma GCC unroll 10
        for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++)
            sum[r] = _mm256_fmadd_ps(sum[r], a, b);
    }
    for (int r = 1; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[0] = _mm256_add_ps(sum[0], sum[r]);
    return _mm256_cvtss_f32(sum[0]);
}
