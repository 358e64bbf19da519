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

static void assert_quantised(const struct kernels *kernels, struct kernel_ctx *k, const float *x,
                             const struct act_block *blocks, uint32_t n_tokens, uint32_t d) {
    struct act_block want[64];
    memset(want, 0, sizeof want);
    assert_true(n_tokens * d / ACT_BLOCK <= 64);
    struct activation apart = {.x = x, .blocks = want, .n_tokens = n_tokens, .d = d};
    kernels->activation_quantise(k, &apart);
    assert_memory_equal(blocks, want, n_tokens * d / ACT_BLOCK * sizeof *want);
}

/* Norm, SwiGLU and attention, each asked for the blocks of what it makes. */
static void operations_quantise_their_output_as_apart(void **state) {
    (void)state;
    enum { N = 3, HEADS = 2, D = 64, ALL = N * HEADS * D };
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    float *x = random_floats(&arena, ALL, 1, 3), *y = random_floats(&arena, ALL, 2, 3);
    float *out = floats(&arena, ALL);
    const uint32_t page = 0;
    struct kv_layer kv = {.pages = arena_alloc(&arena, 2 * KV_PAGE_TOKENS * D * sizeof(float)),
                          .dtype = DTYPE_F32,
                          .n_kv_heads = 1,
                          .d_head = D};
    struct kv_rows rows = {.pages = &page, .n_rows = N};
    kv_append_ref(&k, &(struct kv_append_args){
                          .kv = &kv, .key = x, .value = y, .rows = &rows, .n_rows_entries = 1});
    for (size_t n = 1; n < v.n; n++) {
        struct act_block blocks[ALL / ACT_BLOCK];
        memset(blocks, 0, sizeof blocks);
        v.table[n].rmsnorm(&k, &(struct rmsnorm_args){.out = out,
                                                      .x = x,
                                                      .w = y,
                                                      .n_tokens = N,
                                                      .d = HEADS * D,
                                                      .eps = 1e-6f,
                                                      .blocks = blocks});
        assert_quantised(&v.table[n], &k, out, blocks, N, HEADS * D);
        v.table[n].swiglu(
            &k, &(struct swiglu_args){
                    .out = out, .gate = x, .up = y, .n = ALL, .n_rows = 1, .blocks = blocks});
        assert_quantised(&v.table[n], &k, out, blocks, N, HEADS * D);
        v.table[n].attention(&k, &(struct attention_args){.out = out,
                                                          .q = x,
                                                          .kv = &kv,
                                                          .rows = &rows,
                                                          .n_rows_entries = 1,
                                                          .n_tokens = N,
                                                          .n_heads = HEADS,
                                                          .heads_per_kv = HEADS,
                                                          .scale = 0.125f,
                                                          .blocks = blocks});
        assert_quantised(&v.table[n], &k, out, blocks, N, HEADS * D);
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_rows_give_the_defined_blocks),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(odd_blocks_give_the_defined_scale),
        cmocka_unit_test(operations_quantise_their_output_as_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
