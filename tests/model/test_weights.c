/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors found by name: every architecture, every variant of a file, every way to be wrong. */
#include "model/weights.h"

#include "support_model_header.h"
#include "tensor/f16.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DEMO SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf"

/* A header, read and bound; close releases all of it. */
struct bound {
    struct text bytes;
    struct gguf gguf;
    struct hparams hp;
    struct weights w;
    struct arena arena;
};

static enum status bind(struct bound *b, const struct model_header *header, bool header_only,
                        struct error *err) {
    *b = (struct bound){0};
    model_header_bytes(&b->bytes, header);
    TRY(gguf_parse(&b->gguf, "x.gguf", text_span(&b->bytes), header_only, err));
    TRY(hparams_read(&b->hp, &b->gguf, err));
    return weights_bind(&b->w, &b->gguf, &b->hp, true, &b->arena, err);
}

static void bind_or_fail(struct bound *b, const struct model_header *header) {
    struct error err = {0};
    if (bind(b, header, false, &err))
        fail_msg("%s", err.text);
}

static void release(struct bound *b) {
    gguf_close(&b->gguf);
    text_free(&b->bytes);
    arena_free(&b->arena);
}

static void demo_file_binds_completely(void **state) {
    (void)state;
    struct bound b = {0};
    struct error err = {0};
    if (gguf_open(&b.gguf, DEMO, &err) || hparams_read(&b.hp, &b.gguf, &err) ||
        weights_bind(&b.w, &b.gguf, &b.hp, true, &b.arena, &err))
        fail_msg("%s", err.text);
    /* Every tensor of the file is used once: the bytes are those of all of them. */
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < b.gguf.n_tensors; i++)
        bytes += b.gguf.tensors[i].tensor.bytes;
    assert_true(b.w.bytes == bytes);
    const struct gguf_tensor *a = gguf_find_tensor(&b.gguf, "blk.1.ssm_a");
    assert_memory_equal(b.w.layers[1].gdn.a, a->tensor.data, a->tensor.bytes);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(b.w.layers[1].gdn.a[i] < 0);
    assert_int_equal(b.w.layers[3].mixer, MIXER_ATTENTION);
    assert_int_equal(b.w.layers[3].attention.q.shape[0], 2 * 4 * 256);
    assert_non_null(b.w.mtp);
    assert_ptr_not_equal(b.w.mtp->head_norm, b.w.output_norm);
    assert_ptr_not_equal(b.w.output.data, b.w.token_embd.data);
    struct matrix router = tensor_matrix(&b.w.layers[0].ffn.router);
    assert_int_equal(router.d_out, 16);
    assert_int_equal(router.d_in, 256);
    assert_int_equal(router.row_bytes, 1024);
    uint64_t with_mtp = b.w.bytes;
    assert_int_equal(weights_bind(&b.w, &b.gguf, &b.hp, false, &b.arena, &err), OK);
    assert_null(b.w.mtp);
    assert_true(b.w.bytes < with_mtp);
    release(&b);
}

static void every_architecture_binds(void **state) {
    (void)state;
    for (int arch = 0; arch < ARCH_N; arch++) {
        struct bound b;
        bool moe = arch != ARCH_QWEN35;
        bind_or_fail(&b, &(struct model_header){.arch = (enum arch)arch});
        const struct layer_weights *last = &b.w.layers[TINY_LAYERS - 1];
        assert_int_equal(last->mixer, MIXER_ATTENTION);
        uint32_t gate = arch == ARCH_QWEN3MOE ? 1 : 2;
        assert_int_equal(last->attention.q.shape[0], gate * TINY_HEADS * TINY_D_HEAD);
        assert_int_equal(last->ffn.gate_exps.n_dims, moe ? 3 : 0);
        assert_int_equal(last->ffn.down.n_dims, moe ? 0 : 2);
        assert_true((last->ffn.shared_gate != NULL) == (moe && arch != ARCH_QWEN3MOE));
        if (arch != ARCH_QWEN3MOE)
            assert_int_equal(b.w.layers[0].gdn.qkv.shape[0], TINY_CONV_DIM);
        assert_true((b.w.layers[0].gdn.ba.n_dims == 2) == (arch == ARCH_QWEN3NEXT));
        assert_null(b.w.mtp);
        release(&b);
    }
}

static void fused_tensors_of_old_files_bind(void **state) {
    (void)state;
    struct bound b;
    bind_or_fail(&b, &(struct model_header){.arch = ARCH_QWEN3NEXT, .fused = true});
    const struct gdn_weights *gdn = &b.w.layers[0].gdn;
    assert_int_equal(gdn->qkvz.shape[0], TINY_CONV_DIM + TINY_V_HEADS * TINY_D_GDN);
    assert_int_equal(gdn->ba.shape[0], 2 * TINY_V_HEADS);
    assert_int_equal(gdn->qkv.n_dims, 0);
    assert_int_equal(gdn->alpha.n_dims, 0);
    const struct ffn_weights *ffn = &b.w.layers[0].ffn;
    assert_int_equal(ffn->gate_up_exps.shape[1], 2 * TINY_D_FF_EXPERT);
    assert_int_equal(ffn->gate_exps.n_dims, 0);
    release(&b);
}

static void tied_output_is_the_embedding(void **state) {
    (void)state;
    struct bound b, untied;
    bind_or_fail(&b, &(struct model_header){.arch = ARCH_QWEN35, .tied = true});
    bind_or_fail(&untied, &(struct model_header){.arch = ARCH_QWEN35});
    assert_ptr_equal(b.w.output.data, b.w.token_embd.data);
    assert_int_equal(untied.w.output.dtype, DTYPE_Q8_0);
    assert_true(untied.w.bytes - b.w.bytes == untied.w.output.bytes);
    release(&b);
    release(&untied);
}

static void mtp_head_norm_falls_back_to_the_output_norm(void **state) {
    (void)state;
    struct bound b;
    const struct edit edits[] = {{EDIT_DROP, .name = "blk.4.nextn.shared_head_norm.weight"},
                                 {.kind = EDIT_END}};
    bind_or_fail(&b,
                 &(struct model_header){.arch = ARCH_QWEN35MOE, .with_mtp = true, .edits = edits});
    assert_ptr_equal(b.w.mtp->head_norm, b.w.output_norm);
    assert_int_equal(b.w.mtp->eh_proj.shape[1], 2 * TINY_D_MODEL);
    assert_int_equal(b.w.mtp->layer.mixer, MIXER_ATTENTION);
    release(&b);
}

static void names_and_shapes_of_other_writers_bind(void **state) {
    (void)state;
    struct bound b;
    const struct edit edits[] = {
        {EDIT_RENAME, "blk.0.ssm_dt.bias", .string = "blk.0.ssm_dt"},
        {EDIT_SHAPE, "blk.1.ffn_gate_inp_shexp.weight", .shape = {1, TINY_D_MODEL}},
        {EDIT_TENSOR, "v.blk.0.attn_q.weight", .shape = {64, 64}, .n = 2, .dtype = DTYPE_F16},
        {EDIT_TENSOR, "blk.0.unknown.scale", .shape = {1}, .n = 1, .dtype = DTYPE_I64},
        {.kind = EDIT_END}};
    bind_or_fail(&b, &(struct model_header){.arch = ARCH_QWEN35MOE, .edits = edits});
    assert_non_null(b.w.layers[0].gdn.dt_bias);
    for (uint32_t i = 0; i < b.gguf.n_tensors; i++) {
        struct span name = b.gguf.tensors[i].name;
        bool is_extra = span_starts_with(name, "v.") || span_ends_with(name, ".scale");
        assert_int_equal(b.w.is_bound[i], !is_extra);
    }
    assert_non_null(b.w.layers[1].ffn.shared_gate);
    release(&b);
}

static void half_precision_vectors_become_floats(void **state) {
    (void)state;
    struct model_header header = {
        .arch = ARCH_QWEN35,
        .edits = (const struct edit[]){{EDIT_DTYPE, "output_norm.weight", .dtype = DTYPE_BF16},
                                       {EDIT_DTYPE, "blk.0.ssm_a", .dtype = DTYPE_F16},
                                       {.kind = EDIT_END}}};
    struct bound b = {0};
    struct error err = {0};
    model_header_bytes(&b.bytes, &header);
    assert_int_equal(gguf_parse(&b.gguf, "x.gguf", text_span(&b.bytes), false, &err), OK);
    uint16_t norm = f32_to_bf16(1.5f), a = f32_to_f16(-0.375f);
    uint64_t norm_at = gguf_find_tensor(&b.gguf, "output_norm.weight")->offset + 2 * 7;
    uint64_t a_at = gguf_find_tensor(&b.gguf, "blk.0.ssm_a")->offset + 2 * 3;
    memcpy(b.bytes.data + norm_at, &norm, 2);
    memcpy(b.bytes.data + a_at, &a, 2);
    assert_int_equal(hparams_read(&b.hp, &b.gguf, &err), OK);
    assert_int_equal(weights_bind(&b.w, &b.gguf, &b.hp, false, &b.arena, &err), OK);
    assert_true(b.w.output_norm[7] == 1.5f);
    assert_true(b.w.output_norm[6] == 0);
    assert_true(b.w.layers[0].gdn.a[3] == -0.375f);
    release(&b);
}

static void headers_alone_bind_without_data(void **state) {
    (void)state;
    struct bound b;
    struct error err = {0};
    const struct edit edits[] = {{EDIT_DTYPE, "output_norm.weight", .dtype = DTYPE_F16},
                                 {.kind = EDIT_END}};
    assert_int_equal(
        bind(&b, &(struct model_header){.arch = ARCH_QWEN35MOE, .edits = edits}, true, &err), OK);
    assert_null(b.w.output_norm);
    assert_null(b.w.token_embd.data);
    assert_true(b.w.bytes > 0);
    release(&b);
}

static void wrong_tensors_are_named(void **state) {
    (void)state;
    static const struct {
        enum arch arch;
        enum status status;
        const char *text;
        struct edit edits[2];
    } cases[] = {
        {ARCH_QWEN35MOE,
         ERR_INPUT,
         "tensor 'output_norm.weight' is missing, [64] is expected",
         {{EDIT_DROP, .name = "output_norm.weight"}}},
        {ARCH_QWEN35MOE,
         ERR_INPUT,
         "tensor 'blk.2.ssm_conv1d.weight': has shape [4, 128], must be [128, 4]",
         {{EDIT_SHAPE, "blk.2.ssm_conv1d.weight", .shape = {4, 128}}}},
        {ARCH_QWEN35MOE,
         ERR_INPUT,
         "tensor 'blk.3.attn_q.weight': has shape [128, 64], must be [256, 64]",
         {{EDIT_SHAPE, "blk.3.attn_q.weight", .shape = {128, 64}}}},
        {ARCH_QWEN3MOE,
         ERR_INPUT,
         "tensor 'blk.0.ffn_up_exps.weight': has shape [5, 64, 64], must be [4, 64, 64]",
         {{EDIT_SHAPE, "blk.0.ffn_up_exps.weight", .shape = {5, 64, 64}}}},
        {ARCH_QWEN3MOE,
         ERR_INPUT,
         "tensor 'blk.1.ffn_norm.weight' is missing",
         {{EDIT_RENAME, "blk.1.ffn_norm.weight", .string = "blk.1.post_attention_norm.weight"}}},
        {ARCH_QWEN35MOE,
         ERR_INPUT,
         "tensor 'blk.0.ssm_alpha.weight' is missing",
         {{EDIT_RENAME, "blk.0.ssm_alpha.weight", .string = "blk.0.ssm_ba.weight"}}},
        {ARCH_QWEN35,
         ERR_UNSUPPORTED,
         "tensor 'blk.0.ffn_down.weight': type I8 is not supported",
         {{EDIT_DTYPE, "blk.0.ffn_down.weight", .dtype = DTYPE_I8}}},
        {ARCH_QWEN35,
         ERR_UNSUPPORTED,
         "tensor 'blk.0.attn_qkv.weight': type NVFP4 is not supported",
         {{EDIT_DTYPE, "blk.0.attn_qkv.weight", .dtype = DTYPE_NVFP4}}},
        {ARCH_QWEN35,
         ERR_UNSUPPORTED,
         "tensor 'blk.0.attn_norm.weight': type Q8_0 is not supported here",
         {{EDIT_DTYPE, "blk.0.attn_norm.weight", .dtype = DTYPE_Q8_0}}},
        {ARCH_QWEN35MOE,
         ERR_INPUT,
         "tensor 'blk.4.nextn.eh_proj.weight' is missing",
         {{EDIT_DROP, .name = "blk.4.nextn.eh_proj.weight"}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bound b;
        struct error err = {0};
        struct model_header header = {
            .arch = cases[i].arch, .with_mtp = true, .edits = cases[i].edits};
        enum status status = bind(&b, &header, false, &err);
        if (status != cases[i].status || !strstr(err.text, "x.gguf") ||
            !strstr(err.text, cases[i].text))
            fail_msg("case %zu: status %d, '%s'", i, status, err.text);
        release(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_file_binds_completely),
        cmocka_unit_test(every_architecture_binds),
        cmocka_unit_test(fused_tensors_of_old_files_bind),
        cmocka_unit_test(tied_output_is_the_embedding),
        cmocka_unit_test(mtp_head_norm_falls_back_to_the_output_norm),
        cmocka_unit_test(names_and_shapes_of_other_writers_bind),
        cmocka_unit_test(half_precision_vectors_become_floats),
        cmocka_unit_test(headers_alone_bind_without_data),
        cmocka_unit_test(wrong_tensors_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
