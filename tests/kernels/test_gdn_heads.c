/* SPDX-License-Identifier: Apache-2.0 */
/* The delta net of a rank that holds some key heads with their value heads, in the order of the
 * whole: everything that comes out is what the whole has at those heads, bit for bit. */
#include "kernels/gdn/gdn.h"

#include "tests/kernels/support_kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#define N_OF(array) (sizeof(array) / sizeof(array)[0])

/* Two sequences, of which the first reaches over a block of tokens. */
enum { N_TOKENS = 43, FIRST = 40, N_SEQUENCES = 2, HEADS_MAX = 12 };

struct shape {
    uint32_t n_k_heads, n_v_heads, d_k, d_v;
    enum gdn_head_order order;
};

static const struct shape shapes[] = {
    {6, 12, 16, 32, GDN_HEADS_TILED},
    {4, 4, 32, 64, GDN_HEADS_TILED},
    {3, 9, 32, 96, GDN_HEADS_GROUPED},
};

static uint32_t conv_dim_of(const struct shape *s) {
    return 2 * s->n_k_heads * s->d_k + s->n_v_heads * s->d_v;
}

/* What goes in and comes out. Rows of `gates` are a of all value heads, then b. */
struct arrays {
    float *u, *w, *gates, *coef, *z, *norm; /* coef: a_coef, then dt_bias */
    float *conv_state, *state, *conv_out, *step_out, *out;
    struct act_block *blocks;
};

static struct arrays arrays_make(const struct shape *s, struct arena *arena) {
    size_t conv_dim = conv_dim_of(s), d_o = (size_t)s->n_v_heads * s->d_v;
    struct arrays a = {
        .u = random_floats(arena, N_TOKENS * conv_dim + 1, 1, 1),
        .w = random_floats(arena, conv_dim * GDN_CONV_TAPS + 1, 2, 1),
        .gates = random_floats(arena, (size_t)N_TOKENS * 2 * s->n_v_heads + 1, 3, 3),
        .coef = random_floats(arena, (size_t)2 * s->n_v_heads + 1, 4, 1),
        .z = random_floats(arena, N_TOKENS * d_o + 1, 5, 1),
        .norm = random_floats(arena, s->d_v, 6, 1),
        .conv_state = random_floats(arena, N_SEQUENCES * 3 * conv_dim + 1, 7, 1),
        .state = random_floats(arena, N_SEQUENCES * d_o * s->d_k + 1, 8, 0.1f),
        .conv_out = floats(arena, N_TOKENS * conv_dim + 1),
        .step_out = floats(arena, N_TOKENS * d_o + 1),
        .out = floats(arena, N_TOKENS * d_o + 1),
        .blocks = arena_array(arena, N_TOKENS * d_o / ACT_BLOCK + 1, sizeof *a.blocks),
    };
    assert_non_null(a.blocks);
    for (uint32_t n = 0; n < s->n_v_heads; n++)
        a.coef[n] = -0.02f - 0.25f * (a.coef[n] + 1);
    return a;
}

/* Value heads of the key heads begin .. end - 1, in the order of the whole. */
static uint32_t own_heads(const struct shape *s, uint32_t begin, uint32_t end, uint32_t *heads) {
    uint32_t n = 0;
    for (uint32_t head = 0; head < s->n_v_heads; head++) {
        uint32_t key_head = s->order == GDN_HEADS_TILED ? head % s->n_k_heads
                                                        : head / (s->n_v_heads / s->n_k_heads);
        if (key_head >= begin && key_head < end)
            heads[n++] = head;
    }
    return n;
}

/* A rank's heads, and where their elements lie in rows of the whole. */
struct share {
    struct shape all, own;
    uint32_t key_begin;
    uint32_t heads[HEADS_MAX]; /* [own.n_v_heads] of all */
};

static struct share share_make(const struct shape *all, uint32_t begin, uint32_t end) {
    struct share s = {.all = *all, .own = *all, .key_begin = begin};
    s.own.n_k_heads = end - begin;
    s.own.n_v_heads = own_heads(all, begin, end, s.heads);
    return s;
}

/* n_rows rows of `each` elements per value head. */
static void take_heads(const struct share *s, float *own, const float *all, size_t n_rows,
                       size_t each) {
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t h = 0; h < s->own.n_v_heads; h++)
            memcpy(own + (r * s->own.n_v_heads + h) * each,
                   all + (r * s->all.n_v_heads + s->heads[h]) * each, each * sizeof *own);
    }
}

/* n_rows rows of `each` elements per channel of the convolution. */
static void take_channels(const struct share *s, float *own, const float *all, size_t n_rows,
                          size_t each) {
    size_t n_own = conv_dim_of(&s->own) * each, n_all = conv_dim_of(&s->all) * each;
    size_t d_k = s->all.d_k * each, d_v = s->all.d_v * each;
    size_t n_k_own = s->own.n_k_heads * d_k, n_k_all = s->all.n_k_heads * d_k;
    for (size_t r = 0; r < n_rows; r++, own += n_own, all += n_all) {
        for (size_t which = 0; which < 2; which++) /* q, k */
            memcpy(own + which * n_k_own, all + which * n_k_all + s->key_begin * d_k,
                   n_k_own * sizeof *own);
        take_heads(s, own + 2 * n_k_own, all + 2 * n_k_all, 1, d_v);
    }
}

static void take_inputs(const struct share *s, struct arrays *own, const struct arrays *all) {
    take_channels(s, own->u, all->u, N_TOKENS, 1);
    take_channels(s, own->w, all->w, 1, GDN_CONV_TAPS);
    take_channels(s, own->conv_state, all->conv_state, (size_t)3 * N_SEQUENCES, 1);
    take_heads(s, own->gates, all->gates, (size_t)2 * N_TOKENS, 1);
    take_heads(s, own->coef, all->coef, 2, 1);
    take_heads(s, own->z, all->z, N_TOKENS, s->all.d_v);
    take_heads(s, own->state, all->state, N_SEQUENCES, (size_t)s->all.d_k * s->all.d_v);
}

static void mix(const struct kernels *kernels, struct kernel_ctx *k, const struct shape *s,
                struct arrays *x) {
    size_t conv_dim = conv_dim_of(s), n_state = (size_t)s->n_v_heads * s->d_k * s->d_v;
    const struct gdn_rows rows[] = {{.conv = x->conv_state, .state = x->state, .n_rows = FIRST},
                                    {.conv = x->conv_state + 3 * conv_dim,
                                     .state = x->state + n_state,
                                     .row_begin = FIRST,
                                     .n_rows = N_TOKENS - FIRST}};
    const struct gdn_mix_args a = {.conv = {.out = x->conv_out,
                                            .u = x->u,
                                            .w = x->w,
                                            .rows = rows,
                                            .n_rows_entries = N_SEQUENCES,
                                            .conv_dim = (uint32_t)conv_dim},
                                   .step = {.o = x->step_out,
                                            .c = x->conv_out,
                                            .a = x->gates,
                                            .b = x->gates + s->n_v_heads,
                                            .gate_token_stride = (uint64_t)2 * s->n_v_heads,
                                            .gate_group = s->n_v_heads,
                                            .gate_group_stride = s->n_v_heads,
                                            .a_coef = x->coef,
                                            .dt_bias = x->coef + s->n_v_heads,
                                            .rows = rows,
                                            .n_rows_entries = N_SEQUENCES,
                                            .n_k_heads = s->n_k_heads,
                                            .n_v_heads = s->n_v_heads,
                                            .d_k = s->d_k,
                                            .d_v = s->d_v,
                                            .order = s->order},
                                   .gate = {.out = x->out,
                                            .o = x->step_out,
                                            .z = x->z,
                                            .w = x->norm,
                                            .n_tokens = N_TOKENS,
                                            .n_heads = s->n_v_heads,
                                            .d = s->d_v,
                                            .eps = 1e-6f},
                                   .blocks = x->blocks};
    kernels->gdn_mix(k, &a);
}

/* Outputs, states and blocks. The reference makes no blocks. */
static void assert_share(const struct share *s, const struct arrays *own, const struct arrays *all,
                         bool has_blocks) {
    struct arena arena = {0};
    struct arrays want = arrays_make(&s->own, &arena);
    size_t d_o = (size_t)s->own.n_v_heads * s->own.d_v, d_v = s->own.d_v;
    size_t n_conv_state = (size_t)3 * N_SEQUENCES * conv_dim_of(&s->own);
    take_heads(s, want.out, all->out, N_TOKENS, d_v);
    take_heads(s, want.state, all->state, N_SEQUENCES, s->own.d_k * d_v);
    take_channels(s, want.conv_state, all->conv_state, (size_t)3 * N_SEQUENCES, 1);
    assert_true(same_bits(own->out, want.out, N_TOKENS * d_o));
    assert_true(same_bits(own->state, want.state, N_SEQUENCES * d_o * s->own.d_k));
    assert_true(same_bits(own->conv_state, want.conv_state, n_conv_state));
    size_t block_floats = sizeof *all->blocks / sizeof(float);
    take_heads(s, (float *)(void *)want.blocks, (const float *)(const void *)all->blocks, N_TOKENS,
               d_v / ACT_BLOCK * block_floats);
    if (has_blocks)
        assert_memory_equal(own->blocks, want.blocks,
                            N_TOKENS * d_o / ACT_BLOCK * sizeof *want.blocks);
    arena_free(&arena);
}

static void check_shape(const struct shape *shape, const struct kernels *kernels,
                        uint32_t n_threads) {
    struct arena arena = {0};
    struct kernel_ctx k = kernel_ctx_open(n_threads);
    struct arrays whole = arrays_make(shape, &arena);
    mix(kernels, &k, shape, &whole);
    for (uint32_t begin = 0; begin < shape->n_k_heads; begin++) {
        for (uint32_t end = begin; end <= shape->n_k_heads; end++) {
            struct share share = share_make(shape, begin, end);
            struct arrays all = arrays_make(shape, &arena), own = arrays_make(&share.own, &arena);
            take_inputs(&share, &own, &all);
            mix(kernels, &k, &share.own, &own);
            assert_share(&share, &own, &whole, !kernels->exact);
        }
    }
    kernel_ctx_close(&k);
    arena_free(&arena);
}

/* Every run of key heads, the empty one too; one thread takes key heads whole, with five the
 * operations run one after the other. */
static void heads_of_a_share_are_those_of_the_whole(void **state) {
    (void)state;
    struct variants v;
    variants_init(&v);
    for (size_t i = 0; i < N_OF(shapes) * v.n; i++) {
        for (uint32_t n_threads = 1; n_threads <= 5; n_threads += 4)
            check_shape(&shapes[i / v.n], &v.table[i % v.n], n_threads);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_of_a_share_are_those_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
