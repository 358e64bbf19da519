/* SPDX-License-Identifier: Apache-2.0 */
/* activation.h: the fast variants against the definition, byte for byte. */
#include "kernels/quant/activation.h"

#include "tests/kernels/support_kernels.h"
#include "tests/kernels/support_weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

/* Quantises with all fast variants and threads; compares all fields, NaN with NaN. */
static void check_rows(const float *x, uint32_t n_tokens, uint32_t d, struct arena *arena) {
    struct variants variants;
    variants_init(&variants);
    for (size_t v = 1; v < variants.n; v++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            struct activation a = activation_of(arena, x, n_tokens, d);
            variants.table[v].activation_quantise(&k, &a);
            for (size_t b = 0; b < (size_t)n_tokens * d / ACT_BLOCK; b++) {
                struct act_block want;
                quantise_block_by_definition(x + b * ACT_BLOCK, &want);
                assert_memory_equal(a.blocks[b].q, want.q, sizeof want.q);
                assert_memory_equal(a.blocks[b].half_sum, want.half_sum, sizeof want.half_sum);
                assert_true(a.blocks[b].scale == want.scale ||
                            (isnan(a.blocks[b].scale) && isnan(want.scale)));
            }
            kernel_ctx_close(&k);
        }
    }
}

static void random_rows_give_the_defined_blocks(void **state) {
    (void)state;
    struct arena arena = {0};
    check_rows(random_floats(&arena, 7 * 96, 1, 1.0f), 7, 96, &arena);
    check_rows(random_floats(&arena, 300 * 2048, 2, 1e4f), 300, 2048, &arena);
    check_rows(random_floats(&arena, 2 * 64, 3, 1e-30f), 2, 64, &arena);
    arena_free(&arena);
}

static void halves_round_to_even(void **state) {
    (void)state;
    struct arena arena = {0};
    float *x = floats(&arena, 32);
    x[0] = 127.0f;
    for (int i = 1; i < 32; i++)
        x[i] = (float)i - 16.5f;
    struct act_block block;
    quantise_block_by_definition(x, &block);
    assert_int_equal(block.q[16], 0);  /* -0.5 */
    assert_int_equal(block.q[17], 0);  /* 0.5 */
    assert_int_equal(block.q[18], 2);  /* 1.5 */
    assert_int_equal(block.q[15], -2); /* -1.5 */
    check_rows(x, 1, 32, &arena);
    arena_free(&arena);
}

static void odd_blocks_give_the_defined_scale(void **state) {
    (void)state;
    const float kinds[] = {0.0f,     -0.0f,   FLT_TRUE_MIN,  FLT_MIN,   3.7e-37f,
                           3.8e-37f, FLT_MAX, INFINITY,      -INFINITY, NAN,
                           -NAN,     1.0f,    0x1.fffffep-1f};
    struct arena arena = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        float *x = floats(&arena, 96);
        fill_random(x, 96, i, 0.5f);
        for (int j = 0; j < 32; j++)
            x[32 + j] = 0.0f;
        x[32 + (7 * i) % 32] = kinds[i];
        x[64 + i] = kinds[i]; /* among others */
        check_rows(x, 1, 96, &arena);
        check_rows(x, 3, 32, &arena);
    }
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_rows_give_the_defined_blocks),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(odd_blocks_give_the_defined_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
