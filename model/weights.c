/* SPDX-License-Identifier: Apache-2.0 */
/* Names to places. The order of the calls is the order of a layer, so that the first tensor that is
 * missing is the first one a reader of the network would miss. */
#include "model/weights.h"

#include "tensor/f16.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONV_TAPS 4

/* Block index of tensors that belong to no block. */
#define NO_BLOCK UINT32_MAX

struct binder {
    const struct gguf *gguf;
    const struct hparams *hp;
    struct arena *arena;
    uint64_t bytes;
    uint8_t *is_bound; /* [gguf->n_tensors] */
    char name[64];     /* of the tensor looked up last, for messages */
    struct error *err;
};

/* What the network wants at a place; unused dimensions are 0. */
struct shape {
    uint64_t dims[3]; /* outermost first */
};

static uint32_t shape_n_dims(const struct shape *shape) {
    return shape->dims[2] ? 3 : shape->dims[1] ? 2 : 1;
}

static const struct gguf_tensor *look_up(struct binder *b, uint32_t block, const char *suffix) {
    if (block == NO_BLOCK)
        snprintf(b->name, sizeof b->name, "%s", suffix);
    else
        snprintf(b->name, sizeof b->name, "blk.%" PRIu32 ".%s", block, suffix);
    return gguf_find_tensor(b->gguf, b->name);
}

static bool has(struct binder *b, uint32_t block, const char *suffix) {
    return look_up(b, block, suffix) != NULL;
}

/* Writers keep or drop outer dimensions of 1 as they like; they change no byte. */
static bool shape_matches(const struct tensor *tensor, const struct shape *shape) {
    uint32_t n = shape_n_dims(shape), at = 0, skip = 0;
    while (at + 1 < tensor->n_dims && tensor->shape[at] == 1)
        at++;
    while (skip + 1 < n && shape->dims[skip] == 1)
        skip++;
    if (tensor->n_dims - at != n - skip)
        return false;
    for (; skip < n; skip++, at++) {
        if (tensor->shape[at] != shape->dims[skip])
            return false;
    }
    return true;
}

static void shape_text(char out[96], const uint64_t *dims, uint32_t n) {
    size_t at = 0;
    for (uint32_t i = 0; i < n && at < 96; i++) {
        int len = snprintf(out + at, 96 - at, "%s%" PRIu64, i ? ", " : "[", dims[i]);
        at += len > 0 ? (size_t)len : 0;
    }
    if (at < 96)
        snprintf(out + at, 96 - at, "]");
}

/* Finds a tensor and checks shape and type. */
static enum status find(struct binder *b, uint32_t block, const char *suffix, struct shape shape,
                        struct tensor *out) {
    const struct gguf_tensor *found = look_up(b, block, suffix);
    char expected[96], actual[96];
    uint32_t n = shape_n_dims(&shape);
    shape_text(expected, shape.dims, n);
    if (!found) {
        return error_set(b->err, ERR_INPUT, "%s: tensor '%s' is missing, %s is expected",
                         b->gguf->parts[0].path, b->name, expected);
    }
    const char *path = b->gguf->parts[found->part].path;
    const struct tensor *tensor = &found->tensor;
    if (!shape_matches(tensor, &shape)) {
        shape_text(actual, tensor->shape, tensor->n_dims);
        return error_set(b->err, ERR_INPUT, "%s: tensor '%s': has shape %s, must be %s", path,
                         b->name, actual, expected);
    }
    if (tensor->dtype >= DTYPE_N_COMPUTE) {
        return error_set(b->err, ERR_UNSUPPORTED, "%s: tensor '%s': type %s is not supported", path,
                         b->name, dtype_info(tensor->dtype)->name);
    }
    *out = *tensor;
    out->n_dims = n;
    for (uint32_t i = 0; i < TENSOR_DIMS_MAX; i++)
        out->shape[i] = i < n ? shape.dims[i] : 1;
    b->bytes += tensor->bytes;
    b->is_bound[found - b->gguf->tensors] = 1;
    return OK;
}

static enum status bind_matrix(struct binder *b, uint32_t block, const char *suffix,
                               uint64_t n_rows, uint64_t n_columns, struct tensor *out) {
    return find(b, block, suffix, (struct shape){{n_rows, n_columns}}, out);
}

static enum status bind_experts(struct binder *b, uint32_t block, const char *suffix,
                                uint64_t n_rows, uint64_t n_columns, struct tensor *out) {
    return find(b, block, suffix, (struct shape){{b->hp->n_experts, n_rows, n_columns}}, out);
}

/* What kernels read as float, in the arena: small, read in every step, and scattered over the file,
 * where each would keep up to two megabytes around it mapped (huge pages of the page cache). */
static enum status bind_floats(struct binder *b, uint32_t block, const char *suffix,
                               struct shape shape, const float **out) {
    struct tensor tensor;
    TRY(find(b, block, suffix, shape, &tensor));
    if (tensor.dtype > DTYPE_BF16) {
        return error_set(b->err, ERR_UNSUPPORTED,
                         "%s: tensor '%s': type %s is not supported here, only F32, F16 and BF16",
                         b->gguf->parts[0].path, b->name, dtype_info(tensor.dtype)->name);
    }
    if (b->gguf->header_only)
        return OK;
    uint64_t n = tensor.bytes / dtype_info(tensor.dtype)->block_bytes;
    float *floats = arena_array(b->arena, n, sizeof *floats);
    if (!floats) {
        return error_set(b->err, ERR_NOMEM, "%s: tensor '%s': no memory for %" PRIu64 " floats",
                         b->gguf->parts[0].path, b->name, n);
    }
    const uint16_t *halves = tensor.data;
    if (tensor.dtype == DTYPE_F32)
        memcpy(floats, tensor.data, tensor.bytes);
    for (uint64_t i = 0; i < n && tensor.dtype != DTYPE_F32; i++)
        floats[i] = tensor.dtype == DTYPE_F16 ? f16_to_f32(halves[i]) : bf16_to_f32(halves[i]);
    *out = floats;
    return OK;
}

static enum status bind_vector(struct binder *b, uint32_t block, const char *suffix, uint64_t n,
                               const float **out) {
    return bind_floats(b, block, suffix, (struct shape){{n}}, out);
}

static enum status bind_attention(struct binder *b, uint32_t block, struct attention_weights *w) {
    const struct hparams *hp = b->hp;
    uint64_t d_q = (uint64_t)hp->n_heads * hp->d_head, d_kv = (uint64_t)hp->n_kv_heads * hp->d_head;
    uint64_t q_rows = hp->attention_gate ? 2 * d_q : d_q;
    TRY(bind_matrix(b, block, "attn_q.weight", q_rows, hp->d_model, &w->q));
    TRY(bind_matrix(b, block, "attn_k.weight", d_kv, hp->d_model, &w->k));
    TRY(bind_matrix(b, block, "attn_v.weight", d_kv, hp->d_model, &w->v));
    TRY(bind_vector(b, block, "attn_q_norm.weight", hp->d_head, &w->q_norm));
    TRY(bind_vector(b, block, "attn_k_norm.weight", hp->d_head, &w->k_norm));
    return bind_matrix(b, block, "attn_output.weight", hp->d_model, d_q, &w->output);
}

static enum status bind_gdn(struct binder *b, uint32_t block, struct gdn_weights *w) {
    const struct hparams *hp = b->hp;
    uint64_t d_value = (uint64_t)hp->n_v_heads * hp->d_v;
    /* The fused forms are grouped per key head, so they occur only where value heads are. */
    if (hp->v_heads_grouped && has(b, block, "ssm_in.weight")) {
        TRY(bind_matrix(b, block, "ssm_in.weight", hp->conv_dim + d_value, hp->d_model, &w->qkvz));
    } else {
        TRY(bind_matrix(b, block, "attn_qkv.weight", hp->conv_dim, hp->d_model, &w->qkv));
        TRY(bind_matrix(b, block, "attn_gate.weight", d_value, hp->d_model, &w->z));
    }
    if (hp->v_heads_grouped && has(b, block, "ssm_ba.weight")) {
        TRY(bind_matrix(b, block, "ssm_ba.weight", 2 * hp->n_v_heads, hp->d_model, &w->ba));
    } else {
        TRY(bind_matrix(b, block, "ssm_alpha.weight", hp->n_v_heads, hp->d_model, &w->alpha));
        TRY(bind_matrix(b, block, "ssm_beta.weight", hp->n_v_heads, hp->d_model, &w->beta));
    }
    TRY(bind_floats(b, block, "ssm_conv1d.weight", (struct shape){{hp->conv_dim, CONV_TAPS}},
                    &w->conv));
    const char *dt_bias = has(b, block, "ssm_dt") ? "ssm_dt" : "ssm_dt.bias";
    TRY(bind_vector(b, block, dt_bias, hp->n_v_heads, &w->dt_bias));
    TRY(bind_vector(b, block, "ssm_a", hp->n_v_heads, &w->a));
    TRY(bind_vector(b, block, "ssm_norm.weight", hp->d_v, &w->norm));
    return bind_matrix(b, block, "ssm_out.weight", hp->d_model, d_value, &w->out);
}

static enum status bind_moe(struct binder *b, uint32_t block, struct ffn_weights *w) {
    const struct hparams *hp = b->hp;
    uint64_t d = hp->d_model, d_ff = hp->d_ff_expert, d_shared = hp->d_ff_shared;
    TRY(bind_matrix(b, block, "ffn_gate_inp.weight", hp->n_experts, d, &w->router));
    if (has(b, block, "ffn_gate_up_exps.weight")) {
        TRY(bind_experts(b, block, "ffn_gate_up_exps.weight", 2 * d_ff, d, &w->gate_up_exps));
    } else {
        TRY(bind_experts(b, block, "ffn_gate_exps.weight", d_ff, d, &w->gate_exps));
        TRY(bind_experts(b, block, "ffn_up_exps.weight", d_ff, d, &w->up_exps));
    }
    TRY(bind_experts(b, block, "ffn_down_exps.weight", d, d_ff, &w->down_exps));
    if (d_shared == 0)
        return OK;
    TRY(bind_vector(b, block, "ffn_gate_inp_shexp.weight", d, &w->shared_gate));
    TRY(bind_matrix(b, block, "ffn_gate_shexp.weight", d_shared, d, &w->gate_shared));
    TRY(bind_matrix(b, block, "ffn_up_shexp.weight", d_shared, d, &w->up_shared));
    return bind_matrix(b, block, "ffn_down_shexp.weight", d, d_shared, &w->down_shared);
}

static enum status bind_dense(struct binder *b, uint32_t block, struct ffn_weights *w) {
    uint64_t d = b->hp->d_model, d_ff = b->hp->d_ff;
    TRY(bind_matrix(b, block, "ffn_gate.weight", d_ff, d, &w->gate));
    TRY(bind_matrix(b, block, "ffn_up.weight", d_ff, d, &w->up));
    return bind_matrix(b, block, "ffn_down.weight", d, d_ff, &w->down);
}

static enum status bind_layer(struct binder *b, uint32_t block, enum mixer mixer,
                              struct layer_weights *w) {
    const struct hparams *hp = b->hp;
    const char *ffn_norm =
        hp->arch == ARCH_QWEN3MOE ? "ffn_norm.weight" : "post_attention_norm.weight";
    w->mixer = mixer;
    TRY(bind_vector(b, block, "attn_norm.weight", hp->d_model, &w->attn_norm));
    if (mixer == MIXER_ATTENTION)
        TRY(bind_attention(b, block, &w->attention));
    else
        TRY(bind_gdn(b, block, &w->gdn));
    TRY(bind_vector(b, block, ffn_norm, hp->d_model, &w->ffn_norm));
    return hp->n_experts ? bind_moe(b, block, &w->ffn) : bind_dense(b, block, &w->ffn);
}

static enum status bind_mtp(struct binder *b, struct weights *w) {
    const struct hparams *hp = b->hp;
    uint32_t block = hp->n_layers;
    struct mtp_weights *mtp = arena_alloc(b->arena, sizeof *mtp);
    if (!mtp)
        return error_set(b->err, ERR_NOMEM, "no memory for the MTP block");
    uint64_t d = hp->d_model;
    TRY(bind_matrix(b, block, "nextn.eh_proj.weight", d, 2 * d, &mtp->eh_proj));
    TRY(bind_vector(b, block, "nextn.enorm.weight", d, &mtp->enorm));
    TRY(bind_vector(b, block, "nextn.hnorm.weight", d, &mtp->hnorm));
    mtp->head_norm = w->output_norm;
    if (has(b, block, "nextn.shared_head_norm.weight"))
        TRY(bind_vector(b, block, "nextn.shared_head_norm.weight", d, &mtp->head_norm));
    w->mtp = mtp;
    return bind_layer(b, block, MIXER_ATTENTION, &mtp->layer);
}

enum status weights_bind(struct weights *w, const struct gguf *gguf, const struct hparams *hp,
                         bool with_mtp, struct arena *arena, struct error *err) {
    *w = (struct weights){.gguf = gguf};
    struct binder b = {.gguf = gguf, .hp = hp, .arena = arena, .err = err};
    w->layers = arena_array(arena, hp->n_layers, sizeof *w->layers);
    b.is_bound = arena_alloc(arena, gguf->n_tensors);
    if (!w->layers || !b.is_bound)
        return error_set(err, ERR_NOMEM, "no memory for %" PRIu32 " layers", hp->n_layers);
    TRY(bind_matrix(&b, NO_BLOCK, "token_embd.weight", hp->n_vocab, hp->d_model, &w->token_embd));
    TRY(bind_vector(&b, NO_BLOCK, "output_norm.weight", hp->d_model, &w->output_norm));
    w->output = w->token_embd;
    if (has(&b, NO_BLOCK, "output.weight"))
        TRY(bind_matrix(&b, NO_BLOCK, "output.weight", hp->n_vocab, hp->d_model, &w->output));
    for (uint32_t i = 0; i < hp->n_layers; i++)
        TRY(bind_layer(&b, i, (enum mixer)hp->mixers[i], &w->layers[i]));
    if (with_mtp && hp->n_mtp_layers)
        TRY(bind_mtp(&b, w));
    w->bytes = b.bytes;
    w->is_bound = b.is_bound;
    return OK;
}

struct matrix tensor_matrix(const struct tensor *tensor) {
    return (struct matrix){.dtype = tensor->dtype,
                           .d_out = (uint32_t)tensor->shape[0],
                           .d_in = (uint32_t)tensor->shape[1],
                           .row_bytes = dtype_row_bytes(tensor->dtype, tensor->shape[1]),
                           .data = tensor->data};
}
