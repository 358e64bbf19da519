/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen float lanes on any x86 machine we run fast on: one AVX-512 register or two of AVX2.
 *
 * A loop written with these gives the same bits compiled for either, because every operation is
 * exact per lane (IEEE, one rounding, fused where it says fma) and the lanes are only ever added
 * by f32x16_sum. So a kernel body is written once (`<op>_simd.h`) and compiled in <op>_avx2.c and
 * <op>_avx512.c, each with its own -m flags. Include only there. */
#ifndef SHOAL_KERNELS_DEVICE_SIMD_H
#define SHOAL_KERNELS_DEVICE_SIMD_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define SIMD_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define SIMD_AVX512 0
#else
#error "compile with the flags of a SIMD variant (kernels/CMakeLists.txt)"
#endif

#if SIMD_AVX512

typedef __m512 f32x16;
typedef __m512i i32x16;

static inline f32x16 f32x16_zero(void) {
    return _mm512_setzero_ps();
}
static inline f32x16 f32x16_set1(float x) {
    return _mm512_set1_ps(x);
}
static inline f32x16 f32x16_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void f32x16_store(float *p, f32x16 a) {
    _mm512_storeu_ps(p, a);
}
static inline f32x16 f32x16_add(f32x16 a, f32x16 b) {
    return _mm512_add_ps(a, b);
}
static inline f32x16 f32x16_sub(f32x16 a, f32x16 b) {
    return _mm512_sub_ps(a, b);
}
static inline f32x16 f32x16_mul(f32x16 a, f32x16 b) {
    return _mm512_mul_ps(a, b);
}
static inline f32x16 f32x16_div(f32x16 a, f32x16 b) {
    return _mm512_div_ps(a, b);
}
/* a * b + c, one rounding */
static inline f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* Like x86 max/min: the second operand if either is NaN. */
static inline f32x16 f32x16_max(f32x16 a, f32x16 b) {
    return _mm512_max_ps(a, b);
}
static inline f32x16 f32x16_min(f32x16 a, f32x16 b) {
    return _mm512_min_ps(a, b);
}
static inline f32x16 f32x16_round(f32x16 a) /* to nearest even integer */ {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline i32x16 f32x16_to_i32(f32x16 a) {
    return _mm512_cvtps_epi32(a);
}
static inline f32x16 i32x16_to_f32(i32x16 a) {
    return _mm512_cvtepi32_ps(a);
}
static inline f32x16 f32x16_from_bits(i32x16 a) {
    return _mm512_castsi512_ps(a);
}
static inline i32x16 i32x16_set1(int32_t x) {
    return _mm512_set1_epi32(x);
}
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) {
    return _mm512_add_epi32(a, b);
}
static inline i32x16 i32x16_shl23(i32x16 a) {
    return _mm512_slli_epi32(a, 23);
}
static inline i32x16 i32x16_sar1(i32x16 a) {
    return _mm512_srai_epi32(a, 1);
}
static inline i32x16 i32x16_sub(i32x16 a, i32x16 b) {
    return _mm512_sub_epi32(a, b);
}
static inline f32x16 f32x16_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline f32x16 f32x16_load_bf16(const uint16_t *p) {
    /* One permutation puts each half where a float has its upper one; widening takes two steps. */
    const __m512i from = _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7,
                                          0, 6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
    __m512i half = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, from, half));
}
static inline f32x16 f32x16_join(__m256 low, __m256 high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
static inline __m256 f32x16_low(f32x16 a) {
    return _mm512_castps512_ps256(a);
}
static inline __m256 f32x16_high(f32x16 a) {
    return _mm512_extractf32x8_ps(a, 1);
}

#else

typedef struct {
    __m256 lo, hi;
} f32x16;
typedef struct {
    __m256i lo, hi;
} i32x16;

static inline f32x16 f32x16_zero(void) {
    return (f32x16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
static inline f32x16 f32x16_set1(float x) {
    return (f32x16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
static inline f32x16 f32x16_load(const float *p) {
    return (f32x16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void f32x16_store(float *p, f32x16 a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
static inline f32x16 f32x16_add(f32x16 a, f32x16 b) {
    return (f32x16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
static inline f32x16 f32x16_sub(f32x16 a, f32x16 b) {
    return (f32x16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
static inline f32x16 f32x16_mul(f32x16 a, f32x16 b) {
    return (f32x16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
static inline f32x16 f32x16_div(f32x16 a, f32x16 b) {
    return (f32x16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
/* a * b + c, one rounding */
static inline f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) {
    return (f32x16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
/* Like x86 max/min: the second operand if either is NaN. */
static inline f32x16 f32x16_max(f32x16 a, f32x16 b) {
    return (f32x16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
static inline f32x16 f32x16_min(f32x16 a, f32x16 b) {
    return (f32x16){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
static inline f32x16 f32x16_round(f32x16 a) /* to nearest even integer */ {
    return (f32x16){_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                    _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static inline i32x16 f32x16_to_i32(f32x16 a) {
    return (i32x16){_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)};
}
static inline f32x16 i32x16_to_f32(i32x16 a) {
    return (f32x16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
static inline f32x16 f32x16_from_bits(i32x16 a) {
    return (f32x16){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}
static inline i32x16 i32x16_set1(int32_t x) {
    return (i32x16){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) {
    return (i32x16){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
static inline i32x16 i32x16_shl23(i32x16 a) {
    return (i32x16){_mm256_slli_epi32(a.lo, 23), _mm256_slli_epi32(a.hi, 23)};
}
static inline i32x16 i32x16_sar1(i32x16 a) {
    return (i32x16){_mm256_srai_epi32(a.lo, 1), _mm256_srai_epi32(a.hi, 1)};
}
static inline i32x16 i32x16_sub(i32x16 a, i32x16 b) {
    return (i32x16){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
static inline f32x16 f32x16_load_f16(const uint16_t *p) {
    return (f32x16){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
static inline f32x16 f32x16_load_bf16(const uint16_t *p) {
    __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    __m256i hi = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 8)));
    return (f32x16){_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)),
                    _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))};
}
static inline f32x16 f32x16_join(__m256 low, __m256 high) {
    return (f32x16){low, high};
}
static inline __m256 f32x16_low(f32x16 a) {
    return a.lo;
}
static inline __m256 f32x16_high(f32x16 a) {
    return a.hi;
}

#endif

/* The sum of the lanes by one fixed tree: l and l+8, then l and l+4, l+2, l+1. */
static inline float f32x16_sum(f32x16 a) {
    __m256 eight = _mm256_add_ps(f32x16_low(a), f32x16_high(a));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* The sums of the lanes of four vectors, each by the tree of f32x16_sum and so with its bits, at
 * half the cost: the four share every step of the tree. */
static inline __m128 f32x16_sum4(f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
    __m256 a8 = _mm256_add_ps(f32x16_low(a), f32x16_high(a));
    __m256 b8 = _mm256_add_ps(f32x16_low(b), f32x16_high(b));
    __m256 c8 = _mm256_add_ps(f32x16_low(c), f32x16_high(c));
    __m256 d8 = _mm256_add_ps(f32x16_low(d), f32x16_high(d));
    __m256 ab =
        _mm256_add_ps(_mm256_permute2f128_ps(a8, b8, 0x20), _mm256_permute2f128_ps(a8, b8, 0x31));
    __m256 cd =
        _mm256_add_ps(_mm256_permute2f128_ps(c8, d8, 0x20), _mm256_permute2f128_ps(c8, d8, 0x31));
    /* a0 a1 c0 c1 | b0 b1 d0 d1: what is left of each are two lanes. */
    __m256 two = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    __m256 one = _mm256_add_ps(two, _mm256_movehdup_ps(two));
    return _mm_unpacklo_ps(_mm_permute_ps(_mm256_castps256_ps128(one), 0x08),
                           _mm_permute_ps(_mm256_extractf128_ps(one, 1), 0x08));
}

/* The largest lane. */
static inline float f32x16_max_lane(f32x16 a) {
    __m256 eight = _mm256_max_ps(f32x16_low(a), f32x16_high(a));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* Sixteen pairs that follow each other: the first and the second of each. */
static inline void f32x16_load_pairs(const float *p, f32x16 *first, f32x16 *second) {
    __m256 odd[2], even[2];
    for (int half = 0; half < 2; half++) {
        __m256 a = _mm256_loadu_ps(p + 16 * half), b = _mm256_loadu_ps(p + 16 * half + 8);
        __m256d e = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
        __m256d o = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
        even[half] = _mm256_castpd_ps(_mm256_permute4x64_pd(e, 0xd8));
        odd[half] = _mm256_castpd_ps(_mm256_permute4x64_pd(o, 0xd8));
    }
    *first = f32x16_join(even[0], even[1]);
    *second = f32x16_join(odd[0], odd[1]);
}

/* Sixteen quadruples that follow each other: out[j] is the j-th of each. */
static inline void f32x16_load_quads(const float *p, f32x16 out[4]) {
    __m256 part[4][2];
    for (int half = 0; half < 2; half++) {
        const float *q = p + 32 * half;
        __m256 row[4]; /* quadruples i and i + 4 */
        for (int i = 0; i < 4; i++)
            row[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(q + 4 * i)),
                                          _mm_loadu_ps(q + 4 * i + 16), 1);
        __m256 low01 = _mm256_unpacklo_ps(row[0], row[1]);
        __m256 low23 = _mm256_unpacklo_ps(row[2], row[3]);
        __m256 high01 = _mm256_unpackhi_ps(row[0], row[1]);
        __m256 high23 = _mm256_unpackhi_ps(row[2], row[3]);
        part[0][half] = _mm256_shuffle_ps(low01, low23, 0x44);
        part[1][half] = _mm256_shuffle_ps(low01, low23, 0xee);
        part[2][half] = _mm256_shuffle_ps(high01, high23, 0x44);
        part[3][half] = _mm256_shuffle_ps(high01, high23, 0xee);
    }
    for (int j = 0; j < 4; j++)
        out[j] = f32x16_join(part[j][0], part[j][1]);
}

/* e^x, relative error below 8e-8 where the result is normal (all floats were tried; neighbours may
 * fall by one unit in the last place, no more). x is clamped
 * to [-104, 89]: below it gives 0, above infinity; NaN stays NaN.
 *
 * x = n ln2 + r with |r| <= ln2/2; e^r = 1 + r + r^2 q(r), where q is the polynomial of degree 4
 * with float coefficients whose relative error in e^r is least (3.3e-9; the Taylor series of that
 * degree errs by 1.2e-7); then two multiplications by powers of two, so that subnormal results
 * come out right. Method: Cody & Waite 1980, "Software Manual for the Elementary Functions"; ln2
 * in two parts so that the subtraction is exact. Coefficients: Remez exchange. */
static inline f32x16 f32x16_exp(f32x16 x) {
    x = f32x16_min(f32x16_set1(89.0f), f32x16_max(f32x16_set1(-104.0f), x));
    f32x16 n = f32x16_round(f32x16_mul(x, f32x16_set1(0x1.715476p+0f)));
    f32x16 r = f32x16_fma(n, f32x16_set1(-0x1.62e400p-1f), x);
    r = f32x16_fma(n, f32x16_set1(-0x1.7f7d1cp-20f), r);
    f32x16 p = f32x16_set1(0x1.6ac370p-10f);
    p = f32x16_fma(p, r, f32x16_set1(0x1.123da6p-7f));
    p = f32x16_fma(p, r, f32x16_set1(0x1.555858p-5f));
    p = f32x16_fma(p, r, f32x16_set1(0x1.55548cp-3f));
    p = f32x16_fma(p, r, f32x16_set1(0x1.fffffcp-2f));
    p = f32x16_fma(p, r, f32x16_set1(1.0f));
    p = f32x16_fma(p, r, f32x16_set1(1.0f));
    i32x16 whole = f32x16_to_i32(n);
    i32x16 half = i32x16_sar1(whole);
    i32x16 rest = i32x16_sub(whole, half);
    i32x16 bias = i32x16_set1(127);
    p = f32x16_mul(p, f32x16_from_bits(i32x16_shl23(i32x16_add(half, bias))));
    return f32x16_mul(p, f32x16_from_bits(i32x16_shl23(i32x16_add(rest, bias))));
}

/* 1 / (1 + e^-x) */
static inline f32x16 f32x16_sigmoid(f32x16 x) {
    f32x16 e = f32x16_exp(f32x16_sub(f32x16_zero(), x));
    return f32x16_div(f32x16_set1(1.0f), f32x16_add(f32x16_set1(1.0f), e));
}

/* x / (1 + e^-x) */
static inline f32x16 f32x16_silu(f32x16 x) {
    f32x16 e = f32x16_exp(f32x16_sub(f32x16_zero(), x));
    return f32x16_div(x, f32x16_add(f32x16_set1(1.0f), e));
}

/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|), so that the logarithm is only of 1 + t with t in 0..1:
 * log1p(t) = 2 atanh(s), s = t / (2 + t) <= 1/3. atanh(s) / s is a polynomial of degree 4 in s^2
 * that begins with 1 and whose relative error is least (4.5e-9; Remez exchange). Relative error
 * below 4e-7 where e^-|x| is normal. */
static inline f32x16 f32x16_softplus(f32x16 x) {
    f32x16 minus = f32x16_sub(f32x16_zero(), x);
    f32x16 t = f32x16_exp(f32x16_min(x, minus));
    f32x16 s = f32x16_div(t, f32x16_add(f32x16_set1(2.0f), t));
    f32x16 z = f32x16_mul(s, s);
    f32x16 p = f32x16_set1(0x1.1ed7bep-3f);
    p = f32x16_fma(p, z, f32x16_set1(0x1.1ebd0ep-3f));
    p = f32x16_fma(p, z, f32x16_set1(0x1.99d208p-3f));
    p = f32x16_fma(p, z, f32x16_set1(0x1.555502p-2f));
    p = f32x16_fma(p, z, f32x16_set1(1.0f));
    return f32x16_fma(f32x16_add(s, s), p, f32x16_max(f32x16_zero(), x));
}

#endif
