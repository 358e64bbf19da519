/* SPDX-License-Identifier: Apache-2.0 */
/* The table of types against that of the Python package gguf 0.19 (GGML_QUANT_SIZES). */
#include "tensor/dtype.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

/* Without Q8_1, which the package lists with two floats where ggml has two halves. */
static const struct {
    const char *name;
    uint32_t ggml_id, block_elements, block_bytes;
} published[] = {
    {"F32", 0, 1, 4},         {"F16", 1, 1, 2},         {"Q4_0", 2, 32, 18},
    {"Q4_1", 3, 32, 20},      {"Q5_0", 6, 32, 22},      {"Q5_1", 7, 32, 24},
    {"Q8_0", 8, 32, 34},      {"Q2_K", 10, 256, 84},    {"Q3_K", 11, 256, 110},
    {"Q4_K", 12, 256, 144},   {"Q5_K", 13, 256, 176},   {"Q6_K", 14, 256, 210},
    {"Q8_K", 15, 256, 292},   {"IQ2_XXS", 16, 256, 66}, {"IQ2_XS", 17, 256, 74},
    {"IQ3_XXS", 18, 256, 98}, {"IQ1_S", 19, 256, 50},   {"IQ4_NL", 20, 32, 18},
    {"IQ3_S", 21, 256, 110},  {"IQ2_S", 22, 256, 82},   {"IQ4_XS", 23, 256, 136},
    {"I8", 24, 1, 1},         {"I16", 25, 1, 2},        {"I32", 26, 1, 4},
    {"I64", 27, 1, 8},        {"F64", 28, 1, 8},        {"IQ1_M", 29, 256, 56},
    {"BF16", 30, 1, 2},       {"TQ1_0", 34, 256, 54},   {"TQ2_0", 35, 256, 66},
    {"MXFP4", 39, 32, 17},    {"NVFP4", 40, 64, 36},    {"Q1_0", 41, 128, 18},
};
#define N_PUBLISHED (sizeof published / sizeof published[0])

static void published_types_are_known_with_their_sizes(void **state) {
    (void)state;
    for (size_t i = 0; i < N_PUBLISHED; i++) {
        enum dtype by_id, by_name;
        assert_true(dtype_from_ggml(published[i].ggml_id, &by_id));
        assert_true(dtype_from_name(published[i].name, &by_name));
        assert_int_equal(by_id, by_name);
        const struct dtype_info *info = dtype_info(by_id);
        assert_string_equal(info->name, published[i].name);
        assert_int_equal(info->ggml_id, published[i].ggml_id);
        assert_int_equal(info->block_elements, published[i].block_elements);
        assert_int_equal(info->block_bytes, published[i].block_bytes);
    }
}

static void every_type_is_found_by_number_and_name_in_any_case(void **state) {
    (void)state;
    for (int i = 0; i < DTYPE_N; i++) {
        const struct dtype_info *info = dtype_info((enum dtype)i);
        enum dtype found;
        char lower[16] = {0};
        for (size_t c = 0; info->name[c]; c++)
            lower[c] = (char)(info->name[c] | (info->name[c] == '_' ? 0 : 0x20));
        assert_true(dtype_from_ggml(info->ggml_id, &found) && (int)found == i);
        assert_true(dtype_from_name(info->name, &found) && (int)found == i);
        assert_true(dtype_from_name(lower, &found) && (int)found == i);
        assert_true(256 % info->block_elements == 0);
    }
}

static void retired_and_unknown_types_are_not_found(void **state) {
    (void)state;
    static const uint32_t ids[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 97, 1000, UINT32_MAX};
    static const char *const names[] = {"", "Q4", "Q4_K_M", "Q4_K ", "F3", "iq5"};
    enum dtype found = DTYPE_F64;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_false(dtype_from_ggml(ids[i], &found));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(dtype_from_name(names[i], &found));
    assert_int_equal(found, DTYPE_F64);
}

static void rows_are_measured_in_whole_blocks(void **state) {
    (void)state;
    assert_int_equal(dtype_row_bytes(DTYPE_F32, 2048), 8192);
    assert_int_equal(dtype_row_bytes(DTYPE_Q4_K, 2048), 2048 / 256 * 144);
    assert_int_equal(dtype_row_bytes(DTYPE_Q8_0, 96), 3 * 34);
    assert_int_equal(dtype_row_bytes(DTYPE_Q6_K, (uint64_t)1 << 40), ((uint64_t)1 << 32) * 210);
}

static void quantised_means_blocks_with_scales(void **state) {
    (void)state;
    for (int i = 0; i < DTYPE_N; i++)
        assert_int_equal(dtype_is_quantised((enum dtype)i),
                         dtype_info((enum dtype)i)->block_elements > 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_types_are_known_with_their_sizes),
        cmocka_unit_test(every_type_is_found_by_number_and_name_in_any_case),
        cmocka_unit_test(retired_and_unknown_types_are_not_found),
        cmocka_unit_test(rows_are_measured_in_whole_blocks),
        cmocka_unit_test(quantised_means_blocks_with_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
