/* SPDX-License-Identifier: Apache-2.0 */
/* embed.h: rows in the order of the ids, with the bits of the format's definition. */
#include "kernels/embed/embed.h"

#include "kernels/quant/unpack.h"
#include "tensor/panels.h"
#include "tests/kernels/support_kernels.h"
#include "tests/kernels/support_weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void every_type_gives_the_rows_of_the_ids(void **state) {
    (void)state;
    enum { VOCABULARY = 9, D = 512 };
    const int32_t ids[] = {8, 0, 3, 3, 0, 7, 1};
    const uint32_t n_tokens = sizeof ids / sizeof ids[0];
    for (int d = 0; d < DTYPE_N_COMPUTE; d++) {
        struct arena arena = {0};
        struct matrix table = random_matrix(&arena, (enum dtype)d, VOCABULARY, D, 5);
        for (uint32_t n_threads = 1; n_threads <= 9; n_threads += 4) {
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            float *out = floats(&arena, n_tokens * D), *row = floats(&arena, D);
            embed_ref(&k, &(struct embed_args){
                              .out = out, .table = &table, .ids = ids, .n_tokens = n_tokens});
            for (uint32_t t = 0; t < n_tokens; t++) {
                const char *data = table.data;
                quant_dequantise_row(table.dtype, data + (size_t)ids[t] * table.row_bytes, D, row);
                assert_true(same_bits(out + t * D, row, D));
            }
            kernel_ctx_close(&k);
        }
        arena_free(&arena);
    }
}

/* The same table in panels: 37 rows are two whole panels and a part of one. */
static void a_table_in_panels_gives_the_same_rows(void **state) {
    (void)state;
    enum { VOCABULARY = 37, D = 512 };
    const int32_t ids[] = {36, 0, 15, 16, 31, 32, 5, 36};
    const uint32_t n_tokens = sizeof ids / sizeof ids[0];
    for (int d = 0; d < DTYPE_N_COMPUTE; d++) {
        if (!dtype_is_quantised((enum dtype)d))
            continue;
        struct arena arena = {0};
        struct kernel_ctx k = kernel_ctx_open(3);
        struct matrix table = random_matrix(&arena, (enum dtype)d, VOCABULARY, D, 6);
        float *want = floats(&arena, n_tokens * D), *got = floats(&arena, n_tokens * D);
        struct embed_args args = {.out = want, .table = &table, .ids = ids, .n_tokens = n_tokens};
        embed_ref(&k, &args);
        uint64_t bytes = panel_bytes(table.dtype, D);
        unsigned char *panels = arena_array(&arena, panel_count(VOCABULARY), bytes);
        assert_non_null(panels);
        for (uint32_t row = 0; row < VOCABULARY; row += PANEL_ROWS) {
            uint32_t left = VOCABULARY - row;
            struct panel_rows rows = {.dtype = table.dtype,
                                      .d_in = D,
                                      .n_rows = left < PANEL_ROWS ? left : PANEL_ROWS,
                                      .row_bytes = table.row_bytes};
            panel_pack(&rows, (const char *)table.data + row * table.row_bytes,
                       panels + row / PANEL_ROWS * bytes);
        }
        table.layout = MATRIX_PANELS;
        table.data = panels;
        args.out = got;
        embed_ref(&k, &args);
        assert_true(same_bits(got, want, n_tokens * D));
        kernel_ctx_close(&k);
        arena_free(&arena);
    }
}

static void no_tokens_write_nothing(void **state) {
    (void)state;
    struct arena arena = {0};
    struct matrix table = random_matrix(&arena, DTYPE_F16, 2, 3, 1);
    struct kernel_ctx k = kernel_ctx_open(2);
    float out = 4.0f;
    embed_ref(&k, &(struct embed_args){.out = &out, .table = &table});
    assert_true(out == 4.0f);
    kernel_ctx_close(&k);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_gives_the_rows_of_the_ids),
        cmocka_unit_test(a_table_in_panels_gives_the_same_rows),
        cmocka_unit_test(no_tokens_write_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
