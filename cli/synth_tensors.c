/* SPDX-License-Identifier: Apache-2.0 */
/* Weights have the standard deviation 1/sqrt(d_in), so that a layer keeps the size of what passes
 * through; what is added to the residual has half of that, so that 60 layers stay finite and no
 * layer drowns the others. */
#include "cli/synth_tensors.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* More than any block has. */
#define BLOCK_TENSORS_MAX 24

#define RESIDUAL_GAIN 0.5f

struct lister {
    struct synth_tensors *tensors;
    const struct hparams *hp;
    const struct synth_recipe *recipe;
    bool tied;
    uint32_t room;
    uint32_t block;   /* the current one; UINT32_MAX outside */
    uint32_t n_downs; /* "down" tensors so far */
};

static struct synth_tensor *add(struct lister *l, const char *suffix, enum tensor_class class,
                                uint64_t a, uint64_t b, uint64_t c) {
    assert(l->tensors->n < l->room);
    struct synth_tensor *t = &l->tensors->list[l->tensors->n++];
    if (l->block == UINT32_MAX)
        snprintf(t->name, sizeof t->name, "%s", suffix);
    else
        snprintf(t->name, sizeof t->name, "blk.%u.%s", l->block, suffix);
    t->shape[0] = a;
    t->shape[1] = b;
    t->shape[2] = c;
    t->n_dims = c ? 3 : b ? 2 : 1;
    uint64_t row = t->shape[t->n_dims - 1], n = a * (b ? b : 1) * (c ? c : 1);
    struct recipe_place place = {.class = class,
                                 .block_idx = l->block,
                                 .n_blocks = l->hp->n_layers + l->hp->n_mtp_layers,
                                 .down_idx = l->n_downs,
                                 .row = row};
    /* A tied embedding is the head too, and gets the head's type. */
    if (class == CLASS_EMBEDDING && l->tied)
        place.class = CLASS_OUTPUT;
    t->dtype = synth_recipe_dtype(l->recipe, &place);
    const struct dtype_info *info = dtype_info(t->dtype);
    t->n_blocks = n / info->block_elements;
    t->bytes = t->n_blocks * info->block_bytes;
    t->values = VALUES_WEIGHT;
    t->std = 1 / sqrtf((float)row);
    l->n_downs += class == CLASS_FFN_DOWN || class == CLASS_EXPERTS_DOWN;
    l->tensors->bytes += t->bytes;
    l->tensors->n_params += n;
    return t;
}

static void add_values(struct lister *l, const char *suffix, uint64_t n, enum synth_values values) {
    add(l, suffix, CLASS_F32, n, 0, 0)->values = values;
}

static void add_norm(struct lister *l, const char *suffix, uint64_t n) {
    add_values(l, suffix, n, VALUES_NORM);
}

/* A matrix whose product is added to the residual. */
static void add_out(struct lister *l, const char *suffix, enum tensor_class class, uint64_t a,
                    uint64_t b, uint64_t c) {
    add(l, suffix, class, a, b, c)->std *= RESIDUAL_GAIN;
}

static void add_attention(struct lister *l) {
    const struct hparams *hp = l->hp;
    uint64_t d_q = (uint64_t)hp->n_heads * hp->d_head, d_kv = (uint64_t)hp->n_kv_heads * hp->d_head;
    add(l, "attn_q.weight", CLASS_ATTN, hp->attention_gate ? 2 * d_q : d_q, hp->d_model, 0);
    add(l, "attn_k.weight", CLASS_ATTN, d_kv, hp->d_model, 0);
    add(l, "attn_v.weight", CLASS_ATTN_V, d_kv, hp->d_model, 0);
    add_out(l, "attn_output.weight", CLASS_ATTN_OUT, hp->d_model, d_q, 0);
    add_norm(l, "attn_q_norm.weight", hp->d_head);
    add_norm(l, "attn_k_norm.weight", hp->d_head);
}

static void add_gdn(struct lister *l) {
    const struct hparams *hp = l->hp;
    uint64_t d = hp->d_model, d_value = (uint64_t)hp->n_v_heads * hp->d_v;
    add(l, "attn_qkv.weight", CLASS_ATTN_V, hp->conv_dim, d, 0);
    add(l, "attn_gate.weight", CLASS_ATTN, d_value, d, 0);
    add(l, "ssm_conv1d.weight", CLASS_F32, hp->conv_dim, 4, 0);
    add_values(l, "ssm_dt.bias", hp->n_v_heads, VALUES_DT_BIAS);
    add_values(l, "ssm_a", hp->n_v_heads, VALUES_SSM_A);
    if (hp->arch == ARCH_QWEN3NEXT) {
        add(l, "ssm_ba.weight", CLASS_SSM_GATES, 2 * hp->n_v_heads, d, 0);
    } else {
        add(l, "ssm_alpha.weight", CLASS_SSM_GATES, hp->n_v_heads, d, 0);
        add(l, "ssm_beta.weight", CLASS_SSM_GATES, hp->n_v_heads, d, 0);
    }
    add_norm(l, "ssm_norm.weight", hp->d_v);
    add_out(l, "ssm_out.weight", CLASS_SSM_OUT, d, d_value, 0);
}

static void add_ffn(struct lister *l) {
    const struct hparams *hp = l->hp;
    uint64_t d = hp->d_model, n = hp->n_experts, d_ff = hp->d_ff_expert, d_shared = hp->d_ff_shared;
    if (n == 0) {
        add(l, "ffn_gate.weight", CLASS_FFN, hp->d_ff, d, 0);
        add(l, "ffn_up.weight", CLASS_FFN, hp->d_ff, d, 0);
        add_out(l, "ffn_down.weight", CLASS_FFN_DOWN, d, hp->d_ff, 0);
        return;
    }
    add(l, "ffn_gate_inp.weight", CLASS_F32, n, d, 0);
    add(l, "ffn_gate_exps.weight", CLASS_EXPERTS, n, d_ff, d);
    add(l, "ffn_up_exps.weight", CLASS_EXPERTS, n, d_ff, d);
    add_out(l, "ffn_down_exps.weight", CLASS_EXPERTS_DOWN, n, d, d_ff);
    if (d_shared == 0)
        return;
    add(l, "ffn_gate_inp_shexp.weight", CLASS_F32, d, 0, 0);
    add(l, "ffn_gate_shexp.weight", CLASS_FFN, d_shared, d, 0);
    add(l, "ffn_up_shexp.weight", CLASS_FFN, d_shared, d, 0);
    add_out(l, "ffn_down_shexp.weight", CLASS_FFN_DOWN, d, d_shared, 0);
}

static void add_block(struct lister *l, uint32_t block, enum mixer mixer) {
    l->block = block;
    add_norm(l, "attn_norm.weight", l->hp->d_model);
    if (mixer == MIXER_ATTENTION)
        add_attention(l);
    else
        add_gdn(l);
    const char *ffn_norm =
        l->hp->arch == ARCH_QWEN3MOE ? "ffn_norm.weight" : "post_attention_norm.weight";
    add_norm(l, ffn_norm, l->hp->d_model);
    add_ffn(l);
}

static void add_mtp(struct lister *l) {
    uint64_t d = l->hp->d_model;
    add_block(l, l->hp->n_layers, MIXER_ATTENTION);
    add(l, "nextn.eh_proj.weight", CLASS_OTHER, d, 2 * d, 0);
    add_norm(l, "nextn.enorm.weight", d);
    add_norm(l, "nextn.hnorm.weight", d);
    add_norm(l, "nextn.shared_head_norm.weight", d);
}

enum status synth_tensors_init(struct synth_tensors *tensors, const struct hparams *hp, bool tied,
                               const struct synth_recipe *recipe, struct arena *arena,
                               struct error *err) {
    *tensors = (struct synth_tensors){0};
    struct lister l = {.tensors = tensors,
                       .hp = hp,
                       .recipe = recipe,
                       .tied = tied,
                       .room = (hp->n_layers + 2) * BLOCK_TENSORS_MAX,
                       .block = UINT32_MAX};
    tensors->list = arena_array(arena, l.room, sizeof *tensors->list);
    if (!tensors->list)
        return error_set(err, ERR_NOMEM, "no memory for the list of %u tensors", l.room);
    uint64_t d = hp->d_model;
    struct synth_tensor *embedding =
        add(&l, "token_embd.weight", CLASS_EMBEDDING, hp->n_vocab, d, 0);
    if (!tied) {
        embedding->std = 1; /* as large as what layers add: a token is not lost among them */
        add(&l, "output.weight", CLASS_OUTPUT, hp->n_vocab, d, 0);
    }
    add_norm(&l, "output_norm.weight", d);
    for (uint32_t i = 0; i < hp->n_layers; i++)
        add_block(&l, i, (enum mixer)hp->mixers[i]);
    if (hp->n_mtp_layers)
        add_mtp(&l);
    return OK;
}
