/* SPDX-License-Identifier: Apache-2.0 */
/* embed.h: rows in the order of the ids, with the bits of the format's definition. */
#include "kernels/embed/embed.h"

#include "kernels/quant/unpack.h"
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
        cmocka_unit_test(no_tokens_write_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
