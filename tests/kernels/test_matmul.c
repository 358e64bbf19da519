/* SPDX-License-Identifier: Apache-2.0 */
/* matmul.h: the fast variants against their definition bit for bit, against the reference within
 * the tolerance, and every variant against itself for other threads and batches. */
#include "kernels/matmul/matmul.h"

#include "tensor/blocks.h"
#include "tensor/f16.h"
#include "tensor/panels.h"
#include "tests/kernels/check_matmul.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Rows around the panel of 16 and pairs of panels, tokens around the groups of 1 to 8 and the pass
 * of 128, columns around the tile of 256, splits with empty parts, with many runs, with a short
 * end. */
static const struct matmul_case shapes[] = {
    {.d_out = 1, .d_in = 256, .n_tokens = 1, .split = SPLIT_WHOLE},
    {.d_out = 15, .d_in = 256, .n_tokens = 2, .split = SPLIT_WHOLE},
    {.d_out = 17, .d_in = 768, .n_tokens = 7, .split = SPLIT_WHOLE},
    {.d_out = 16, .d_in = 512, .n_tokens = 6, .split = SPLIT_WHOLE},
    {.d_out = 48, .d_in = 256, .n_tokens = 15, .split = SPLIT_WHOLE},
    {.d_out = 100, .d_in = 1024, .n_tokens = 3, .split = SPLIT_RUNS},
    {.d_out = 33, .d_in = 2560, .n_tokens = 64, .split = SPLIT_RUNS},
    {.d_out = 19, .d_in = 4096, .n_tokens = 131, .split = SPLIT_DELTA},
    {.d_out = 16, .d_in = 2048, .n_tokens = 200, .split = SPLIT_WHOLE},
};

/* For blocks of 32 or single elements only. */
static const struct matmul_case small_shapes[] = {
    {.d_out = 1, .d_in = 32, .n_tokens = 1, .split = SPLIT_WHOLE},
    {.d_out = 18, .d_in = 96, .n_tokens = 5, .split = SPLIT_WHOLE},
    {.d_out = 31, .d_in = 1312, .n_tokens = 9, .split = SPLIT_RUNS},
};

/* For single elements only: rows that end in the middle of 16 lanes. */
static const struct matmul_case odd_shapes[] = {
    {.d_out = 3, .d_in = 1, .n_tokens = 3, .split = SPLIT_WHOLE},
    {.d_out = 5, .d_in = 37, .n_tokens = 6, .split = SPLIT_WHOLE},
    {.d_out = 17, .d_in = 777, .n_tokens = 2, .split = SPLIT_RUNS},
};

#define N(array)  (sizeof(array) / sizeof(array)[0])
#define CASES_MAX (N(shapes) + N(small_shapes) + N(odd_shapes))

static size_t cases_of(enum dtype dtype, struct matmul_case out[CASES_MAX]) {
    uint32_t block = dtype_info(dtype)->block_elements;
    size_t n = N(shapes);
    memcpy(out, shapes, sizeof shapes);
    if (block <= 32) {
        memcpy(out + n, small_shapes, sizeof small_shapes);
        n += N(small_shapes);
    }
    if (block == 1) {
        memcpy(out + n, odd_shapes, sizeof odd_shapes);
        n += N(odd_shapes);
    }
    for (size_t i = 0; i < n; i++)
        out[i].dtype = dtype;
    return n;
}

static void print_case(const struct matmul_case *c, const char *variant) {
    print_error("%s: %s, [%u, %u] times %u tokens, split %d\n", variant, dtype_info(c->dtype)->name,
                c->d_out, c->d_in, c->n_tokens, (int)c->split);
}

static void fast_sums_are_those_of_the_header(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (int d = 0; d < DTYPE_N_COMPUTE; d++) {
        struct matmul_case cases[CASES_MAX];
        size_t n = cases_of((enum dtype)d, cases);
        for (size_t i = 0; i < n; i++) {
            struct arena arena = {0};
            struct matmul_data data = matmul_case_data(&cases[i], &arena);
            float *want = matmul_data_define(&data, &arena);
            size_t n_y = (size_t)cases[i].n_tokens * cases[i].d_out;
            for (size_t v = 1; v < variants.n; v++) {
                float *got = matmul_data_run(&data, &variants.table[v], &k, &arena);
                if (!same_bits(got, want, n_y)) {
                    print_case(&cases[i], variants.table[v].name);
                    fail();
                }
            }
            arena_free(&arena);
        }
    }
    kernel_ctx_close(&k);
}

static void fast_is_near_the_reference(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (int d = 0; d < DTYPE_N_COMPUTE; d++) {
        struct matmul_case c = {
            .dtype = (enum dtype)d, .d_out = 40, .d_in = 2048, .n_tokens = 11, .split = SPLIT_RUNS};
        double allowed = dtype_is_quantised(c.dtype) ? 1e-2 : 2e-6;
        struct arena arena = {0};
        struct matmul_data data = matmul_case_data(&c, &arena);
        float *want = matmul_data_run(&data, &variants.table[0], &k, &arena);
        for (size_t v = 1; v < variants.n; v++) {
            float *got = matmul_data_run(&data, &variants.table[v], &k, &arena);
            double error = relative_l2(got, want, (size_t)c.n_tokens * c.d_out);
            if (!(error <= allowed)) {
                print_case(&c, variants.table[v].name);
                fail_msg("relative error %g, %g allowed", error, allowed);
            }
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

static void threads_do_not_show(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    const enum dtype dtypes[] = {DTYPE_Q4_K, DTYPE_BF16};
    for (size_t i = 0; i < N(dtypes); i++) {
        struct matmul_case c = {
            .dtype = dtypes[i], .d_out = 70, .d_in = 1024, .n_tokens = 5, .split = SPLIT_RUNS};
        struct arena arena = {0};
        struct matmul_data data = matmul_case_data(&c, &arena);
        for (size_t v = 0; v < variants.n; v++) {
            float *want = NULL;
            for (uint32_t n_threads = 1; n_threads <= 7; n_threads += 2) {
                struct kernel_ctx k = kernel_ctx_open(n_threads);
                float *got = matmul_data_run(&data, &variants.table[v], &k, &arena);
                want = want ? want : got;
                assert_true(same_bits(got, want, (size_t)c.n_tokens * c.d_out));
                kernel_ctx_close(&k);
            }
        }
        arena_free(&arena);
    }
}

/* Each token alone, and in batches of 3, gives what the whole batch gives. */
static void other_tokens_do_not_show(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    const enum dtype dtypes[] = {DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_IQ2_S, DTYPE_F16};
    for (size_t i = 0; i < N(dtypes); i++) {
        struct matmul_case c = {
            .dtype = dtypes[i], .d_out = 20, .d_in = 512, .n_tokens = 45, .split = SPLIT_WHOLE};
        struct arena arena = {0};
        struct matmul_data data = matmul_case_data(&c, &arena);
        for (size_t v = 0; v < variants.n; v++) {
            float *want = matmul_data_run(&data, &variants.table[v], &k, &arena);
            for (uint32_t batch = 1; batch <= 3; batch += 2) {
                for (uint32_t t = 0; t < c.n_tokens; t += batch) {
                    struct matmul_data some = data;
                    some.x.n_tokens = batch;
                    some.x.x += (size_t)t * c.d_in;
                    some.x.blocks += (size_t)t * (c.d_in / ACT_BLOCK);
                    float *got = matmul_data_run(&some, &variants.table[v], &k, &arena);
                    assert_true(same_bits(got, want + t * c.d_out, batch * c.d_out));
                }
            }
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

/* The largest products that the types allow, all of one sign: 16-bit sums must hold them. */
static void extreme_weights_do_not_saturate(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(1);
    const unsigned char bytes[] = {0x00, 0xff, 0x80, 0x7f, 0x88, 0x0f, 0xf0};
    for (int d = DTYPE_Q4_0; d < DTYPE_N_COMPUTE; d++) {
        struct matmul_case c = {
            .dtype = (enum dtype)d, .d_out = 16, .d_in = 256, .n_tokens = 4, .split = SPLIT_WHOLE};
        struct arena arena = {0};
        struct matmul_data data = matmul_case_data(&c, &arena);
        float *x = (float *)data.x.x;
        for (size_t i = 0; i < (size_t)c.n_tokens * c.d_in; i++)
            x[i] = i / c.d_in % 2 ? -1.0f : 1.0f;
        for (size_t b = 0; b < (size_t)c.n_tokens * c.d_in / ACT_BLOCK; b++)
            quantise_block_by_definition(x + b * ACT_BLOCK, &data.x.blocks[b]);
        for (size_t i = 0; i < N(bytes); i++) {
            matrix_fill_bytes(&data.w, bytes[i], 7);
            float *want = matmul_data_define(&data, &arena);
            for (size_t v = 1; v < variants.n; v++) {
                float *got = matmul_data_run(&data, &variants.table[v], &k, &arena);
                if (!same_bits(got, want, (size_t)c.n_tokens * c.d_out)) {
                    print_case(&c, variants.table[v].name);
                    fail_msg("bytes %02x", bytes[i]);
                }
            }
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

/* Q8_0 with scale 1 times integers whose largest is 127: no step rounds, so all agree exactly. */
static void small_integers_are_exact_in_every_variant(void **state) {
    (void)state;
    enum { D_OUT = 5, D_IN = 64, N_TOKENS = 2 };
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    struct arena arena = {0};
    struct matmul_case c = {
        .dtype = DTYPE_Q8_0, .d_out = D_OUT, .d_in = D_IN, .n_tokens = N_TOKENS};
    struct matmul_data data = matmul_case_data(&c, &arena);
    struct block_q8_0 *blocks = (struct block_q8_0 *)data.w.data;
    float *x = (float *)data.x.x, want[N_TOKENS * D_OUT];
    for (uint32_t b = 0; b < D_OUT * D_IN / 32; b++)
        blocks[b].d = f32_to_f16(1.0f);
    for (uint32_t i = 0; i < N_TOKENS * D_IN; i++)
        x[i] = (float)(i % 32 == 0 ? 127 : (int)(i * 37 % 200) - 100);
    for (uint32_t b = 0; b < N_TOKENS * D_IN / ACT_BLOCK; b++)
        quantise_block_by_definition(x + b * ACT_BLOCK, &data.x.blocks[b]);
    for (uint32_t t = 0; t < N_TOKENS; t++) {
        for (uint32_t o = 0; o < D_OUT; o++) {
            int32_t sum = 0;
            for (uint32_t i = 0; i < D_IN; i++)
                sum += blocks[(o * D_IN + i) / 32].qs[i % 32] * (int32_t)x[t * D_IN + i];
            want[t * D_OUT + o] = (float)sum;
        }
    }
    for (size_t v = 0; v < variants.n; v++) {
        float *got = matmul_data_run(&data, &variants.table[v], &k, &arena);
        assert_true(same_bits(got, want, N_TOKENS * D_OUT));
    }
    arena_free(&arena);
    kernel_ctx_close(&k);
}

static void columns_behind_the_result_stay_untouched(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    struct matmul_case c = {.dtype = DTYPE_Q4_0, .d_out = 21, .d_in = 64, .n_tokens = 3};
    struct arena arena = {0};
    struct matmul_data data = matmul_case_data(&c, &arena);
    for (size_t v = 0; v < variants.n; v++) {
        enum { STRIDE = 40 };
        float y[3 * STRIDE];
        for (size_t i = 0; i < N(y); i++)
            y[i] = -7.0f;
        struct matrix w = matrix_for(&variants.table[v], &data.w, &arena);
        variants.table[v].matmul(
            &k,
            &(struct matmul_args){
                .y = y, .y_stride = STRIDE, .x = &data.x, .w = &w, .split = &data.split},
            1);
        float *dense = matmul_data_run(&data, &variants.table[v], &k, &arena);
        for (uint32_t t = 0; t < c.n_tokens; t++) {
            assert_true(same_bits(y + t * STRIDE, dense + t * c.d_out, c.d_out));
            for (uint32_t o = c.d_out; o < STRIDE; o++)
                assert_true(y[t * STRIDE + o] == -7.0f);
        }
    }
    arena_free(&arena);
    kernel_ctx_close(&k);
}

/* The last row (or panel) ends at a page that nobody may touch, as it does at the end of a mapped
 * file. */
static void weights_are_not_read_past_their_end(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(1);
    const size_t room = 64 * 4096, page = 4096;
    char *pages =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + room, page, PROT_NONE), 0);
    for (int d = 0; d < DTYPE_N_COMPUTE; d++) {
        for (uint32_t d_out = 15; d_out <= 17; d_out++) {
            struct arena arena = {0};
            struct matmul_case c = {
                .dtype = (enum dtype)d, .d_out = d_out, .d_in = 512, .n_tokens = 1};
            if (!dtype_is_quantised(c.dtype))
                c.d_in = 300;
            struct matmul_data data = matmul_case_data(&c, &arena);
            float *want = matmul_data_run(&data, &variants.table[0], &k, &arena);
            for (size_t v = 0; v < variants.n; v++) {
                struct matmul_data at_end = data;
                at_end.w = matrix_for(&variants.table[v], &data.w, &arena);
                size_t bytes = at_end.w.layout == MATRIX_PANELS
                                   ? panel_count(d_out) * panel_bytes(c.dtype, c.d_in)
                                   : d_out * data.w.row_bytes;
                at_end.w.data = memcpy(pages + room - bytes, at_end.w.data, bytes);
                float *got = matmul_data_run(&at_end, &variants.table[v], &k, &arena);
                assert_true(relative_l2(got, want, d_out) < 0.1);
            }
            arena_free(&arena);
        }
    }
    munmap(pages, room + page);
    kernel_ctx_close(&k);
}

/* A NaN in one token shows in all its results and in no other token's. */
static void a_nan_stays_with_its_token(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(1);
    const enum dtype dtypes[] = {DTYPE_Q5_K, DTYPE_Q3_K, DTYPE_F32};
    for (size_t i = 0; i < N(dtypes); i++) {
        struct matmul_case c = {.dtype = dtypes[i], .d_out = 18, .d_in = 512, .n_tokens = 3};
        struct arena arena = {0};
        struct matmul_data data = matmul_case_data(&c, &arena);
        ((float *)data.x.x)[c.d_in + 300] = NAN;
        for (size_t v = 0; v < variants.n; v++) {
            variants.table[v].activation_quantise(&k, &data.x);
            float *y = matmul_data_run(&data, &variants.table[v], &k, &arena);
            for (uint32_t j = 0; j < c.n_tokens * c.d_out; j++)
                assert_int_equal(isnan(y[j]) != 0, j / c.d_out == 1);
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

/* A few rows and many, floats and blocks, so that the threads' shares end inside products. */
static const struct matmul_case together[] = {
    {.dtype = DTYPE_F32, .d_out = 40, .d_in = 512, .split = SPLIT_WHOLE},
    {.dtype = DTYPE_Q4_K, .d_out = 700, .d_in = 512, .split = SPLIT_WHOLE},
    {.dtype = DTYPE_BF16, .d_out = 1, .d_in = 512, .split = SPLIT_WHOLE},
    {.dtype = DTYPE_IQ2_XXS, .d_out = 33, .d_in = 512, .split = SPLIT_RUNS},
};

static void check_together(const struct kernels *kernels, struct kernel_ctx *k, uint32_t n_tokens) {
    struct arena arena = {0};
    struct matmul_data data[N(together)];
    struct matrix w[N(together)];
    struct matmul_args products[N(together)];
    for (size_t i = 0; i < N(together); i++) {
        struct matmul_case c = together[i];
        c.n_tokens = n_tokens;
        data[i] = matmul_case_data(&c, &arena);
        w[i] = matrix_for(kernels, &data[i].w, &arena);
        products[i] = (struct matmul_args){.y = floats(&arena, (size_t)n_tokens * c.d_out),
                                           .y_stride = c.d_out,
                                           .x = &data[i].x,
                                           .w = &w[i],
                                           .split = &data[i].split};
    }
    kernels->matmul(k, products, N(together));
    for (size_t i = 0; i < N(together); i++) {
        float *alone = matmul_data_run(&data[i], kernels, k, &arena);
        assert_true(same_bits(products[i].y, alone, (size_t)n_tokens * together[i].d_out));
    }
    arena_free(&arena);
}

static void products_together_are_those_alone(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    for (uint32_t n_threads = 1; n_threads <= 5; n_threads += 2) {
        struct kernel_ctx k = kernel_ctx_open(n_threads);
        for (size_t v = 0; v < variants.n; v++) {
            for (uint32_t n_tokens = 1; n_tokens <= 130; n_tokens += 43)
                check_together(&variants.table[v], &k, n_tokens);
        }
        kernel_ctx_close(&k);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_sums_are_those_of_the_header),
        cmocka_unit_test(fast_is_near_the_reference),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(other_tokens_do_not_show),
        cmocka_unit_test(extreme_weights_do_not_saturate),
        cmocka_unit_test(small_integers_are_exact_in_every_variant),
        cmocka_unit_test(columns_behind_the_result_stay_untouched),
        cmocka_unit_test(weights_are_not_read_past_their_end),
        cmocka_unit_test(a_nan_stays_with_its_token),
        cmocka_unit_test(products_together_are_those_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
