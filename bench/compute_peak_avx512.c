/* SPDX-License-Identifier: Apache-2.0 */
/* VNNI sums four products of bytes in one instruction. */
#include "bench/compute_peak.h"

#include <immintrin.h>

float integer_loop_avx512(uint32_t n) {
    __m512i sum[COMPUTE_PEAK_REGISTERS];
    __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
    for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[r] = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i++) {
#pragma GCC unroll 10
        for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++)
            sum[r] = _mm512_dpbusd_epi32(sum[r], a, b);
    }
    for (int r = 1; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[0] = _mm512_add_epi32(sum[0], sum[r]);
    return (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(sum[0]));
}

float float_loop_avx512(uint32_t n) {
    __m512 sum[COMPUTE_PEAK_REGISTERS];
    __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
    for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[r] = _mm512_set1_ps((float)r);
    for (uint32_t i = 0; i < n; i++) {
#pragma GCC unroll 10
        for (int r = 0; r < COMPUTE_PEAK_REGISTERS; r++)
            sum[r] = _mm512_fmadd_ps(sum[r], a, b);
    }
    for (int r = 1; r < COMPUTE_PEAK_REGISTERS; r++)
        sum[0] = _mm512_add_ps(sum[0], sum[r]);
    return _mm512_cvtss_f32(sum[0]);
}
