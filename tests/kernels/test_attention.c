/* SPDX-License-Identifier: Apache-2.0 */
/* Attention: values from PyTorch, the reference at many shapes, equal bits in any cut. */
#include "kernels/attention/attention.h"

#include "tensor/f16.h"
#include "tests/kernels/check_attention.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#define N_OF(array) (sizeof(array) / sizeof(array)[0])

/* The largest relative L2 error of a head of a token. */
static double worst_head(const float *got, const float *want, size_t n_floats, size_t d_head) {
    double worst = 0;
    for (size_t i = 0; i < n_floats; i += d_head)
        worst = fmax(worst, relative_l2(got + i, want + i, d_head));
    return worst;
}

/* Three tokens, two heads of 16 on one KV head, gated: the first 8 values of each head of tokens
 * 1 and 2. Computed with PyTorch 2.15 in float64 from the formulas of attention.h. */
static void values_are_those_of_pytorch(void **state) {
    (void)state;
    static const float want[2][2][8] = {
        {{0.190375417f, -0.409912195f, -0.671146959f, -0.406641404f, 0.133237592f, 0.501584921f,
          0.445513616f, 0.0833657524f},
         {0.0762879952f, -0.211476652f, -0.388887418f, -0.270607962f, 0.122898826f, 0.508189016f,
          0.533036071f, 0.105198209f}},
        {{-0.374260384f, -0.274746865f, 0.00251983967f, 0.21987293f, 0.236042656f, 0.0851617736f,
          -0.0951812667f, -0.180282848f},
         {0.0767899312f, -0.356474794f, -0.564240513f, -0.32591252f, 0.206459619f, 0.607649886f,
          0.539486172f, 0.0484290791f}}};
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    const uint32_t page = 0;
    struct kv_layer kv = {.pages = arena_alloc(&arena, 2 * KV_PAGE_TOKENS * 16 * sizeof(float)),
                          .dtype = DTYPE_F32,
                          .n_kv_heads = 1,
                          .d_head = 16};
    struct kv_rows rows = {.pages = &page, .n_rows = 3};
    struct kv_append_args append = {.kv = &kv,
                                    .key = wave_floats(&arena, 48, 0.53, 0.4),
                                    .value = wave_floats(&arena, 48, 0.91, 0.9),
                                    .rows = &rows,
                                    .n_rows_entries = 1};
    kv_append_ref(&k, &append);
    float *q = wave_floats(&arena, 96, 0.37, 0.1), *out = floats(&arena, 96);
    for (size_t i = 0; i < 96; i++)
        q[i] *= 4;
    struct attention_args a = {.out = out,
                               .q = q,
                               .gate = wave_floats(&arena, 96, 0.23, 0.6),
                               .gate_token_stride = 32,
                               .gate_head_stride = 16,
                               .kv = &kv,
                               .rows = &rows,
                               .n_rows_entries = 1,
                               .n_tokens = 3,
                               .n_heads = 2,
                               .heads_per_kv = 2,
                               .scale = 0.25f};
    for (size_t n = 0; n < v.n; n++) {
        v.table[n].attention(&k, &a);
        for (size_t i = 0; i < 32; i++)
            assert_true(fabsf(out[32 + i / 8 * 16 + i % 8] - want[i / 16][i / 8 % 2][i % 8]) <=
                        2e-6f);
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void variants_agree_with_the_reference_at_many_shapes(void **state) {
    (void)state;
    static const struct attention_case cases[] = {
        /* heads, KV heads, d_head, dtype, gated, sequences, tokens, size, all heads */
        {1, 1, 64, DTYPE_F32, false, 1, 1, 1, 0, 0},
        {4, 2, 64, DTYPE_F32, true, 2, 300, 1, 0, 0},
        {8, 1, 128, DTYPE_F16, true, 1, 40, 1, 0, 0},
        {6, 1, 64, DTYPE_BF16, true, 3, 34, 1, 0, 0},
        {3, 3, 256, DTYPE_F16, true, 1, 33, 1, 0, 0},
        {8, 8, 64, DTYPE_F32, false, 1, 20, 1, 0, 0},
        {16, 2, 256, DTYPE_F16, true, 1, 24, 1, 0, 0},
        {10, 2, 80, DTYPE_F32, true, 1, 31, 1, 0, 0},
        {2, 1, 64, DTYPE_F32, true, 1, 64, 30, 0, 0},
        {2, 1, 64, DTYPE_F32, true, 1, 64, 0, 0, 0},
        {2, 1, 64, DTYPE_F32, true, 1, 270, 1e-20f, 0, 0},
        {2, 1, 16, DTYPE_F16, true, 1, 600, 4, 0, 0},
    };
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct arena arena = {0};
        float *want = attention_case_run(&cases[i], &v.table[0], &k, 1000, &arena);
        for (size_t n = 1; n < v.n; n++) {
            float *got = attention_case_run(&cases[i], &v.table[n], &k, 1000, &arena);
            /* Scores of size s carry an error of s * 2^-24, which exp turns into a relative one. */
            double tolerance = cases[i].size > 4 ? 1e-4 : 1e-5;
            assert_true(worst_head(got, want, attention_case_floats(&cases[i]), cases[i].d_head) <=
                        tolerance);
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

static void bits_do_not_depend_on_variant_threads_or_chunks(void **state) {
    (void)state;
    static const struct attention_case cases[] = {
        {8, 2, 64, DTYPE_F16, true, 1, 700, 1, 0, 0},
        {6, 1, 32, DTYPE_F32, true, 3, 280, 1, 0, 0},
        {3, 3, 16, DTYPE_BF16, false, 2, 530, 3, 0, 0},
    };
    static const uint32_t chunks[] = {700, 64, 7, 1};
    struct variants v;
    variants_init(&v);
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct arena arena = {0};
        float *first = NULL;
        for (size_t n = 1; n < v.n; n++) {
            for (size_t run = 0; run < N_OF(chunks); run++) {
                struct arena scratch = {0};
                struct kernel_ctx k = kernel_ctx_open((uint32_t)(run + n) % 4 + 1);
                float *got = attention_case_run(&cases[i], &v.table[n], &k, chunks[run],
                                                first ? &scratch : &arena);
                if (!first)
                    first = got;
                assert_true(same_bits(got, first, attention_case_floats(&cases[i])));
                kernel_ctx_close(&k);
                arena_free(&scratch);
            }
        }
        arena_free(&arena);
    }
}

static void bits_do_not_depend_on_the_other_sequences(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    struct attention_case three = {4, 1, 32, DTYPE_F16, true, 3, 90, 1, 0, 0}, one = three;
    one.n_sequences = 1;
    for (size_t n = 0; n < v.n; n++) {
        float *beside = attention_case_run(&three, &v.table[n], &k, 13, &arena);
        float *alone = attention_case_run(&one, &v.table[n], &k, 90, &arena);
        assert_true(same_bits(beside, alone, attention_case_floats(&one)));
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void assert_heads(const float *got, const struct attention_case *share, const float *whole,
                         size_t n_tokens) {
    size_t d = share->d_head, n = attention_case_heads(share) * d, n_all = share->n_heads * d;
    for (size_t t = 0; t < n_tokens; t++)
        assert_true(same_bits(got + t * n, whole + t * n_all + share->own_begin * d, n));
}

/* A rank's heads begin and end anywhere: within a KV head, at its border, in several. */
static void heads_of_a_share_are_those_of_the_whole(void **state) {
    (void)state;
    static const struct attention_case cases[] = {
        {8, 2, 64, DTYPE_F16, true, 2, 300, 1, 0, 0},
        {9, 3, 32, DTYPE_F32, true, 1, 280, 1, 0, 0},
        {5, 5, 16, DTYPE_BF16, false, 2, 70, 3, 0, 0},
    };
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < N_OF(cases) * v.n; i++) {
        const struct attention_case *whole = &cases[i / v.n];
        const struct kernels *kernels = &v.table[i % v.n];
        uint32_t n_tokens = i % v.n == 0 ? 20 : whole->n_tokens; /* the reference is slow */
        struct arena arena = {0};
        struct attention_case all = *whole;
        all.n_tokens = n_tokens;
        float *want = attention_case_run(&all, kernels, &k, 64, &arena);
        for (uint32_t begin = 0; begin < whole->n_heads; begin++) {
            for (uint32_t end = begin + 1; end <= whole->n_heads; end += 1 + begin % 2) {
                struct arena scratch = {0};
                struct attention_case share = all;
                share.own_begin = begin;
                share.own_end = end;
                float *got = attention_case_run(&share, kernels, &k, 75, &scratch);
                size_t n_all = attention_case_floats(&all) / (all.n_heads * all.d_head);
                assert_heads(got, &share, want, n_all);
                arena_free(&scratch);
            }
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

/* More splits than partial results fit scratch: several waves, and one row on all threads. */
static void decode_of_a_long_context_keeps_its_bits(void **state) {
    (void)state;
    static const struct attention_case c = {8, 1, 256, DTYPE_F16, true, 1, 30001, 2, 0, 0};
    struct variants v;
    variants_init(&v);
    struct arena arena = {0};
    struct kernel_ctx k1 = kernel_ctx_open(1);
    struct attention_case share = c;
    share.own_begin = 3;
    share.own_end = 5;
    float *want = attention_case_decode(&c, &v.table[0], &k1, &arena), *first = NULL;
    kernel_ctx_close(&k1);
    for (size_t n = 1; n < v.n; n++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct arena scratch = {0};
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            float *got = attention_case_decode(&c, &v.table[n], &k, first ? &scratch : &arena);
            if (!first)
                first = got;
            assert_true(same_bits(got, first, (size_t)c.n_heads * c.d_head));
            assert_true(worst_head(got, want, (size_t)c.n_heads * c.d_head, c.d_head) <= 1e-5);
            assert_heads(attention_case_decode(&share, &v.table[n], &k, &scratch), &share, first,
                         1);
            kernel_ctx_close(&k);
            arena_free(&scratch);
        }
    }
    arena_free(&arena);
}

/* Two keys, one head: the weight of the second is 1 / (1 + e^x) for scores 0 and -x. So the
 * output of value 1 there shows the relative error of the exponential. */
static void weights_are_exact_far_below_the_largest_score(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    const uint32_t page = 0;
    struct kv_layer kv = {.pages = arena_alloc(&arena, 2 * KV_PAGE_TOKENS * 16 * sizeof(float)),
                          .dtype = DTYPE_F32,
                          .n_kv_heads = 1,
                          .d_head = 16};
    struct kv_rows both = {.pages = &page, .n_rows = 2};
    struct kv_rows second = {.pages = &page, .n_rows = 1, .pos_begin = 1};
    float *key = floats(&arena, 32), *value = floats(&arena, 32), q[16] = {1}, out[16];
    for (size_t i = 16; i < 32; i++)
        value[i] = 1;
    struct kv_append_args append = {
        .kv = &kv, .key = key, .value = value, .rows = &both, .n_rows_entries = 1};
    struct attention_args a = {.out = out,
                               .q = q,
                               .kv = &kv,
                               .rows = &second,
                               .n_rows_entries = 1,
                               .n_tokens = 1,
                               .n_heads = 1,
                               .heads_per_kv = 1,
                               .scale = 1};
    for (float x = 0; x < 87; x += 0.0371f) {
        key[16] = -x;
        kv_append_ref(&k, &append);
        double exact = 1 / (1 + exp((double)x));
        for (size_t n = 0; n < v.n; n++) {
            v.table[n].attention(&k, &a);
            assert_true(fabs(out[0] - exact) <= 3e-7 * exact);
        }
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

/* A broken token must not reach earlier tokens of the same step. */
static void a_nan_stays_with_the_positions_that_see_it(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    const uint32_t page = 0;
    struct kv_layer kv = {.pages = arena_alloc(&arena, 2 * KV_PAGE_TOKENS * 16 * sizeof(float)),
                          .dtype = DTYPE_F32,
                          .n_kv_heads = 1,
                          .d_head = 16};
    struct kv_rows rows = {.pages = &page, .n_rows = 8};
    float *key = random_floats(&arena, 128, 1, 1), *value = random_floats(&arena, 128, 2, 1);
    float *q = random_floats(&arena, 128, 3, 1), *out = floats(&arena, 128);
    key[5 * 16] = INFINITY;
    value[5 * 16 + 1] = NAN;
    struct kv_append_args append = {
        .kv = &kv, .key = key, .value = value, .rows = &rows, .n_rows_entries = 1};
    kv_append_ref(&k, &append);
    struct attention_args a = {.out = out,
                               .q = q,
                               .kv = &kv,
                               .rows = &rows,
                               .n_rows_entries = 1,
                               .n_tokens = 8,
                               .n_heads = 1,
                               .heads_per_kv = 1,
                               .scale = 1};
    for (size_t n = 1; n < v.n; n++) {
        v.table[n].attention(&k, &a);
        for (size_t t = 0; t < 8; t++)
            assert_int_equal(isnan(out[t * 16 + 1]) != 0, t >= 5);
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void append_rounds_to_the_type_of_the_cache(void **state) {
    (void)state;
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    struct arena arena = {0};
    const uint32_t pages[] = {2, 0}; /* positions 31 and 32 lie in different pages */
    float *key = random_floats(&arena, 2 * 32, 1, 3), *value = random_floats(&arena, 2 * 32, 2, 3);
    for (size_t i = 0; i < N_OF(dtypes); i++) {
        struct kernel_ctx k = kernel_ctx_open(2);
        struct kv_layer kv = {.page_bytes = 2 * 2 * KV_PAGE_TOKENS * 16 * sizeof(float),
                              .dtype = dtypes[i],
                              .n_kv_heads = 2,
                              .d_head = 16};
        kv.pages = arena_alloc(&arena, 3 * kv.page_bytes);
        struct kv_rows rows = {.pages = pages, .n_rows = 2, .pos_begin = 31};
        struct kv_append_args append = {
            .kv = &kv, .key = key, .value = value, .rows = &rows, .n_rows_entries = 1};
        kv_append_ref(&k, &append);
        for (size_t e = 0; e < 2 * 32; e++) {
            size_t token = e / 32, head = e / 16 % 2, column = e % 16;
            size_t slot = token == 0 ? 31 : 0;
            size_t at[] = {(head * 16 + column) * KV_PAGE_TOKENS + slot,
                           ((2 + head) * KV_PAGE_TOKENS + slot) * 16 + column};
            const unsigned char *page = kv.pages + pages[token] * kv.page_bytes;
            float want[] = {key[e], value[e]};
            for (size_t which = 0; which < 2; which++) {
                uint16_t half = ((const uint16_t *)(const void *)page)[at[which]];
                if (dtypes[i] == DTYPE_F32)
                    assert_true(((const float *)(const void *)page)[at[which]] == want[which]);
                else if (dtypes[i] == DTYPE_F16)
                    assert_int_equal(half, f32_to_f16(want[which]));
                else
                    assert_int_equal(half, f32_to_bf16(want[which]));
            }
        }
        kernel_ctx_close(&k);
    }
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_pytorch),
        cmocka_unit_test(variants_agree_with_the_reference_at_many_shapes),
        cmocka_unit_test(bits_do_not_depend_on_variant_threads_or_chunks),
        cmocka_unit_test(bits_do_not_depend_on_the_other_sequences),
        cmocka_unit_test(heads_of_a_share_are_those_of_the_whole),
        cmocka_unit_test(decode_of_a_long_context_keeps_its_bits),
        cmocka_unit_test(weights_are_exact_far_below_the_largest_score),
        cmocka_unit_test(a_nan_stays_with_the_positions_that_see_it),
        cmocka_unit_test(append_rounds_to_the_type_of_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
