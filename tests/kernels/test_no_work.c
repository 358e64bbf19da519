/* SPDX-License-Identifier: Apache-2.0 */
/* A rank may have no rows in a step, or none of a layer's heads or columns: every operation then
 * returns and has written nothing. */
#include "kernels/kernels.h"

#include "tests/kernels/support_kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

enum { D = 64 };

/* What operations are given to write to, and an untouched copy. */
struct room {
    float floats[4 * D], before[4 * D];
    struct act_block blocks[4], blocks_before[4];
};

static void room_fill(struct room *room) {
    fill_random(room->floats, 4 * D, 1, 1);
    memset(room->blocks, 0x5a, sizeof room->blocks);
    memcpy(room->before, room->floats, sizeof room->floats);
    memcpy(room->blocks_before, room->blocks, sizeof room->blocks);
}

static void assert_untouched(const struct room *room) {
    assert_memory_equal(room->floats, room->before, sizeof room->floats);
    assert_memory_equal(room->blocks, room->blocks_before, sizeof room->blocks);
}

static void run_rows(const struct kernels *kernels, struct kernel_ctx *k, struct room *r) {
    float *x = r->floats;
    const struct matrix table = {
        .dtype = DTYPE_F32, .d_out = 2, .d_in = D, .row_bytes = D * sizeof(float), .data = x};
    int32_t id = 0;
    uint32_t expert = 7;
    kernels->activation_quantise(
        k, &(struct activation){.x = x, .blocks = r->blocks, .n_tokens = 0, .d = D});
    kernels->embed(k, &(struct embed_args){.out = x, .table = &table, .ids = &id});
    kernels->rmsnorm(k, &(struct rmsnorm_args){
                            .out = x, .x = x, .w = x, .d = D, .eps = 1e-6f, .blocks = r->blocks});
    kernels->router(k, &(struct router_args){
                           .ids = &expert, .weights = x, .logits = x, .n_experts = D, .top_k = 2});
    assert_int_equal(expert, 7);
    kernels->swiglu(k, &(struct swiglu_args){.out = x, .gate = x, .up = x, .blocks = r->blocks});
    kernels->add(k, &(struct add_args){.x = x, .y = x});
    kernels->add_shared(
        k, &(struct add_shared_args){.x = x, .routed = x, .shared = x, .gate = x, .d = D});
}

/* n_entries sequences of one token each (none: the step has no rows here), n_heads heads. */
static void run_mixers(const struct kernels *kernels, struct kernel_ctx *k, struct room *r,
                       uint32_t n_entries, uint32_t n_heads) {
    float *x = r->floats;
    const uint32_t page = 0;
    const struct kv_layer kv = {
        .pages = (unsigned char *)x, .dtype = DTYPE_F32, .n_kv_heads = n_heads, .d_head = D};
    const struct kv_rows kv_rows = {.pages = &page, .n_rows = 1};
    const struct gdn_rows gdn_rows = {.conv = x, .state = x, .n_rows = 1};
    kernels->rope(k, &(struct rope_args){.out = x,
                                         .x = x,
                                         .w = x,
                                         .cos_sin = x,
                                         .n_tokens = n_entries,
                                         .n_heads = n_heads,
                                         .d_head = D,
                                         .n_rot = 32,
                                         .eps = 1e-6f});
    kernels->kv_append(
        k, &(struct kv_append_args){
               .kv = &kv, .key = x, .value = x, .rows = &kv_rows, .n_rows_entries = n_entries});
    kernels->attention(k, &(struct attention_args){.out = x,
                                                   .q = x,
                                                   .gate = x,
                                                   .kv = &kv,
                                                   .rows = &kv_rows,
                                                   .n_rows_entries = n_entries,
                                                   .n_tokens = n_entries,
                                                   .n_heads = n_heads,
                                                   .heads_per_kv = n_heads,
                                                   .scale = 1,
                                                   .blocks = r->blocks});
    const struct gdn_mix_args mix = {.conv = {.out = x,
                                              .u = x,
                                              .w = x,
                                              .rows = &gdn_rows,
                                              .n_rows_entries = n_entries,
                                              .conv_dim = 3 * n_heads * D},
                                     .step = {.o = x,
                                              .c = x,
                                              .a = x,
                                              .b = x,
                                              .gate_group = n_heads,
                                              .a_coef = x,
                                              .dt_bias = x,
                                              .rows = &gdn_rows,
                                              .n_rows_entries = n_entries,
                                              .n_k_heads = n_heads,
                                              .n_v_heads = n_heads,
                                              .d_k = D,
                                              .d_v = D},
                                     .gate = {.out = x,
                                              .o = x,
                                              .z = x,
                                              .w = x,
                                              .n_tokens = n_entries,
                                              .n_heads = n_heads,
                                              .d = D,
                                              .eps = 1e-6f},
                                     .blocks = r->blocks};
    kernels->gdn_conv(k, &mix.conv);
    kernels->gdn_step(k, &mix.step);
    kernels->gdn_gate(k, &mix.gate);
    kernels->gdn_mix(k, &mix);
}

static void operations_without_rows_write_nothing(void **state) {
    (void)state;
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < v.n; i++) {
        struct room room;
        room_fill(&room);
        run_rows(&v.table[i], &k, &room);
        run_mixers(&v.table[i], &k, &room, 0, 1);
        assert_untouched(&room);
    }
    kernel_ctx_close(&k);
}

static void mixers_without_heads_write_nothing(void **state) {
    (void)state;
    struct variants v;
    variants_init(&v);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (size_t i = 0; i < v.n; i++) {
        struct room room;
        room_fill(&room);
        run_mixers(&v.table[i], &k, &room, 1, 0);
        run_mixers(&v.table[i], &k, &room, 0, 0);
        assert_untouched(&room);
    }
    kernel_ctx_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_without_rows_write_nothing),
        cmocka_unit_test(mixers_without_heads_write_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
