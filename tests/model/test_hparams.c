/* SPDX-License-Identifier: Apache-2.0 */
/* Hyperparameters: what the demonstration file says, what each architecture means by default, and
 * every check with a header that fails just that check. */
#include "model/hparams.h"

#include "support_model_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DEMO SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf"

static enum status read_header(struct hparams *hp, const struct model_header *header,
                               struct error *err) {
    struct text bytes = {0};
    struct gguf gguf;
    model_header_bytes(&bytes, header);
    enum status status = gguf_parse(&gguf, "x.gguf", text_span(&bytes), true, err);
    if (!status)
        status = hparams_read(hp, &gguf, err);
    gguf_close(&gguf);
    text_free(&bytes);
    return status;
}

static void read_or_fail(struct hparams *hp, const struct model_header *header) {
    struct error err = {0};
    if (read_header(hp, header, &err))
        fail_msg("%s", err.text);
}

static void demo_file_has_its_published_numbers(void **state) {
    (void)state;
    struct gguf gguf;
    struct hparams hp;
    struct error err = {0};
    if (gguf_open(&gguf, DEMO, &err) || hparams_read(&hp, &gguf, &err))
        fail_msg("%s", err.text);
    assert_int_equal(hp.arch, ARCH_QWEN35MOE);
    assert_int_equal(hp.n_layers, 4);
    assert_int_equal(hp.n_mtp_layers, 1);
    assert_int_equal(hp.n_attention_layers, 1);
    assert_int_equal(hp.n_gdn_layers, 3);
    assert_int_equal(hp.mixers[3], MIXER_ATTENTION);
    assert_int_equal(hp.d_model, 256);
    assert_int_equal(hp.n_vocab, 2048);
    assert_int_equal(hp.n_ctx_train, 32768);
    assert_int_equal(hp.n_heads, 4);
    assert_int_equal(hp.n_kv_heads, 2);
    assert_int_equal(hp.d_head, 256);
    assert_true(hp.attention_gate);
    assert_int_equal(hp.n_rot, 64);
    assert_true(hp.rope_base == 1e7f);
    assert_int_equal(hp.rope_sections[2], 10);
    assert_true(hp.yarn_factor == 0);
    assert_int_equal(hp.n_k_heads, 2);
    assert_int_equal(hp.n_v_heads, 4);
    assert_int_equal(hp.d_k, 128);
    assert_int_equal(hp.d_v, 128);
    assert_int_equal(hp.conv_dim, 1024);
    assert_false(hp.v_heads_grouped);
    assert_int_equal(hp.d_ff, 0);
    assert_int_equal(hp.n_experts, 16);
    assert_int_equal(hp.top_k, 4);
    assert_int_equal(hp.d_ff_expert, 256);
    assert_int_equal(hp.d_ff_shared, 256);
    gguf_close(&gguf);
}

static void architectures_differ_where_the_family_does(void **state) {
    (void)state;
    struct hparams hp;
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN35});
    assert_int_equal(hp.d_ff, TINY_D_FF);
    assert_int_equal(hp.n_experts, 0);
    assert_int_equal(hp.conv_dim, TINY_CONV_DIM);
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN3NEXT});
    assert_true(hp.v_heads_grouped);
    assert_true(hp.attention_gate);
    assert_int_equal(hp.rope_sections[0], 0);
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN3MOE});
    assert_false(hp.attention_gate);
    assert_int_equal(hp.n_attention_layers, TINY_LAYERS);
    assert_int_equal(hp.conv_dim, 0);
    assert_int_equal(hp.d_ff_shared, 0);
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN35MOE, .with_mtp = true});
    assert_int_equal(hp.n_layers, TINY_LAYERS);
    assert_int_equal(hp.n_mtp_layers, 1);
    enum arch arch;
    assert_true(arch_from_name("qwen3next", &arch));
    assert_int_equal(arch, ARCH_QWEN3NEXT);
    assert_false(arch_from_name("qwen2", &arch));
}

static void accepted_variants_are_understood(void **state) {
    (void)state;
    struct hparams hp;
    const struct edit per_layer[] = {
        {EDIT_I32S, "attention.head_count_kv", .i32s = {0, 0, 0, 2, 2}, .n = 5},
        {EDIT_I32S, "attention.head_count", .i32s = {4, 4, 4, 4, 4}, .n = 5},
        {EDIT_DROP, .name = "full_attention_interval"},
        {.kind = EDIT_END}};
    read_or_fail(
        &hp, &(struct model_header){.arch = ARCH_QWEN35MOE, .with_mtp = true, .edits = per_layer});
    assert_int_equal(hp.n_kv_heads, 2);
    assert_int_equal(hp.n_heads, 4);
    assert_int_equal(hp.n_gdn_layers, 3);

    const struct edit recurrent[] = {
        {EDIT_I32S, "attention.recurrent_layers", .i32s = {1, 0, 1, 0}, .n = 4},
        {.kind = EDIT_END}};
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN35, .edits = recurrent});
    assert_int_equal(hp.mixers[0], MIXER_GDN);
    assert_int_equal(hp.mixers[1], MIXER_ATTENTION);
    assert_int_equal(hp.n_attention_layers, 2);

    const struct edit ollama[] = {{EDIT_BOOL, "ssm.v_head_reordered", .u32 = 0},
                                  {EDIT_BOOL, "rope.mrope_interleaved", .u32 = 1},
                                  {EDIT_U32, "vision.block_count", .u32 = 27},
                                  {.kind = EDIT_END}};
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN35, .edits = ollama});
    assert_true(hp.v_heads_grouped);

    const struct edit shared_by_tensor[] = {
        {EDIT_DROP, .name = "expert_shared_feed_forward_length"}, {.kind = EDIT_END}};
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN35MOE, .edits = shared_by_tensor});
    assert_int_equal(hp.d_ff_shared, TINY_D_FF_SHARED);
}

static void yarn_keys_are_read_with_their_defaults(void **state) {
    (void)state;
    struct hparams hp;
    const struct edit edits[] = {{EDIT_STRING, "rope.scaling.type", .string = "yarn"},
                                 {EDIT_F32, "rope.scaling.factor", .f32 = 4},
                                 {EDIT_U32, "rope.scaling.original_context_length", .u32 = 262144},
                                 {EDIT_F32, "rope.scaling.yarn_beta_fast", .f32 = 16},
                                 {.kind = EDIT_END}};
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN35MOE, .edits = edits});
    assert_true(hp.yarn_factor == 4);
    assert_int_equal(hp.yarn_n_ctx, 262144);
    assert_true(hp.yarn_beta_fast == 16);
    assert_true(hp.yarn_beta_slow == 1);
    assert_true(hp.yarn_attn_factor == 1);
    const struct edit none[] = {{EDIT_STRING, "rope.scaling.type", .string = "none"},
                                {.kind = EDIT_END}};
    read_or_fail(&hp, &(struct model_header){.arch = ARCH_QWEN35MOE, .edits = none});
    assert_true(hp.yarn_factor == 0);
}

struct bad_header {
    enum status status;
    const char *field, *text;
    struct edit edits[5];
};

static void expect_errors(enum arch arch, bool with_mtp, const struct bad_header *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct hparams hp;
        struct error err = {0};
        struct model_header header = {.arch = arch, .with_mtp = with_mtp, .edits = cases[i].edits};
        enum status status = read_header(&hp, &header, &err);
        if (status != cases[i].status || !strstr(err.text, "x.gguf") ||
            !strstr(err.text, cases[i].field) || !strstr(err.text, cases[i].text))
            fail_msg("case %zu, '%s': status %d, '%s'", i, cases[i].field, status, err.text);
    }
}

static void bad_general_numbers_are_refused(void **state) {
    (void)state;
    static const struct bad_header cases[] = {
        {ERR_INPUT,
         "general.architecture",
         "missing",
         {{EDIT_DROP, .name = "general.architecture"}}},
        {ERR_UNSUPPORTED,
         "general.architecture",
         "'llama' is not supported",
         {{EDIT_STRING, "general.architecture", .string = "llama"}}},
        {ERR_UNSUPPORTED,
         "general.architecture",
         "'...' is not supported",
         {{EDIT_STRING, "general.architecture", .string = "\033[2J"}}},
        {ERR_INPUT, "block_count", "missing", {{EDIT_DROP, .name = "block_count"}}},
        {ERR_INPUT, "block_count", "must be 1 to 512", {{EDIT_U32, "block_count", .u32 = 0}}},
        {ERR_INPUT, "block_count", "must be 1 to 512", {{EDIT_U32, "block_count", .u32 = 513}}},
        {ERR_INPUT,
         "block_count",
         "must be an integer",
         {{EDIT_STRING, "block_count", .string = "4"}}},
        {ERR_UNSUPPORTED,
         "nextn_predict_layers",
         "at most 1",
         {{EDIT_U32, "nextn_predict_layers", .u32 = 2}}},
        {ERR_INPUT,
         "nextn_predict_layers",
         "no layer is left",
         {{EDIT_U32, "block_count", .u32 = 1}}},
        {ERR_INPUT, "context_length", "must be 1 to", {{EDIT_U32, "context_length", .u32 = 0}}},
        {ERR_INPUT,
         "embedding_length",
         "must be 32 to 65536",
         {{EDIT_U32, "embedding_length", .u32 = UINT32_MAX}}},
        {ERR_UNSUPPORTED,
         "embedding_length",
         "multiples of 32",
         {{EDIT_U32, "embedding_length", .u32 = 100}}},
        {ERR_INPUT,
         "layer_norm_rms_epsilon",
         "must be 1e-12 to 0.1",
         {{EDIT_F32, "attention.layer_norm_rms_epsilon", .f32 = 0}}},
        {ERR_INPUT,
         "token_embd.weight",
         "96 rows of 64",
         {{EDIT_U32, "embedding_length", .u32 = 128}}},
        {ERR_INPUT, "token_embd.weight", "missing", {{EDIT_DROP, .name = "token_embd.weight"}}},
    };
    expect_errors(ARCH_QWEN35MOE, true, cases, sizeof cases / sizeof cases[0]);
}

static void bad_attention_numbers_are_refused(void **state) {
    (void)state;
    static const struct bad_header cases[] = {
        {ERR_INPUT,
         "attention.head_count'",
         "must be 1 to 1024",
         {{EDIT_U32, "attention.head_count", .u32 = 0}}},
        {ERR_INPUT,
         "head_count_kv",
         "must divide the 4",
         {{EDIT_U32, "attention.head_count_kv", .u32 = 3}}},
        {ERR_INPUT,
         "head_count_kv",
         "is 0 at layer 3",
         {{EDIT_I32S, "attention.head_count_kv", .i32s = {2, 2, 2, 0}, .n = 4}}},
        {ERR_INPUT,
         "head_count_kv",
         "has 3 entries, must be 4",
         {{EDIT_I32S, "attention.head_count_kv", .i32s = {2, 2, 2}, .n = 3}}},
        {ERR_UNSUPPORTED,
         "head_count_kv",
         "is 4 at layer 3 and 2 before",
         {{EDIT_U32, "full_attention_interval", .u32 = 2},
          {EDIT_I32S, "attention.head_count_kv", .i32s = {0, 2, 0, 4}, .n = 4}}},
        {ERR_INPUT,
         "head_count_kv",
         "no layer is an attention layer",
         {{EDIT_U32, "full_attention_interval", .u32 = 9},
          {EDIT_I32S, "attention.head_count_kv", .i32s = {0, 0, 0, 0}, .n = 4}}},
        {ERR_UNSUPPORTED,
         "key_length",
         "multiples of 32",
         {{EDIT_U32, "attention.key_length", .u32 = 48}}},
        {ERR_UNSUPPORTED,
         "key_length",
         "multiples of 32", /* the default, 64 / 4 */
         {{EDIT_DROP, .name = "attention.key_length"}}},
        {ERR_UNSUPPORTED,
         "value_length",
         "than the keys' 32",
         {{EDIT_U32, "attention.value_length", .u32 = 64}}},
        {ERR_UNSUPPORTED,
         "attention.sliding_window",
         "128 is not supported",
         {{EDIT_U32, "attention.sliding_window", .u32 = 128}}},
        {ERR_UNSUPPORTED,
         "final_logit_softcapping",
         "30 is not supported",
         {{EDIT_F32, "final_logit_softcapping", .f32 = 30}}},
        {ERR_INPUT,
         "full_attention_interval",
         "must be 1 to",
         {{EDIT_U32, "full_attention_interval", .u32 = 0}}},
        {ERR_INPUT,
         "recurrent_layers",
         "has 2 entries",
         {{EDIT_I32S, "attention.recurrent_layers", .i32s = {1, 0}, .n = 2}}},
    };
    expect_errors(ARCH_QWEN35, false, cases, sizeof cases / sizeof cases[0]);
}

static void bad_rotary_numbers_are_refused(void **state) {
    (void)state;
    static const struct bad_header cases[] = {
        {ERR_INPUT, "rope.freq_base", "must be 1.0001", {{EDIT_F32, "rope.freq_base", .f32 = -1}}},
        {ERR_INPUT,
         "rope.dimension_count",
         "must be 2 to 32",
         {{EDIT_U32, "rope.dimension_count", .u32 = 64}}},
        {ERR_UNSUPPORTED,
         "rope.dimension_count",
         "multiples of 32",
         {{EDIT_U32, "rope.dimension_count", .u32 = 16}}},
        {ERR_INPUT,
         "dimension_sections",
         "missing",
         {{EDIT_DROP, .name = "rope.dimension_sections"}}},
        {ERR_INPUT,
         "dimension_sections",
         "sums to 15, must be 16",
         {{EDIT_I32S, "rope.dimension_sections", .i32s = {5, 5, 5, 0}, .n = 4}}},
        {ERR_INPUT,
         "dimension_sections",
         "has -1 at 3",
         {{EDIT_I32S, "rope.dimension_sections", .i32s = {6, 6, 5, -1}, .n = 4}}},
        {ERR_INPUT,
         "dimension_sections",
         "must be 3 or 4",
         {{EDIT_I32S, "rope.dimension_sections", .i32s = {16}, .n = 1}}},
        {ERR_INPUT,
         "dimension_sections",
         "array of integers",
         {{EDIT_U32, "rope.dimension_sections", .u32 = 16}}},
        {ERR_UNSUPPORTED,
         "rope.scaling.type",
         "only 'none' and 'yarn'",
         {{EDIT_STRING, "rope.scaling.type", .string = "longrope"}}},
        {ERR_INPUT,
         "rope.scaling.factor",
         "missing",
         {{EDIT_STRING, "rope.scaling.type", .string = "yarn"}}},
        {ERR_INPUT,
         "rope.scaling.factor",
         "must be 1 to 1024",
         {{EDIT_STRING, "rope.scaling.type", .string = "yarn"},
          {EDIT_F32, "rope.scaling.factor", .f32 = 0.5f}}},
        {ERR_INPUT,
         "yarn_beta_fast",
         "at least yarn_beta_slow",
         {{EDIT_STRING, "rope.scaling.type", .string = "yarn"},
          {EDIT_F32, "rope.scaling.factor", .f32 = 4},
          {EDIT_U32, "rope.scaling.original_context_length", .u32 = 4096},
          {EDIT_F32, "rope.scaling.yarn_beta_fast", .f32 = 0.5f}}},
        {ERR_UNSUPPORTED,
         "yarn_ext_factor",
         "0.5 is not supported",
         {{EDIT_STRING, "rope.scaling.type", .string = "yarn"},
          {EDIT_F32, "rope.scaling.factor", .f32 = 4},
          {EDIT_U32, "rope.scaling.original_context_length", .u32 = 4096},
          {EDIT_F32, "rope.scaling.yarn_ext_factor", .f32 = 0.5f}}},
    };
    expect_errors(ARCH_QWEN35, false, cases, sizeof cases / sizeof cases[0]);
}

static void bad_delta_net_numbers_are_refused(void **state) {
    (void)state;
    static const struct bad_header cases[] = {
        {ERR_UNSUPPORTED, "conv_kernel", "only 4", {{EDIT_U32, "ssm.conv_kernel", .u32 = 3}}},
        {ERR_UNSUPPORTED, "state_size", "of 16", {{EDIT_U32, "ssm.state_size", .u32 = 24}}},
        {ERR_INPUT, "group_count", "1 to 1024", {{EDIT_U32, "ssm.group_count", .u32 = 0}}},
        {ERR_INPUT,
         "time_step_rank",
         "multiple of the 2 key heads",
         {{EDIT_U32, "ssm.time_step_rank", .u32 = 3}}},
        {ERR_INPUT,
         "inner_size",
         "multiple of the 4 value heads",
         {{EDIT_U32, "ssm.inner_size", .u32 = 66}}},
        {ERR_UNSUPPORTED,
         "inner_size",
         "value heads of 8",
         {{EDIT_U32, "ssm.inner_size", .u32 = 32}}},
        {ERR_UNSUPPORTED,
         "inner_size",
         "value heads of 1024",
         {{EDIT_U32, "ssm.inner_size", .u32 = 4096}}},
        {ERR_INPUT,
         "v_head_reordered",
         "must be a bool",
         {{EDIT_U32, "ssm.v_head_reordered", .u32 = 1}}},
    };
    expect_errors(ARCH_QWEN35, false, cases, sizeof cases / sizeof cases[0]);
}

static void bad_expert_numbers_are_refused(void **state) {
    (void)state;
    static const struct bad_header cases[] = {
        {ERR_INPUT, "expert_count", "1 to 4096", {{EDIT_U32, "expert_count", .u32 = 0}}},
        {ERR_INPUT, "expert_used_count", "1 to 4", {{EDIT_U32, "expert_used_count", .u32 = 5}}},
        {ERR_INPUT,
         "expert_used_count",
         "1 to 32",
         {{EDIT_U32, "expert_count", .u32 = 64}, {EDIT_U32, "expert_used_count", .u32 = 33}}},
        {ERR_UNSUPPORTED,
         "expert_feed_forward_length",
         "multiples of 32",
         {{EDIT_U32, "expert_feed_forward_length", .u32 = 65}}},
        {ERR_UNSUPPORTED,
         "expert_shared_feed_forward_length",
         "multiples of 32",
         {{EDIT_U32, "expert_shared_feed_forward_length", .u32 = 65}}},
        {ERR_UNSUPPORTED,
         "expert_gating_func",
         "2 is not supported",
         {{EDIT_U32, "expert_gating_func", .u32 = 2}}},
        {ERR_UNSUPPORTED,
         "expert_weights_scale",
         "2.5 is not supported",
         {{EDIT_F32, "expert_weights_scale", .f32 = 2.5f}}},
        {ERR_UNSUPPORTED,
         "expert_weights_norm",
         "without normalisation",
         {{EDIT_BOOL, "expert_weights_norm", .u32 = 0}}},
        {ERR_UNSUPPORTED,
         "leading_dense_block_count",
         "1 is not supported",
         {{EDIT_U32, "leading_dense_block_count", .u32 = 1}}},
    };
    expect_errors(ARCH_QWEN3NEXT, false, cases, sizeof cases / sizeof cases[0]);
    static const struct bad_header dense[] = {
        {ERR_INPUT, "feed_forward_length", "missing", {{EDIT_DROP, .name = "feed_forward_length"}}},
    };
    expect_errors(ARCH_QWEN35, false, dense, 1);
}

static void more_tokens_than_embedding_rows_are_refused(void **state) {
    (void)state;
    struct gguf_writer w;
    struct text bytes = {0};
    struct gguf gguf;
    struct hparams hp;
    struct error err = {0};
    gguf_writer_init(&w);
    gguf_writer_strings(&w, "tokenizer.ggml.tokens", TINY_VOCAB + 1);
    for (int i = 0; i <= TINY_VOCAB; i++)
        gguf_writer_add_string(&w, span_of("t"));
    model_header_describe(&w, &(struct model_header){.arch = ARCH_QWEN35});
    assert_int_equal(gguf_writer_header(&w, &bytes, &err), OK);
    assert_int_equal(gguf_parse(&gguf, "x.gguf", text_span(&bytes), true, &err), OK);
    assert_int_equal(hparams_read(&hp, &gguf, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "has 97 entries, the embedding has only 96 rows"));
    gguf_close(&gguf);
    gguf_writer_free(&w);
    text_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_file_has_its_published_numbers),
        cmocka_unit_test(architectures_differ_where_the_family_does),
        cmocka_unit_test(accepted_variants_are_understood),
        cmocka_unit_test(yarn_keys_are_read_with_their_defaults),
        cmocka_unit_test(bad_general_numbers_are_refused),
        cmocka_unit_test(bad_attention_numbers_are_refused),
        cmocka_unit_test(bad_rotary_numbers_are_refused),
        cmocka_unit_test(bad_delta_net_numbers_are_refused),
        cmocka_unit_test(bad_expert_numbers_are_refused),
        cmocka_unit_test(more_tokens_than_embedding_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
