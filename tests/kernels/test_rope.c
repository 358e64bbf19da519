/* SPDX-License-Identifier: Apache-2.0 */
/* Head norm and rotation: values from PyTorch, the reference at model shapes, equal bits. */
#include "kernels/rope/rope.h"

#include "tests/kernels/support_kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>

/* cos and sin of pos * theta^(-2i/n_rot) for consecutive positions. */
static float *angles(struct arena *arena, uint32_t n_tokens, uint32_t pos, uint32_t n_rot,
                     double theta) {
    float *out = floats(arena, (size_t)n_tokens * n_rot);
    for (uint32_t t = 0; t < n_tokens; t++) {
        for (uint32_t i = 0; i < n_rot / 2; i++) {
            double angle = (pos + t) * pow(theta, -2.0 * i / n_rot);
            out[(size_t)t * n_rot + 2 * i] = (float)cos(angle);
            out[(size_t)t * n_rot + 2 * i + 1] = (float)sin(angle);
        }
    }
    return out;
}

/* The largest error of a head's element, relative to the head's largest element. */
static double worst_of_heads(const float *got, const float *want, size_t n_heads, size_t d_head) {
    double worst = 0;
    for (size_t h = 0; h < n_heads; h++) {
        double largest = 1e-37;
        for (size_t i = 0; i < d_head; i++)
            largest = fmax(largest, fabs((double)want[h * d_head + i]));
        worst = fmax(worst, worst_relative(got + h * d_head, want + h * d_head, d_head, largest));
    }
    return worst;
}

/* One head of 64, 32 of it rotated by position 5 with theta 1e4. Computed with PyTorch 2.15 in
 * float64 from the formulas of rope.h. */
static void values_are_those_of_pytorch(void **state) {
    (void)state;
    static const uint32_t at[] = {0, 1, 7, 15, 16, 17, 23, 31, 32, 63};
    static const float want[] = {-0.85044194f,  -1.37638641f, -1.23569663f, -0.882509617f,
                                 -0.6710791f,   1.0869435f,   -1.30748503f, 0.0791471589f,
                                 -0.439031457f, 0.63835983f};
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float *x = wave_floats(&arena, 64, 0.7, 0.2), *w = wave_floats(&arena, 64, 0.3, 1.0);
    float *out = floats(&arena, 64);
    for (size_t i = 0; i < 64; i++) {
        x[i] *= 3;
        w[i] = 1 + 0.5f * w[i];
    }
    struct rope_args a = {.out = out,
                          .x = x,
                          .w = w,
                          .n_tokens = 1,
                          .n_heads = 1,
                          .d_head = 64,
                          .n_rot = 32,
                          .eps = 1e-6f,
                          .token_stride = 64,
                          .head_stride = 64};
    a.cos_sin = angles(&arena, 1, 5, 32, 1e4);
    for (size_t n = 0; n < v.n; n++) {
        v.table[n].rope(&k, &a);
        for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
            assert_true(fabsf(out[at[i]] - want[i]) <= 3e-6f);
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void variants_agree_with_the_reference_on_packed_projections(void **state) {
    (void)state;
    static const uint32_t shapes[][3] = {
        /* n_heads, d_head, n_rot */
        {1, 32, 32}, {3, 64, 32}, {8, 128, 128}, {16, 256, 64}, {2, 96, 64},
    };
    static const float sizes[] = {0, 1e-30f, 1, 1e15f};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] * 4; i++) {
        struct arena arena = {0};
        uint32_t n_tokens = 9, n_heads = shapes[i / 4][0], d = shapes[i / 4][1];
        size_t n_floats = (size_t)n_tokens * n_heads * d;
        float *want = floats(&arena, n_floats), *got = floats(&arena, n_floats);
        /* Query and gate of a head side by side, and something behind each token. */
        uint64_t token_stride = (uint64_t)n_heads * 2 * d + 48;
        struct rope_args a = {.out = want,
                              .x = random_floats(&arena, n_tokens * token_stride, i, sizes[i % 4]),
                              .token_stride = token_stride,
                              .head_stride = (uint64_t)2 * d,
                              .w = random_floats(&arena, d, 99, 1.5f),
                              .cos_sin = angles(&arena, n_tokens, 70000, shapes[i / 4][2], 1e7),
                              .n_tokens = n_tokens,
                              .n_heads = n_heads,
                              .d_head = d,
                              .n_rot = shapes[i / 4][2],
                              .eps = 1e-6f};
        rope_ref(&k, &a);
        a.out = got;
        for (size_t n = 1; n < v.n; n++) {
            v.table[n].rope(&k, &a);
            assert_true(worst_of_heads(got, want, (size_t)n_tokens * n_heads, d) <= 2e-6);
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

static void bits_do_not_depend_on_variant_threads_or_batch(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    const uint32_t n_tokens = 23, n_heads = 4, d = 256, n_rot = 64;
    size_t row = (size_t)n_heads * d;
    float *x = random_floats(&arena, n_tokens * row, 1, 1), *w = random_floats(&arena, d, 2, 1);
    float *cos_sin = angles(&arena, n_tokens, 11, n_rot, 1e7), *first = NULL;
    for (size_t n = 1; n < v.n; n++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct kernel_ctx k = kernel_ctx_open(n_threads);
            float *out = floats(&arena, n_tokens * row);
            struct rope_args a = {.out = out,
                                  .x = x,
                                  .token_stride = row,
                                  .head_stride = d,
                                  .w = w,
                                  .cos_sin = cos_sin,
                                  .n_tokens = n_tokens,
                                  .n_heads = n_heads,
                                  .d_head = d,
                                  .n_rot = n_rot,
                                  .eps = 1e-6f};
            v.table[n].rope(&k, &a);
            if (!first)
                first = out;
            assert_true(same_bits(out, first, n_tokens * row));
            a.n_tokens = 1;
            for (size_t t = 0; t < n_tokens; t++) {
                a.x = x + t * row;
                a.out = out + t * row;
                a.cos_sin = cos_sin + t * n_rot;
                v.table[n].rope(&k, &a);
            }
            assert_true(same_bits(out, first, n_tokens * row));
            kernel_ctx_close(&k);
        }
    }
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_pytorch),
        cmocka_unit_test(variants_agree_with_the_reference_on_packed_projections),
        cmocka_unit_test(bits_do_not_depend_on_variant_threads_or_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
