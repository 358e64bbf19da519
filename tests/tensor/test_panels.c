/* SPDX-License-Identifier: Apache-2.0 */
/* Panels: where a byte of a block goes, by the picture in panels.h, and that rows come back. */
#include "tensor/panels.h"

#include "base/arena.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

static unsigned char *random_bytes(struct arena *arena, uint64_t n, uint64_t key) {
    unsigned char *bytes = arena_array(arena, n, 1);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)rng_u64(key, i);
    return bytes;
}

/* Heads are the two bytes (or the byte) of scale beside words; where they stand is in blocks.h. */
static void formats_name_the_scale_that_is_no_word(void **state) {
    (void)state;
    struct panel_format q8_0 = panel_format(DTYPE_Q8_0), q6_k = panel_format(DTYPE_Q6_K);
    struct panel_format q4_k = panel_format(DTYPE_Q4_K), mxfp4 = panel_format(DTYPE_MXFP4);
    assert_int_equal(q8_0.n_words, 8);
    assert_int_equal(q8_0.head_bytes, 2);
    assert_int_equal(q8_0.head_offset, 0);
    assert_int_equal(q8_0.word_offset, 2);
    assert_int_equal(q6_k.n_words, 52);
    assert_int_equal(q6_k.head_bytes, 2);
    assert_int_equal(q6_k.head_offset, 208);
    assert_int_equal(q6_k.word_offset, 0);
    assert_int_equal(q4_k.n_words, 36);
    assert_int_equal(q4_k.head_bytes, 0);
    assert_int_equal(q4_k.word_offset, 0);
    assert_int_equal(mxfp4.n_words, 4);
    assert_int_equal(mxfp4.head_bytes, 1);
    assert_int_equal(mxfp4.word_offset, 1);
}

static void a_panel_has_the_bytes_of_its_rows_and_padding(void **state) {
    (void)state;
    assert_int_equal(panel_bytes(DTYPE_Q4_K, 2048), 16 * 1152);
    assert_int_equal(panel_bytes(DTYPE_Q8_0, 96), 16 * 3 * 34 + 32);
    assert_int_equal(panel_heads_offset(DTYPE_Q8_0, 96), 3 * 8 * 64);
    assert_int_equal(panel_count(33), 3);
}

/* Byte `at` of block b of row r, found in the panel by the picture. */
static unsigned char panel_byte(enum dtype dtype, uint32_t d_in, const unsigned char *panel,
                                uint32_t r, uint32_t b, uint32_t at) {
    const struct panel_format f = panel_format(dtype);
    if (at >= f.head_offset && at < f.head_offset + f.head_bytes)
        return panel[panel_heads_offset(dtype, d_in) + (b * 16 + r) * f.head_bytes + at -
                     f.head_offset];
    uint32_t place = at - f.word_offset;
    if (place < 64 && (dtype == DTYPE_IQ3_XXS || dtype == DTYPE_IQ3_S))
        place = place / 8 * 8 + place % 2 * 4 + place % 8 / 2;
    uint32_t word = place / 4, byte = place % 4;
    return panel[((size_t)b * f.n_words + word) * 64 + 4 * r + byte];
}

static void every_byte_stands_where_the_picture_says(void **state) {
    (void)state;
    struct arena arena = {0};
    for (enum dtype dtype = DTYPE_Q4_0; dtype < DTYPE_N_COMPUTE; dtype++) {
        const struct dtype_info *info = dtype_info(dtype);
        uint32_t d_in = 3 * info->block_elements;
        uint64_t row_bytes = dtype_row_bytes(dtype, d_in);
        for (uint32_t n_rows = 1; n_rows <= 16; n_rows += 5) {
            struct panel_rows shape = {dtype, d_in, n_rows, row_bytes};
            unsigned char *rows = random_bytes(&arena, n_rows * row_bytes, dtype);
            unsigned char *panel = random_bytes(&arena, panel_bytes(dtype, d_in), 7);
            panel_pack(&shape, rows, panel);
            for (uint32_t r = 0; r < 16; r++) {
                for (uint32_t i = 0; i < row_bytes; i++) {
                    unsigned char want = r < n_rows ? rows[r * row_bytes + i] : 0;
                    assert_int_equal(panel_byte(dtype, d_in, panel, r, i / info->block_bytes,
                                                i % info->block_bytes),
                                     want);
                }
            }
        }
    }
    arena_free(&arena);
}

static void rows_come_back(void **state) {
    (void)state;
    struct arena arena = {0};
    for (enum dtype dtype = DTYPE_Q4_0; dtype < DTYPE_N_COMPUTE; dtype++) {
        uint32_t d_in = 2 * dtype_info(dtype)->block_elements;
        uint64_t row_bytes = dtype_row_bytes(dtype, d_in);
        struct panel_rows shape = {dtype, d_in, 16, row_bytes};
        unsigned char *rows = random_bytes(&arena, 16 * row_bytes, dtype);
        unsigned char *panel = random_bytes(&arena, panel_bytes(dtype, d_in), 7);
        unsigned char *row = random_bytes(&arena, row_bytes, 8);
        panel_pack(&shape, rows, panel);
        for (uint32_t r = 0; r < 16; r++) {
            panel_unpack_row(&shape, panel, r, row);
            assert_memory_equal(row, rows + r * row_bytes, row_bytes);
        }
    }
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_name_the_scale_that_is_no_word),
        cmocka_unit_test(a_panel_has_the_bytes_of_its_rows_and_padding),
        cmocka_unit_test(every_byte_stands_where_the_picture_says),
        cmocka_unit_test(rows_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
