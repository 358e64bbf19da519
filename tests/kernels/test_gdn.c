/* SPDX-License-Identifier: Apache-2.0 */
/* The delta net: values from PyTorch, the references over 256 tokens, equal bits in any cut. */
#include "kernels/gdn/gdn.h"

#include "tests/kernels/check_gdn.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#define N_OF(array) (sizeof(array) / sizeof(array)[0])

static void assert_near(const float *got, const float *want, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        assert_true(fabs((double)got[i] - want[i]) <= tolerance);
}

/* One key head, two value heads, d 16: 64 channels, three tokens. All wanted values of this file
 * are computed with PyTorch 2.15 in float64 from the formulas of gdn.h. */
static void convolution_has_the_values_of_pytorch(void **state) {
    (void)state;
    static const float first_token[] = {0.496847418f,  1.68560091f,   1.22084846f,   -0.242417294f,
                                        -0.136290191f, -0.102624123f, -0.247994915f, 0.061509896f,
                                        0.589470647f,  0.115266004f,  -0.167671439f, 0.0748879159f,
                                        1.37880139f,   2.53685791f,   2.03861438f,   0.348420161f};
    static const float third_token_end[] = {
        -0.224066093f, 0.466506997f,  0.714844282f,  0.33512505f,    0.235481898f,  0.740990105f,
        1.47800553f,   1.42677865f,   0.555260563f,  -0.0655880405f, -0.182415294f, -0.144818889f,
        -0.154295267f, -0.245372847f, -0.275672841f, -0.265772068f};
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float *u = wave_floats(&arena, 3 * 64, 0.41, 0.3), *out = floats(&arena, 3 * 64);
    for (size_t n = 0; n < v.n; n++) {
        struct gdn_rows rows = {.conv = wave_floats(&arena, 3 * 64, 0.29, 0.5), .n_rows = 3};
        struct gdn_conv_args a = {.out = out,
                                  .u = u,
                                  .w = wave_floats(&arena, 64 * 4, 0.19, 0.8),
                                  .rows = &rows,
                                  .n_rows_entries = 1,
                                  .conv_dim = 64};
        v.table[n].gdn_conv(&k, &a);
        assert_near(out, first_token, 16, 3e-6);
        assert_near(out + 2 * 64 + 48, third_token_end, 16, 3e-6);
        assert_true(same_bits(rows.conv, u, 3 * 64));
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void step_has_the_values_of_pytorch(void **state) {
    (void)state;
    static const float third_token[] = {
        -0.126427877f,  -0.100810025f,    -0.0532388294f, 0.0059188809f,  0.0637829177f,
        0.107753801f,   0.128245993f,     0.120767517f,   0.0868948634f,  0.0339319205f,
        -0.0266733027f, -0.0818106684f,   -0.119550475f,  -0.131730103f,  -0.11572384f,
        -0.0750120111f, -5.75369391e-05f, 0.0556416594f,  0.099046138f,   0.120739326f,
        0.116016968f,   0.0859072735f,    0.0369478813f,  -0.0202320657f, -0.0732171659f,
        -0.11049848f,   -0.1239697f,      -0.110685476f,  -0.0735005614f, -0.0204511478f,
        0.0369873998f,  0.0863886537f};
    static const float second_head_row_3[] = {
        0.175567228f,  0.0930174374f,  0.00532801932f, -0.0694384123f, -0.116259388f, -0.126390246f,
        -0.099236781f, -0.0424570276f, 0.0297293123f,  0.0996568051f,  0.150079184f,  0.167944586f,
        0.147261732f,  0.0904349422f,  0.00777787236f, -0.0846892548f};
    static const float a_coef[] = {-0.5f, -1.25f}, dt_bias[] = {0.25f, -0.75f};
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float *gate_a = wave_floats(&arena, 6, 0.9, 0.1), *o = floats(&arena, 3 * 32);
    for (size_t i = 0; i < 6; i++)
        gate_a[i] *= 2;
    for (size_t n = 0; n < v.n; n++) {
        float *s = wave_floats(&arena, 2 * 16 * 16, 0.13, 0);
        struct gdn_rows rows = {.state = s, .n_rows = 3};
        struct gdn_step_args a = {.o = o,
                                  .c = wave_floats(&arena, 3 * 64, 0.47, 0.2),
                                  .a = gate_a,
                                  .b = wave_floats(&arena, 6, 0.8, 0.7),
                                  .gate_token_stride = 2,
                                  .gate_group = 2,
                                  .gate_group_stride = 2,
                                  .a_coef = a_coef,
                                  .dt_bias = dt_bias,
                                  .rows = &rows,
                                  .n_rows_entries = 1,
                                  .n_k_heads = 1,
                                  .n_v_heads = 2,
                                  .d_k = 16,
                                  .d_v = 16,
                                  .order = GDN_HEADS_TILED};
        v.table[n].gdn_step(&k, &a);
        assert_near(o + 2 * 32, third_token, 32, 1e-6);
        assert_near(s + 16 * 16 + 3 * 16, second_head_row_3, 16, 1e-6);
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void gate_has_the_values_of_pytorch(void **state) {
    (void)state;
    static const float want[] = {0.136441002f,  2.85484418f,   2.51289656f,      -0.335499663f,
                                 -0.085546001f, 0.0544175329f, -0.959102451f,    -2.69095573f,
                                 -0.652889071f, 0.065662696f,  -0.000500885822f, 0.0118877258f,
                                 -0.685783146f, -1.62068569f,  -0.108616128f,    0.0253517691f};
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float *z = wave_floats(&arena, 16, 1.1, 0.2), out[16];
    for (size_t i = 0; i < 16; i++)
        z[i] *= 3;
    struct gdn_gate_args a = {.out = out,
                              .o = wave_floats(&arena, 16, 0.6, 0.3),
                              .z = z,
                              .w = wave_floats(&arena, 16, 0.2, 1.0),
                              .n_tokens = 1,
                              .n_heads = 1,
                              .d = 16,
                              .eps = 1e-6f};
    for (size_t n = 0; n < v.n; n++) {
        v.table[n].gdn_gate(&k, &a);
        assert_near(out, want, 16, 3e-6);
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void variants_agree_with_the_reference_over_256_tokens(void **state) {
    (void)state;
    static const struct gdn_case cases[] = {
        {1, 1, 16, 16, GDN_HEADS_TILED, 1, 256, 1, 0},
        {2, 4, 128, 128, GDN_HEADS_TILED, 1, 256, 1, 0},
        {2, 6, 32, 48, GDN_HEADS_GROUPED, 3, 256, 1, 1},
        {3, 3, 64, 32, GDN_HEADS_TILED, 2, 40, 30, 1},
        {1, 2, 48, 176, GDN_HEADS_TILED, 1, 40, 1, 1},
        {1, 2, 32, 64, GDN_HEADS_GROUPED, 1, 40, 1e-6f, 1},
        {1, 2, 32, 32, GDN_HEADS_TILED, 1, 20, 0, 1},
        {1, 2, 32, 32, GDN_HEADS_TILED, 1, 20, 1e-30f, 0},
    };
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct arena arena = {0};
        struct gdn_result want = gdn_case_run(&cases[i], &v.table[0], &k, 256, &arena);
        for (size_t n = 1; n < v.n; n++) {
            struct gdn_result got = gdn_case_run(&cases[i], &v.table[n], &k, 256, &arena);
            /* Terms of the inputs' size may cancel; the error is relative to them. */
            double terms = (double)cases[i].size + (double)cases[i].state_size + 1e-37;
            assert_true(worst_relative(got.conv_out, want.conv_out, want.n_conv_out, terms) <=
                        2e-6);
            assert_true(relative_l2(got.step_out, want.step_out, want.n_step_out) <= 1e-5);
            assert_true(relative_l2(got.state, want.state, want.n_state) <= 1e-5);
            assert_true(same_bits(got.conv_state, want.conv_state, want.n_conv_state));
        }
        arena_free(&arena);
    }
    kernel_ctx_close(&k);
}

static void bits_do_not_depend_on_variant_threads_or_chunks(void **state) {
    (void)state;
    static const struct gdn_case cases[] = {
        {2, 4, 32, 48, GDN_HEADS_TILED, 3, 100, 1, 0.1f},
        {1, 3, 128, 128, GDN_HEADS_GROUPED, 1, 70, 1, 0.1f},
        {1, 2, 16, 80, GDN_HEADS_TILED, 1, 70, 1, 0.1f},
    };
    static const uint32_t chunks[] = {1, 2, 3, 7, 32, 33, 64, 100};
    struct variants v;
    variants_init(&v);
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct arena arena = {0};
        struct gdn_result first = {0};
        for (size_t n = 1; n < v.n; n++) {
            for (size_t run = 0; run < N_OF(chunks); run++) {
                struct arena scratch = {0};
                struct kernel_ctx k = kernel_ctx_open((uint32_t)(run % 5) + 1);
                bool is_first = first.state == NULL;
                struct gdn_result got = gdn_case_run(&cases[i], &v.table[n], &k, chunks[run],
                                                     is_first ? &arena : &scratch);
                if (is_first)
                    first = got;
                assert_true(gdn_results_same(&got, &first));
                kernel_ctx_close(&k);
                arena_free(&scratch);
            }
        }
        arena_free(&arena);
    }
}

/* A sequence alone and beside two others of the same step. */
static void bits_do_not_depend_on_the_other_sequences(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    struct gdn_case three = {2, 2, 32, 32, GDN_HEADS_TILED, 3, 50, 1, 0.1f}, one = three;
    one.n_sequences = 1;
    for (size_t n = 0; n < v.n; n++) {
        struct gdn_result beside = gdn_case_run(&three, &v.table[n], &k, 9, &arena);
        struct gdn_result alone = gdn_case_run(&one, &v.table[n], &k, 50, &arena);
        assert_true(same_bits(beside.step_out, alone.step_out, alone.n_step_out));
        assert_true(same_bits(beside.state, alone.state, alone.n_state));
        assert_true(same_bits(beside.conv_state, alone.conv_state, alone.n_conv_state));
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

/* Two key heads, six value heads. Grouped head n = i*3 + j is tiled head j*2 + i. */
static void tiled_and_grouped_heads_are_a_permutation_of_each_other(void **state) {
    (void)state;
    enum { K = 2, N = 6, D = 16, R = N / K, CONV = 2 * K * D + N * D };
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float *c[2], *gates[2], *coef[2], *s[2], *o[2];
    c[0] = random_floats(&arena, CONV, 1, 1);
    gates[0] = random_floats(&arena, (size_t)2 * N, 2, 1);
    coef[0] = random_floats(&arena, (size_t)2 * N, 3, 1);
    for (int i = 0; i < 2; i++) {
        c[1] = floats(&arena, CONV);
        gates[1] = floats(&arena, (size_t)2 * N);
        coef[1] = floats(&arena, (size_t)2 * N);
        o[i] = floats(&arena, (size_t)N * D);
    }
    memcpy(c[1], c[0], (size_t)2 * K * D * sizeof(float));
    for (size_t p = 0; p < N; p++) {
        size_t n = p % K * R + p / K;
        memcpy(c[1] + 2 * K * D + n * D, c[0] + 2 * K * D + p * D, D * sizeof(float));
        for (size_t half = 0; half < 2 * N; half += N) {
            gates[1][half + n] = gates[0][half + p];
            coef[1][half + n] = coef[0][half + p];
        }
    }
    for (size_t variant = 0; variant < v.n; variant++) {
        for (int i = 0; i < 2; i++) {
            s[i] = floats(&arena, (size_t)N * D * D);
            struct gdn_rows rows = {.state = s[i], .n_rows = 1};
            struct gdn_step_args a = {.o = o[i],
                                      .c = c[i],
                                      .a = gates[i],
                                      .b = gates[i] + N,
                                      .gate_token_stride = 2 * N,
                                      .gate_group = N,
                                      .gate_group_stride = N,
                                      .a_coef = coef[i],
                                      .dt_bias = coef[i] + N,
                                      .rows = &rows,
                                      .n_rows_entries = 1,
                                      .n_k_heads = K,
                                      .n_v_heads = N,
                                      .d_k = D,
                                      .d_v = D,
                                      .order = i == 0 ? GDN_HEADS_TILED : GDN_HEADS_GROUPED};
            v.table[variant].gdn_step(&k, &a);
        }
        for (size_t p = 0; p < N; p++) {
            size_t n = p % K * R + p / K;
            assert_true(same_bits(o[0] + p * D, o[1] + n * D, D));
            assert_true(same_bits(s[0] + p * D * D, s[1] + n * D * D, (size_t)D * D));
        }
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

/* The fused projection of qwen3next: for each key head its r values of b, then its r of a. */
static void gates_may_be_interleaved_by_key_head(void **state) {
    (void)state;
    enum { K = 2, N = 4, D = 16, R = N / K, CONV = 2 * K * D + N * D };
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float *coef = random_floats(&arena, (size_t)2 * N, 3, 1);
    float *plain = random_floats(&arena, (size_t)2 * N, 4, 1), fused[2 * N];
    float *o[2] = {floats(&arena, (size_t)N * D), floats(&arena, (size_t)N * D)};
    for (size_t n = 0; n < N; n++) {
        fused[n / R * 2 * R + n % R] = plain[N + n];
        fused[n / R * 2 * R + R + n % R] = plain[n];
    }
    for (size_t variant = 0; variant < v.n; variant++) {
        struct gdn_rows rows = {.state = floats(&arena, (size_t)N * D * D), .n_rows = 1};
        struct gdn_step_args a = {.o = o[0],
                                  .c = random_floats(&arena, CONV, 1, 1),
                                  .a = plain,
                                  .b = plain + N,
                                  .gate_token_stride = 2 * N,
                                  .gate_group = N,
                                  .gate_group_stride = 0,
                                  .a_coef = coef,
                                  .dt_bias = coef + N,
                                  .rows = &rows,
                                  .n_rows_entries = 1,
                                  .n_k_heads = K,
                                  .n_v_heads = N,
                                  .d_k = D,
                                  .d_v = D,
                                  .order = GDN_HEADS_GROUPED};
        v.table[variant].gdn_step(&k, &a);
        rows.state = floats(&arena, (size_t)N * D * D);
        a.o = o[1];
        a.b = fused;
        a.a = fused + R;
        a.gate_group = R;
        a.gate_group_stride = 2 * R;
        v.table[variant].gdn_step(&k, &a);
        assert_true(same_bits(o[0], o[1], (size_t)N * D));
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

/* Gates far out: everything is forgotten, or nothing is, and nothing overflows. */
static void extreme_gates_forget_all_or_nothing(void **state) {
    (void)state;
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    static const float a_coef[] = {-1, -1}, dt_bias[] = {0, 0}, b[] = {-500, -500};
    static const float gate_a[] = {1e30f, -1e30f};
    float *c = random_floats(&arena, 4 * 16, 1, 1), *o = floats(&arena, 32);
    for (size_t n = 0; n < v.n; n++) {
        float *s = random_floats(&arena, 2 * 256, 2, 1), *before = floats(&arena, 2 * 256);
        memcpy(before, s, 2 * 256 * sizeof *s);
        struct gdn_rows rows = {.state = s, .n_rows = 1};
        struct gdn_step_args a = {.o = o,
                                  .c = c,
                                  .a = gate_a,
                                  .b = b,
                                  .gate_token_stride = 2,
                                  .gate_group = 2,
                                  .gate_group_stride = 2,
                                  .a_coef = a_coef,
                                  .dt_bias = dt_bias,
                                  .rows = &rows,
                                  .n_rows_entries = 1,
                                  .n_k_heads = 1,
                                  .n_v_heads = 2,
                                  .d_k = 16,
                                  .d_v = 16};
        v.table[n].gdn_step(&k, &a);
        for (size_t i = 0; i < 256; i++)
            assert_true(s[i] == 0);
        assert_near(s + 256, before + 256, 256, 1e-30);
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

/* Two sequences of 70 and 3 tokens, through the three operations and through gdn_mix; the numbers
 * of threads make it take key heads whole, or fall back. */
static void mix_has_the_bits_of_its_operations(void **state) {
    (void)state;
    static const struct gdn_case shapes[] = {
        {2, 4, 128, 128, GDN_HEADS_TILED, 0, 0, 0, 0},
        {4, 8, 16, 96, GDN_HEADS_GROUPED, 0, 0, 0, 0},
        {2, 2, 16, 16, GDN_HEADS_TILED, 0, 0, 0, 0},
    };
    enum { N = 73, FIRST = 70 };
    struct variants v;
    variants_init(&v);
    for (size_t i = 0; i < N_OF(shapes) * v.n; i++) {
        const struct gdn_case *c = &shapes[i / v.n];
        const struct kernels *kernels = &v.table[i % v.n];
        size_t conv_dim = gdn_case_conv_dim(c), d_o = (size_t)c->n_v_heads * c->d_v;
        size_t n_state = d_o * c->d_k;
        struct arena arena = {0};
        float *conv_state[4], *states[4], *out[4];
        struct act_block *blocks[4];
        for (uint32_t n_threads = 0; n_threads < 4; n_threads++) {
            struct kernel_ctx k = kernel_ctx_open(n_threads ? n_threads : 1);
            conv_state[n_threads] = random_floats(&arena, 2 * 3 * conv_dim, 1, 1);
            states[n_threads] = random_floats(&arena, 2 * n_state, 2, 1);
            out[n_threads] = floats(&arena, N * d_o);
            blocks[n_threads] = arena_array(&arena, N * d_o / ACT_BLOCK, sizeof *blocks[0]);
            struct gdn_rows rows[] = {
                {.conv = conv_state[n_threads], .state = states[n_threads], .n_rows = FIRST},
                {.conv = conv_state[n_threads] + 3 * conv_dim,
                 .state = states[n_threads] + n_state,
                 .row_begin = FIRST,
                 .n_rows = N - FIRST}};
            float *gates = random_floats(&arena, (size_t)N * 2 * c->n_v_heads, 3, 3);
            struct gdn_mix_args a = {.conv = {.out = floats(&arena, N * conv_dim),
                                              .u = random_floats(&arena, N * conv_dim, 4, 1),
                                              .w = random_floats(&arena, conv_dim * 4, 5, 1),
                                              .rows = rows,
                                              .n_rows_entries = 2,
                                              .conv_dim = (uint32_t)conv_dim},
                                     .step = {.o = out[n_threads],
                                              .a = gates,
                                              .b = gates + c->n_v_heads,
                                              .gate_token_stride = (uint64_t)2 * c->n_v_heads,
                                              .gate_group = c->n_v_heads,
                                              .a_coef = wave_floats(&arena, c->n_v_heads, 0.1, -3),
                                              .dt_bias = wave_floats(&arena, c->n_v_heads, 1, 1),
                                              .rows = rows,
                                              .n_rows_entries = 2,
                                              .n_k_heads = c->n_k_heads,
                                              .n_v_heads = c->n_v_heads,
                                              .d_k = c->d_k,
                                              .d_v = c->d_v,
                                              .order = c->order},
                                     .gate = {.out = out[n_threads],
                                              .o = out[n_threads],
                                              .z = random_floats(&arena, N * d_o, 6, 4),
                                              .w = random_floats(&arena, c->d_v, 7, 1),
                                              .n_tokens = N,
                                              .n_heads = c->n_v_heads,
                                              .d = c->d_v,
                                              .eps = 1e-6f},
                                     .blocks = blocks[n_threads]};
            a.step.c = a.conv.out;
            if (n_threads > 0) {
                kernels->gdn_mix(&k, &a);
            } else {
                struct activation quantised = {
                    .x = out[0], .blocks = blocks[0], .n_tokens = N, .d = (uint32_t)d_o};
                kernels->gdn_conv(&k, &a.conv);
                kernels->gdn_step(&k, &a.step);
                kernels->gdn_gate(&k, &a.gate);
                kernels->activation_quantise(&k, &quantised);
            }
            kernel_ctx_close(&k);
            assert_true(same_bits(out[n_threads], out[0], N * d_o));
            assert_true(same_bits(states[n_threads], states[0], 2 * n_state));
            assert_true(same_bits(conv_state[n_threads], conv_state[0], 6 * conv_dim));
            assert_memory_equal(blocks[n_threads], blocks[0],
                                N * d_o / ACT_BLOCK * sizeof *blocks[0]);
        }
        arena_free(&arena);
    }
}

/* A state of ones shows the decay where the key is zero, a state of zeros shows beta times the key
 * where v is one. Both against libm in double, over the range of gates that is not yet 0 or 1. */
static void decay_and_beta_agree_with_libm(void **state) {
    (void)state;
    enum { TOKENS = 1601, D = 16, CONV = 3 * D };
    static const float a_coefs[] = {-0.01f, -0.7f, -16};
    struct arena arena = {0};
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(1);
    float c[CONV] = {0}, o[D];
    for (int i = 0; i < D; i++)
        c[2 * D + i] = 1;
    const float dt_bias = 0.25f;
    for (size_t n = 1; n < v.n; n++) {
        for (int i = 0; i < TOKENS; i++) {
            const float gate = -40 + 0.05f * (float)i, a_coef = a_coefs[i % 3];
            struct gdn_rows rows = {.state = floats(&arena, D * D), .n_rows = 1};
            struct gdn_step_args a = {.o = o,
                                      .c = c,
                                      .a = &gate,
                                      .b = &gate,
                                      .gate_token_stride = 1,
                                      .gate_group = 1,
                                      .a_coef = &a_coef,
                                      .dt_bias = &dt_bias,
                                      .rows = &rows,
                                      .n_rows_entries = 1,
                                      .n_k_heads = 1,
                                      .n_v_heads = 1,
                                      .d_k = D,
                                      .d_v = D};
            double exponent = a_coef * log1p(exp((double)gate + dt_bias));
            rows.state[0] = 1;
            c[D] = 0;
            v.table[n].gdn_step(&k, &a);
            double error = fabs(rows.state[0] - exp(exponent));
            assert_true(error <= (5e-7 * -exponent + 1e-7) * exp(exponent) + 1e-36);
            rows.state[0] = 0;
            c[D] = 1; /* the norm's 1e-6 makes it 1 - 5e-7 */
            v.table[n].gdn_step(&k, &a);
            double beta = 1 / (1 + exp(-(double)gate)) / sqrt(1 + 1e-6);
            assert_true(fabs(rows.state[0] / beta - 1) <= 5e-7);
        }
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

static void gate_agrees_with_the_reference_and_keeps_its_bits(void **state) {
    (void)state;
    static const float sizes[] = {0, 1e-30f, 1, 50};
    const uint32_t n_tokens = 21, n_heads = 5, d = 128;
    const size_t n_floats = (size_t)n_tokens * n_heads * d;
    struct variants v;
    variants_init(&v);
    for (size_t i = 0; i < N_OF(sizes); i++) {
        struct arena arena = {0};
        struct gdn_gate_args a = {.out = floats(&arena, n_floats),
                                  .o = random_floats(&arena, n_floats, 1, sizes[i]),
                                  .z = random_floats(&arena, n_floats, 2, 20),
                                  .w = random_floats(&arena, d, 3, 2),
                                  .n_tokens = n_tokens,
                                  .n_heads = n_heads,
                                  .d = d,
                                  .eps = 1e-6f};
        float *want = a.out, *first = NULL;
        struct kernel_ctx k1 = kernel_ctx_open(1);
        gdn_gate_ref(&k1, &a);
        kernel_ctx_close(&k1);
        for (size_t n = 1; n < v.n; n++) {
            for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
                struct kernel_ctx k = kernel_ctx_open(n_threads);
                a.out = floats(&arena, n_floats);
                v.table[n].gdn_gate(&k, &a);
                if (!first)
                    first = a.out;
                assert_true(same_bits(a.out, first, n_floats));
                assert_true(worst_relative(a.out, want, n_floats, 1e-35) <= 4e-6);
                kernel_ctx_close(&k);
            }
        }
        arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_has_the_values_of_pytorch),
        cmocka_unit_test(step_has_the_values_of_pytorch),
        cmocka_unit_test(gate_has_the_values_of_pytorch),
        cmocka_unit_test(variants_agree_with_the_reference_over_256_tokens),
        cmocka_unit_test(bits_do_not_depend_on_variant_threads_or_chunks),
        cmocka_unit_test(bits_do_not_depend_on_the_other_sequences),
        cmocka_unit_test(tiled_and_grouped_heads_are_a_permutation_of_each_other),
        cmocka_unit_test(gates_may_be_interleaved_by_key_head),
        cmocka_unit_test(extreme_gates_forget_all_or_nothing),
        cmocka_unit_test(mix_has_the_bits_of_its_operations),
        cmocka_unit_test(decay_and_beta_agree_with_libm),
        cmocka_unit_test(gate_agrees_with_the_reference_and_keeps_its_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
