/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of keys and tensors follow the format's description of each architecture. */
#include "support_model_header.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct builder {
    struct gguf_writer *w;
    const struct model_header *header;
    bool used[64]; /* edits that changed something that was there */
};

static const struct edit *edit_of(struct builder *b, const char *name) {
    const struct edit *edit = b->header->edits;
    for (uint32_t i = 0; edit && edit->kind != EDIT_END; i++, edit++) {
        if (strcmp(edit->name, name) == 0 && edit->kind != EDIT_TENSOR) {
            b->used[i] = true;
            return edit;
        }
    }
    return NULL;
}

/* The key of an architecture has a dot in its name only behind the architecture's own. */
static void key_of(struct builder *b, const char *name, char out[128]) {
    bool is_full = strncmp(name, "general.", 8) == 0 || strncmp(name, "tokenizer.", 10) == 0 ||
                   strncmp(name, "split.", 6) == 0;
    if (is_full)
        snprintf(out, 128, "%s", name);
    else
        snprintf(out, 128, "%s.%s", arch_name(b->header->arch), name);
}

static void put_edit(struct builder *b, const struct edit *edit) {
    char key[128];
    key_of(b, edit->name, key);
    switch (edit->kind) {
    case EDIT_U32:
        gguf_writer_u32(b->w, key, edit->u32);
        break;
    case EDIT_F32:
        gguf_writer_f32(b->w, key, edit->f32);
        break;
    case EDIT_BOOL:
        gguf_writer_bool(b->w, key, edit->u32 != 0);
        break;
    case EDIT_STRING:
        gguf_writer_string(b->w, key, span_of(edit->string));
        break;
    case EDIT_I32S:
        gguf_writer_i32s(b->w, key, edit->i32s, edit->n);
        break;
    default:
        break;
    }
}

static void put_u32(struct builder *b, const char *name, uint32_t value) {
    const struct edit *edit = edit_of(b, name);
    put_edit(b, edit ? edit : &(struct edit){.kind = EDIT_U32, .name = name, .u32 = value});
}

static void put_f32(struct builder *b, const char *name, float value) {
    const struct edit *edit = edit_of(b, name);
    put_edit(b, edit ? edit : &(struct edit){.kind = EDIT_F32, .name = name, .f32 = value});
}

static void put_string(struct builder *b, const char *name, const char *value) {
    const struct edit *edit = edit_of(b, name);
    put_edit(b, edit ? edit : &(struct edit){.kind = EDIT_STRING, .name = name, .string = value});
}

static void put_tensor(struct builder *b, const char *name, enum dtype dtype, uint64_t a,
                       uint64_t second, uint64_t third) {
    uint64_t shape[4] = {a, second, third, 0};
    const struct edit *edit = edit_of(b, name);
    if (edit && edit->kind == EDIT_DROP)
        return;
    if (edit && edit->kind == EDIT_DTYPE)
        dtype = edit->dtype;
    if (edit && edit->kind == EDIT_RENAME)
        name = edit->string;
    if (edit && edit->kind == EDIT_SHAPE)
        memcpy(shape, edit->shape, sizeof shape);
    uint32_t n = 0;
    while (n < 4 && shape[n])
        n++;
    gguf_writer_tensor(b->w, name, dtype, n, shape);
}

static void put_in_block(struct builder *b, uint32_t block, const char *suffix, enum dtype dtype,
                         uint64_t a, uint64_t second, uint64_t third) {
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s", block, suffix);
    put_tensor(b, name, dtype, a, second, third);
}

static bool is_moe(const struct builder *b) {
    return b->header->arch != ARCH_QWEN35;
}

static bool has_gdn(const struct builder *b) {
    return b->header->arch != ARCH_QWEN3MOE;
}

static bool has_sections(const struct builder *b) {
    return b->header->arch == ARCH_QWEN35 || b->header->arch == ARCH_QWEN35MOE;
}

static void put_keys(struct builder *b) {
    put_string(b, "general.architecture", arch_name(b->header->arch));
    put_u32(b, "block_count", TINY_LAYERS + b->header->with_mtp);
    put_u32(b, "context_length", 4096);
    put_u32(b, "embedding_length", TINY_D_MODEL);
    put_u32(b, "attention.head_count", TINY_HEADS);
    put_u32(b, "attention.head_count_kv", TINY_KV_HEADS);
    put_u32(b, "attention.key_length", TINY_D_HEAD);
    put_u32(b, "attention.value_length", TINY_D_HEAD);
    put_f32(b, "attention.layer_norm_rms_epsilon", 1e-6f);
    put_f32(b, "rope.freq_base", 1e7f);
    put_u32(b, "rope.dimension_count", TINY_D_HEAD);
    if (has_sections(b)) {
        const struct edit *edit = edit_of(b, "rope.dimension_sections");
        put_edit(b, edit ? edit
                         : &(struct edit){.kind = EDIT_I32S,
                                          .name = "rope.dimension_sections",
                                          .i32s = {6, 5, 5, 0},
                                          .n = 4});
    }
    if (has_gdn(b)) {
        put_u32(b, "ssm.conv_kernel", 4);
        put_u32(b, "ssm.state_size", TINY_D_GDN);
        put_u32(b, "ssm.group_count", TINY_K_HEADS);
        put_u32(b, "ssm.time_step_rank", TINY_V_HEADS);
        put_u32(b, "ssm.inner_size", TINY_V_HEADS * TINY_D_GDN);
        put_u32(b, "full_attention_interval", 4);
    }
    if (is_moe(b)) {
        put_u32(b, "expert_count", TINY_EXPERTS);
        put_u32(b, "expert_used_count", TINY_TOP_K);
        put_u32(b, "expert_feed_forward_length", TINY_D_FF_EXPERT);
    } else {
        put_u32(b, "feed_forward_length", TINY_D_FF);
    }
    if (is_moe(b) && has_gdn(b))
        put_u32(b, "expert_shared_feed_forward_length", TINY_D_FF_SHARED);
    if (b->header->with_mtp)
        put_u32(b, "nextn_predict_layers", 1);
}

static void put_attention(struct builder *b, uint32_t i) {
    uint64_t d_q = TINY_HEADS * TINY_D_HEAD, d_kv = TINY_KV_HEADS * TINY_D_HEAD;
    put_in_block(b, i, "attn_q.weight", DTYPE_F16, has_gdn(b) ? 2 * d_q : d_q, TINY_D_MODEL, 0);
    put_in_block(b, i, "attn_k.weight", DTYPE_F16, d_kv, TINY_D_MODEL, 0);
    put_in_block(b, i, "attn_v.weight", DTYPE_F16, d_kv, TINY_D_MODEL, 0);
    put_in_block(b, i, "attn_q_norm.weight", DTYPE_F32, TINY_D_HEAD, 0, 0);
    put_in_block(b, i, "attn_k_norm.weight", DTYPE_F32, TINY_D_HEAD, 0, 0);
    put_in_block(b, i, "attn_output.weight", DTYPE_F16, TINY_D_MODEL, d_q, 0);
}

static void put_gdn(struct builder *b, uint32_t i) {
    uint64_t d_value = TINY_V_HEADS * TINY_D_GDN, d = TINY_D_MODEL;
    if (b->header->fused) {
        put_in_block(b, i, "ssm_in.weight", DTYPE_F16, TINY_CONV_DIM + d_value, d, 0);
    } else {
        put_in_block(b, i, "attn_qkv.weight", DTYPE_F16, TINY_CONV_DIM, d, 0);
        put_in_block(b, i, "attn_gate.weight", DTYPE_F16, d_value, d, 0);
    }
    if (b->header->fused || b->header->arch == ARCH_QWEN3NEXT) {
        put_in_block(b, i, "ssm_ba.weight", DTYPE_F16, 2 * TINY_V_HEADS, d, 0);
    } else {
        put_in_block(b, i, "ssm_alpha.weight", DTYPE_F32, TINY_V_HEADS, d, 0);
        put_in_block(b, i, "ssm_beta.weight", DTYPE_F32, TINY_V_HEADS, d, 0);
    }
    put_in_block(b, i, "ssm_conv1d.weight", DTYPE_F32, TINY_CONV_DIM, 4, 0);
    put_in_block(b, i, "ssm_dt.bias", DTYPE_F32, TINY_V_HEADS, 0, 0);
    put_in_block(b, i, "ssm_a", DTYPE_F32, TINY_V_HEADS, 0, 0);
    put_in_block(b, i, "ssm_norm.weight", DTYPE_F32, TINY_D_GDN, 0, 0);
    put_in_block(b, i, "ssm_out.weight", DTYPE_F16, d, d_value, 0);
}

static void put_ffn(struct builder *b, uint32_t i) {
    uint64_t d = TINY_D_MODEL, d_ff = TINY_D_FF_EXPERT;
    if (!is_moe(b)) {
        put_in_block(b, i, "ffn_gate.weight", DTYPE_F16, TINY_D_FF, d, 0);
        put_in_block(b, i, "ffn_up.weight", DTYPE_F16, TINY_D_FF, d, 0);
        put_in_block(b, i, "ffn_down.weight", DTYPE_F16, d, TINY_D_FF, 0);
        return;
    }
    put_in_block(b, i, "ffn_gate_inp.weight", DTYPE_F32, TINY_EXPERTS, d, 0);
    if (b->header->fused) {
        put_in_block(b, i, "ffn_gate_up_exps.weight", DTYPE_F16, TINY_EXPERTS, 2 * d_ff, d);
    } else {
        put_in_block(b, i, "ffn_gate_exps.weight", DTYPE_F16, TINY_EXPERTS, d_ff, d);
        put_in_block(b, i, "ffn_up_exps.weight", DTYPE_F16, TINY_EXPERTS, d_ff, d);
    }
    put_in_block(b, i, "ffn_down_exps.weight", DTYPE_F16, TINY_EXPERTS, d, d_ff);
    if (!has_gdn(b))
        return;
    put_in_block(b, i, "ffn_gate_inp_shexp.weight", DTYPE_F32, d, 0, 0);
    put_in_block(b, i, "ffn_gate_shexp.weight", DTYPE_F16, TINY_D_FF_SHARED, d, 0);
    put_in_block(b, i, "ffn_up_shexp.weight", DTYPE_F16, TINY_D_FF_SHARED, d, 0);
    put_in_block(b, i, "ffn_down_shexp.weight", DTYPE_F16, d, TINY_D_FF_SHARED, 0);
}

static void put_layer(struct builder *b, uint32_t i, bool attention) {
    put_in_block(b, i, "attn_norm.weight", DTYPE_F32, TINY_D_MODEL, 0, 0);
    if (attention)
        put_attention(b, i);
    else
        put_gdn(b, i);
    const char *ffn_norm = has_gdn(b) ? "post_attention_norm.weight" : "ffn_norm.weight";
    put_in_block(b, i, ffn_norm, DTYPE_F32, TINY_D_MODEL, 0, 0);
    put_ffn(b, i);
}

static void put_tensors(struct builder *b) {
    uint64_t d = TINY_D_MODEL;
    put_tensor(b, "token_embd.weight", DTYPE_F16, TINY_VOCAB, d, 0);
    put_tensor(b, "output_norm.weight", DTYPE_F32, d, 0, 0);
    if (!b->header->tied)
        put_tensor(b, "output.weight", DTYPE_Q8_0, TINY_VOCAB, d, 0);
    for (uint32_t i = 0; i < TINY_LAYERS; i++)
        put_layer(b, i, !has_gdn(b) || i % 4 == 3);
    if (!b->header->with_mtp)
        return;
    put_layer(b, TINY_LAYERS, true);
    put_in_block(b, TINY_LAYERS, "nextn.eh_proj.weight", DTYPE_F16, d, 2 * d, 0);
    put_in_block(b, TINY_LAYERS, "nextn.enorm.weight", DTYPE_F32, d, 0, 0);
    put_in_block(b, TINY_LAYERS, "nextn.hnorm.weight", DTYPE_F32, d, 0, 0);
    put_in_block(b, TINY_LAYERS, "nextn.shared_head_norm.weight", DTYPE_F32, d, 0, 0);
}

void model_header_describe(struct gguf_writer *w, const struct model_header *header) {
    struct builder b = {.w = w, .header = header};
    put_keys(&b);
    put_tensors(&b);
    const struct edit *edit = header->edits;
    for (uint32_t i = 0; edit && edit->kind != EDIT_END; i++, edit++) {
        assert(i < sizeof b.used);
        if (edit->kind == EDIT_TENSOR)
            gguf_writer_tensor(w, edit->name, edit->dtype, edit->n, edit->shape);
        else if (!b.used[i])
            put_edit(&b, edit);
    }
}

void model_header_bytes(struct text *out, const struct model_header *header) {
    struct gguf_writer w;
    gguf_writer_init(&w);
    model_header_describe(&w, header);
    enum status status = gguf_writer_header(&w, out, NULL);
    char *data = text_reserve(out, w.data_bytes);
    assert(status == OK && data);
    (void)status;
    memset(data, 0, w.data_bytes);
    text_grew(out, w.data_bytes);
    gguf_writer_free(&w);
}
