/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers are those of the published generator, and they look random where it matters. */
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

/* The published sequence of SplitMix64 from seed 1234567 (Vigna's test values): each output is
 * the finaliser of the seed plus a multiple of the golden ratio. */
static void mixing_is_that_of_splitmix64(void **state) {
    (void)state;
    static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
                                    9817491932198370423u, 4593380528125082431u,
                                    16408922859458223821u};
    for (uint64_t i = 0; i < 5; i++)
        assert_true(rng_mix(1234567 + i * 0x9e3779b97f4a7c15u) == want[i]);
}

static void numbers_are_a_function_of_key_and_counter(void **state) {
    (void)state;
    assert_true(rng_u64(7, 9) == rng_u64(7, 9));
    assert_true(rng_u64(7, 9) != rng_u64(9, 7));
    assert_true(rng_u64(0, 0) != rng_u64(0, 1));
    assert_true(rng_u64(0, 0) != rng_u64(1, 0));
    assert_true(rng_u64(5, 5) != rng_u64(6, 6));
}

static void doubles_are_uniform_in_the_unit_interval(void **state) {
    (void)state;
    enum { N = 100000, BINS = 100 };
    for (uint64_t key = 0; key < 5; key++) {
        double sum = 0, chi = 0;
        uint32_t bins[BINS] = {0};
        for (uint64_t i = 0; i < N; i++) {
            double x = rng_double(key, i);
            assert_true(x >= 0 && x < 1);
            sum += x;
            bins[(size_t)(x * BINS)]++;
        }
        for (size_t b = 0; b < BINS; b++)
            chi += (bins[b] - (double)N / BINS) * (bins[b] - (double)N / BINS) / ((double)N / BINS);
        assert_true(fabs(sum / N - 0.5) < 0.005);
        assert_true(chi < 160); /* 99 degrees of freedom: above this once in ten thousand */
    }
}

static void neighbouring_counters_and_keys_share_no_bits(void **state) {
    (void)state;
    enum { N = 20000 };
    uint32_t by_counter[64] = {0}, by_key[64] = {0};
    for (uint64_t i = 0; i < N; i++) {
        uint64_t a = rng_u64(3, i) ^ rng_u64(3, i + 1), b = rng_u64(i, 3) ^ rng_u64(i + 1, 3);
        for (int bit = 0; bit < 64; bit++) {
            by_counter[bit] += a >> bit & 1;
            by_key[bit] += b >> bit & 1;
        }
    }
    for (int bit = 0; bit < 64; bit++) { /* five standard deviations of a fair coin */
        assert_true(fabs(by_counter[bit] - N / 2.0) < 5 * sqrt(N) / 2);
        assert_true(fabs(by_key[bit] - N / 2.0) < 5 * sqrt(N) / 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixing_is_that_of_splitmix64),
        cmocka_unit_test(numbers_are_a_function_of_key_and_counter),
        cmocka_unit_test(doubles_are_uniform_in_the_unit_interval),
        cmocka_unit_test(neighbouring_counters_and_keys_share_no_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
