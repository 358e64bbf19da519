/* SPDX-License-Identifier: Apache-2.0 */
/* Half precision and bfloat16 against their definitions: every value, and every border between two
 * neighbours with the floats beside it. */
#include "tensor/f16.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

/* (-1)^sign * 2^(exponent - bias) * 1.mantissa, by arithmetic. */
static double value_of(uint32_t bits, int n_exponent, int n_mantissa) {
    int bias = (1 << (n_exponent - 1)) - 1;
    int exponent = (int)(bits >> n_mantissa) & ((1 << n_exponent) - 1);
    double mantissa = (double)(bits & ((1u << n_mantissa) - 1)) / (1 << n_mantissa);
    double magnitude =
        exponent == 0 ? ldexp(mantissa, 1 - bias) : ldexp(1 + mantissa, exponent - bias);
    if (exponent == (1 << n_exponent) - 1)
        magnitude = mantissa == 0 ? (double)INFINITY : (double)NAN;
    return bits >> (n_exponent + n_mantissa) ? -magnitude : magnitude;
}

static void every_half_has_the_value_of_its_fields(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        double f16 = value_of(h, 5, 10), bf16 = value_of(h, 8, 7);
        float got_f16 = f16_to_f32((uint16_t)h), got_bf16 = bf16_to_f32((uint16_t)h);
        assert_true(isnan(f16) ? isnan(got_f16) : (double)got_f16 == f16);
        assert_true(isnan(bf16) ? isnan(got_bf16) : (double)got_bf16 == bf16);
        assert_int_equal(signbit(got_f16) != 0, h >> 15);
        assert_int_equal(signbit(got_bf16) != 0, h >> 15);
    }
}

static void every_half_comes_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f16 = f16_to_f32((uint16_t)h), bf16 = bf16_to_f32((uint16_t)h);
        if (!isnan(f16))
            assert_int_equal(f32_to_f16(f16), h);
        if (!isnan(bf16))
            assert_int_equal(f32_to_bf16(bf16), h);
    }
}

typedef uint16_t round_fn(float x);

/* Around the border between h and h + 1, both signs. Infinity follows the largest finite value as
 * if it were the next power of two. */
static void check_border(round_fn *round, uint32_t h, double low, double high) {
    float middle = (float)((low + high) / 2); /* exact: one bit more than a half has */
    uint32_t even = h % 2 == 0 ? h : h + 1;
    for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
        float s = sign ? -1.0f : 1.0f;
        assert_int_equal(round(s * middle), sign | even);
        assert_int_equal(round(s * nextafterf(middle, 0)), sign | h);
        assert_int_equal(round(s * nextafterf(middle, INFINITY)), sign | (h + 1));
    }
}

static void borders_round_to_the_nearest_and_ties_to_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++)
        check_border(f32_to_f16, h, value_of(h, 5, 10),
                     h + 1 == 0x7c00 ? 65536 : value_of(h + 1, 5, 10));
    for (uint32_t h = 0; h < 0x7f80 - 1; h++)
        check_border(f32_to_bf16, h, value_of(h, 8, 7), value_of(h + 1, 8, 7));
}

static void extremes_become_infinity_or_zero(void **state) {
    (void)state;
    assert_int_equal(f32_to_f16(3.4e38f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(1e-45f), 0);
    assert_int_equal(f32_to_f16(-1e-30f), 0x8000);
    assert_int_equal(f32_to_bf16(f32_from_bits(0x7f7fffff)), 0x7f80);
    assert_int_equal(f32_to_bf16(-INFINITY), 0xff80);
}

static void every_nan_stays_a_nan(void **state) {
    (void)state;
    for (uint32_t payload = 1; payload < 0x800000; payload += 1 + payload / 64) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            float x = f32_from_bits(sign << 31 | 0x7f800000u | payload);
            assert_true(isnan(f16_to_f32(f32_to_f16(x))));
            assert_true(isnan(bf16_to_f32(f32_to_bf16(x))));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_has_the_value_of_its_fields),
        cmocka_unit_test(every_half_comes_back),
        cmocka_unit_test(borders_round_to_the_nearest_and_ties_to_even),
        cmocka_unit_test(extremes_become_infinity_or_zero),
        cmocka_unit_test(every_nan_stays_a_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
