/* SPDX-License-Identifier: Apache-2.0 */
/* The plan against numbers published for the family (model specification, "Cache sizes"). */
#include "plan/memory_plan.h"

#include "plan/activation_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Qwen3.5-35B-A3B: 30 delta-net and 10 attention layers. */
static const struct hparams big = {.arch = ARCH_QWEN35MOE,
                                   .n_layers = 40,
                                   .d_model = 2048,
                                   .n_vocab = 248320,
                                   .n_ctx_train = 262144,
                                   .n_attention_layers = 10,
                                   .n_gdn_layers = 30,
                                   .n_mtp_layers = 1,
                                   .n_heads = 16,
                                   .n_kv_heads = 2,
                                   .d_head = 256,
                                   .n_rot = 64,
                                   .attention_gate = true,
                                   .n_k_heads = 16,
                                   .n_v_heads = 32,
                                   .d_k = 128,
                                   .d_v = 128,
                                   .conv_dim = 8192,
                                   .n_experts = 256,
                                   .top_k = 8,
                                   .d_ff_expert = 512,
                                   .d_ff_shared = 512};

static struct memory_plan_input input_of(uint32_t ctx_size, uint32_t n_seqs) {
    return (struct memory_plan_input){.hp = &big,
                                      .n_kv_heads = big.n_kv_heads,
                                      .n_k_heads = big.n_k_heads,
                                      .weights_bytes = 1000,
                                      .ctx_size = ctx_size,
                                      .n_seqs = n_seqs,
                                      .n_step_tokens = 512,
                                      .n_logit_rows = 8,
                                      .n_threads = 2,
                                      .kv_dtype = DTYPE_F16};
}

static void kv_and_state_are_the_published_sizes(void **state) {
    (void)state;
    struct memory_plan plan;
    struct memory_plan_input input = input_of(262144, 1);
    memory_plan_compute(&plan, &input);
    assert_int_equal(plan.kv_bytes, 20480ull * 262144);
    assert_int_equal(plan.state_bytes, 30ull * (32 * 128 * 128 + 3 * 8192) * 4);
    assert_int_equal(plan.weights_bytes, 1000);
    assert_int_equal(plan.total_bytes,
                     1000 + plan.kv_bytes + plan.state_bytes + plan.buffers_bytes);
}

static void sequences_multiply_and_contexts_round_to_pages(void **state) {
    (void)state;
    struct memory_plan one, three;
    struct memory_plan_input input = input_of(33, 1);
    memory_plan_compute(&one, &input);
    assert_int_equal(one.n_kv_pages, 2);
    assert_int_equal(one.kv_bytes, 20480ull * 64);
    input = input_of(33, 3);
    memory_plan_compute(&three, &input);
    assert_int_equal(three.kv_bytes, 3 * one.kv_bytes);
    assert_int_equal(three.state_bytes, 3 * one.state_bytes);
}

static void the_mtp_block_has_keys_and_values_too(void **state) {
    (void)state;
    struct memory_plan without, with;
    struct memory_plan_input input = input_of(32, 1);
    memory_plan_compute(&without, &input);
    input.with_mtp = 1;
    memory_plan_compute(&with, &input);
    assert_int_equal(with.kv_bytes * 10, without.kv_bytes * 11);
}

static void a_rank_pays_for_its_own_heads_and_its_window(void **state) {
    (void)state;
    struct memory_plan all, half;
    struct memory_plan_input input = input_of(32, 1);
    memory_plan_compute(&all, &input);
    input.n_kv_heads = 1;
    input.n_k_heads = 8;
    input.exchange_bytes = 12345;
    memory_plan_compute(&half, &input);
    assert_int_equal(half.kv_bytes * 2, all.kv_bytes);
    assert_int_equal(half.state_bytes * 2, all.state_bytes);
    assert_int_equal(half.buffers_bytes, all.buffers_bytes + 12345);
    input.n_kv_heads = input.n_k_heads = 0; /* a rank that has only experts */
    memory_plan_compute(&half, &input);
    assert_int_equal(half.kv_bytes + half.state_bytes, 0);
}

static void buffers_that_live_together_do_not_overlap(void **state) {
    (void)state;
    struct activation_plan p;
    activation_plan_compute(&p, &big, 512, 8, ACTIVATION_WITH_MTP | ACTIVATION_IN_GROUP);
    uint64_t t = 512, slots = t * 8;
    /* offset and bytes of what an MoE layer has alive at once */
    const struct {
        uint64_t offset, bytes;
    } alive[] = {
        {p.x, t * 2048 * 4},
        {p.h, t * 2048 * 4},
        {p.mix, t * 2048 * 4},
        {p.final, t * 2048 * 4},
        {p.blocks, t * (4096 / 32) * ACTIVATION_BLOCK_BYTES},
        {p.cos_sin, t * 64 * 4},
        {p.ids, t * 4},
        {p.router_logits, t * 256 * 4},
        {p.router_own, t * 256 * 4},
        {p.expert_ids, slots * 4},
        {p.expert_weights, slots * 4},
        {p.gate_out, slots * 512 * 4},
        {p.up_out, slots * 512 * 4},
        {p.hidden_blocks, slots * 16 * ACTIVATION_BLOCK_BYTES},
        {p.down_out, slots * 2048 * 4},
        {p.order, (slots + t + 2 * 256 + 1) * 4},
        {p.shared_gate, t * 512 * 4},
        {p.shared_up, t * 512 * 4},
        {p.shared_out, t * 2048 * 4},
        {p.shared_logit, t * 4},
    };
    size_t n = sizeof alive / sizeof alive[0];
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(alive[i].offset % 64, 0);
        assert_true(alive[i].offset + alive[i].bytes <= p.bytes);
        for (size_t j = i + 1; j < n; j++)
            assert_true(alive[i].offset + alive[i].bytes <= alive[j].offset ||
                        alive[j].offset + alive[j].bytes <= alive[i].offset);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_and_state_are_the_published_sizes),
        cmocka_unit_test(sequences_multiply_and_contexts_round_to_pages),
        cmocka_unit_test(the_mtp_block_has_keys_and_values_too),
        cmocka_unit_test(a_rank_pays_for_its_own_heads_and_its_window),
        cmocka_unit_test(buffers_that_live_together_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
