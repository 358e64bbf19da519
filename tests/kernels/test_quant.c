/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of blocks against the reference vectors of every format (tests/data/README.md), and
 * against the promises of unpack.h on random bytes. */
#include "kernels/quant/unpack.h"

#include "base/rng.h"
#include "kernels/quant/digits_table.h"
#include "kernels/quant/grids_table.h"
#include "tensor/f16.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_BLOCKS_MAX 4

struct vector {
    uint32_t block_elements, block_bytes, n_blocks;
    unsigned char bytes[VECTOR_BLOCKS_MAX * 512];
    uint32_t expected[VECTOR_BLOCKS_MAX * BLOCK_SUPER]; /* bits of the floats */
};

static uint32_t read_number(FILE *file, const char *key) {
    char word[64];
    unsigned number;
    assert_int_equal(fscanf(file, "%63s %u", word, &number), 2);
    assert_string_equal(word, key);
    return number;
}

static void read_vector(enum dtype dtype, struct vector *v) {
    char path[512], word[64], name[64];
    snprintf(path, sizeof path, "%s/quant-vectors/%s.txt", TEST_DATA, dtype_info(dtype)->name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s: cannot be read", path);
    assert_int_equal(fscanf(file, "%63s %63s", word, name), 2);
    assert_string_equal(name, dtype_info(dtype)->name);
    v->block_elements = read_number(file, "block_elements");
    v->block_bytes = read_number(file, "block_bytes");
    v->n_blocks = read_number(file, "blocks");
    assert_in_range(v->n_blocks, 1, VECTOR_BLOCKS_MAX);
    assert_in_range(v->block_bytes, 1, 512);
    assert_int_equal(fscanf(file, "%63s", word), 1);
    for (uint32_t i = 0; i < v->n_blocks * v->block_bytes; i++)
        assert_int_equal(fscanf(file, "%2hhx", &v->bytes[i]), 1);
    assert_int_equal(fscanf(file, "%63s", word), 1);
    assert_string_equal(word, "float32_bits_hex");
    for (uint32_t i = 0; i < v->n_blocks * v->block_elements; i++)
        assert_int_equal(fscanf(file, "%8x", &v->expected[i]), 1);
    fclose(file);
}

static bool same_value(uint32_t a, uint32_t b) {
    return a == b || (isnan(f32_from_bits(a)) && isnan(f32_from_bits(b)));
}

static void every_format_gives_the_reference_bits(void **state) {
    (void)state;
    for (int d = DTYPE_Q4_0; d < DTYPE_N_COMPUTE; d++) {
        enum dtype dtype = (enum dtype)d;
        static struct vector v;
        static float out[VECTOR_BLOCKS_MAX * BLOCK_SUPER];
        read_vector(dtype, &v);
        assert_int_equal(v.block_elements, dtype_info(dtype)->block_elements);
        assert_int_equal(v.block_bytes, dtype_info(dtype)->block_bytes);
        uint32_t n = v.n_blocks * v.block_elements;
        quant_dequantise_row(dtype, v.bytes, n, out);
        for (uint32_t i = 0; i < n; i++) {
            if (!same_value(f32_bits(out[i]), v.expected[i]))
                fail_msg("%s element %u: %08x, expected %08x", dtype_info(dtype)->name, i,
                         f32_bits(out[i]), v.expected[i]);
        }
    }
}

/* The bounds decide how far the fast products may add in 16 bits: no bytes may break them. */
static void integers_stay_within_their_traits(void **state) {
    (void)state;
    for (int d = DTYPE_Q4_0; d < DTYPE_N_COMPUTE; d++) {
        enum dtype dtype = (enum dtype)d;
        struct quant_traits t = quant_traits(dtype);
        int lowest = 127, highest = -128;
        for (uint32_t round = 0; round < 400; round++) {
            unsigned char block[512];
            int8_t q[BLOCK_SUPER];
            float scale[QUANT_SUBS_MAX], min[QUANT_SUBS_MAX];
            for (uint32_t i = 0; i < sizeof block; i++)
                block[i] = (unsigned char)rng_u64(round, i);
            quant_unpack_ref(dtype, block, q, scale, min);
            for (uint32_t e = 0; e < dtype_info(dtype)->block_elements; e++) {
                lowest = q[e] < lowest ? q[e] : lowest;
                highest = q[e] > highest ? q[e] : highest;
            }
        }
        assert_int_equal(lowest, t.q_min);
        assert_int_equal(highest, t.q_max);
    }
}

static void assert_magnitude(uint64_t word, int element, int magnitude) {
    assert_int_equal(word >> 8 * element & 0xff, magnitude);
}

static void check_iq2_digits(const uint64_t *grid, const uint8_t *first, const uint8_t *second,
                             uint32_t n) {
    const int magnitudes[4] = {8, 25, 43, -1};
    for (uint32_t i = 0; i < n; i++) {
        for (int j = 0; j < 8; j++)
            assert_magnitude(grid[i], j, magnitudes[(j < 4 ? first : second)[i] >> j % 4 * 2 & 3]);
    }
}

/* Where digits_table.h puts the bits of an entry's digits. */
static void check_iq3_digits(const uint32_t *grid, const uint8_t *outer, const uint8_t *rest,
                             uint32_t n, const int magnitudes[8]) {
    for (uint32_t i = 0; i < n; i++) {
        int byte = outer[i], nibble = rest[i % (n / 2)] >> (i < n / 2 ? 4 : 0) & 15;
        int digits[4] = {(byte >> 1 & 3) | (byte >> 4 & 1) << 2,
                         (byte & 1) | (byte >> 3 & 1) << 1 | (nibble & 1) << 2, nibble >> 1,
                         byte >> 5};
        for (int j = 0; j < 4; j++)
            assert_magnitude(grid[i], j, magnitudes[digits[j]]);
    }
}

/* Two forms of the same codebooks: one for loads, one for permutations. */
static void packed_digits_are_those_of_the_codebooks(void **state) {
    (void)state;
    check_iq2_digits(iq2xxs_grid, iq2xxs_digits[0], iq2xxs_digits[1], 256);
    check_iq2_digits(iq2xs_grid, iq2xs_digits[0], iq2xs_digits[1], 512);
    check_iq2_digits(iq2s_grid, iq2s_digits[0], iq2s_digits[1], 1024);
    check_iq3_digits(iq3xxs_grid, iq3xxs_outer, iq3xxs_rest, 256,
                     (const int[8]){4, 12, 20, 28, 36, 44, 52, 62});
    check_iq3_digits(iq3s_grid, iq3s_outer, iq3s_rest, 512,
                     (const int[8]){1, 3, 5, 7, 9, 11, 13, 15});
    for (uint32_t i = 0; i < 2048; i++) {
        for (int j = 0; j < 8; j++)
            assert_magnitude(iq1_grid[i], j, 8 * (iq1_digits[i] >> 2 * j & 3));
    }
}

static void float_rows_of_any_alignment_are_exact(void **state) {
    (void)state;
    float in[3] = {1.5f, -0.0f, 0x1p-14f}, out[3];
    unsigned char row[1 + sizeof in];
    memcpy(row + 1, in, sizeof in);
    quant_dequantise_row(DTYPE_F32, row + 1, 3, out);
    assert_memory_equal(in, out, sizeof in);
    for (int i = 0; i < 3; i++) {
        uint16_t half = f32_to_f16(in[i]);
        memcpy(row + 1 + 2 * i, &half, 2);
    }
    quant_dequantise_row(DTYPE_F16, row + 1, 3, out);
    assert_memory_equal(in, out, sizeof in);
    for (int i = 0; i < 3; i++) {
        uint16_t half = f32_to_bf16(in[i]);
        memcpy(row + 1 + 2 * i, &half, 2);
    }
    quant_dequantise_row(DTYPE_BF16, row + 1, 3, out);
    assert_memory_equal(in, out, sizeof in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_gives_the_reference_bits),
        cmocka_unit_test(integers_stay_within_their_traits),
        cmocka_unit_test(packed_digits_are_those_of_the_codebooks),
        cmocka_unit_test(float_rows_of_any_alignment_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
