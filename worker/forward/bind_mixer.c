/* SPDX-License-Identifier: Apache-2.0 */
/* The mixers' matrices: which heads a rank holds follows from its parts of the out-projection, and
 * with the heads the rows of everything before it. */
#include "worker/forward/bind.h"

static struct ksplit_units head_units(const struct hparams *hp) {
    return (struct ksplit_units){.width = hp->d_head, .n_units = hp->n_heads, .n_repeats = 1};
}

enum status bind_attention_heads(const struct binder *b, const struct attention_weights *w,
                                 struct index_range *heads) {
    const struct hparams *hp = b->hp;
    struct row_parallel output;
    *heads = (struct index_range){0, hp->n_heads};
    if (!bind_is_cut(b))
        return OK;
    TRY(bind_parts(b, &output, &w->output, head_units(hp), b->attention, "attn_output"));
    const struct cut *columns = &output.linear.columns;
    *heads = (struct index_range){0, 0};
    if (columns->n_runs > 0)
        *heads = (struct index_range){columns->runs[0].begin / hp->d_head,
                                      columns->runs[0].end / hp->d_head};
    return OK;
}

enum status bind_attention(const struct binder *b, struct bound_attention *out,
                           const struct attention_weights *w, uint32_t kv_layer_idx) {
    const struct hparams *hp = b->hp;
    uint32_t d_q = (hp->attention_gate ? 2 : 1) * hp->d_head, d = hp->d_head;
    struct index_range heads;
    TRY(bind_attention_heads(b, w, &heads));
    struct krun q = {heads.begin * d_q, heads.end * d_q};
    struct krun kv = {b->kv_heads.begin * d, b->kv_heads.end * d};
    if (heads.begin == heads.end)
        kv.end = kv.begin; /* nobody here reads them */
    out->q_norm = w->q_norm;
    out->k_norm = w->k_norm;
    out->kv_layer_idx = kv_layer_idx;
    out->n_heads = heads.end - heads.begin;
    out->first_head = heads.begin - b->kv_heads.begin * (hp->n_heads / hp->n_kv_heads);
    TRY(bind_whole(b, &out->q, &w->q, "attn_q"));
    TRY(bind_whole(b, &out->k, &w->k, "attn_k"));
    TRY(bind_whole(b, &out->v, &w->v, "attn_v"));
    TRY(bind_keep_rows(b, &out->q, &q, 1));
    TRY(bind_keep_rows(b, &out->k, &kv, 1));
    TRY(bind_keep_rows(b, &out->v, &kv, 1));
    return bind_parts(b, &out->output, &w->output, head_units(hp), b->attention, "attn_output");
}

static struct ksplit_units key_head_units(const struct hparams *hp) {
    uint32_t repeats = hp->n_v_heads / hp->n_k_heads;
    if (hp->v_heads_grouped)
        return (struct ksplit_units){
            .width = repeats * hp->d_v, .n_units = hp->n_k_heads, .n_repeats = 1};
    return (struct ksplit_units){.width = hp->d_v,
                                 .n_units = hp->n_k_heads,
                                 .n_repeats = repeats,
                                 .stride = hp->n_k_heads * hp->d_v};
}

/* The key heads of this rank. In a file the value heads of key heads i, i + 1, ... lie together, or
 * so do those that are the first of their key head, the second, and so on. */
static struct index_range own_key_heads(const struct binder *b, const struct row_parallel *out) {
    const struct hparams *hp = b->hp;
    const struct cut *columns = &out->linear.columns;
    uint32_t width = key_head_units(hp).width;
    if (!bind_is_cut(b))
        return (struct index_range){0, hp->n_k_heads};
    if (columns->n_runs == 0)
        return (struct index_range){0, 0};
    struct krun run = columns->runs[0];
    struct index_range heads = {run.begin / width, run.end / width};
    if (heads.end > hp->n_k_heads)
        heads.end = hp->n_k_heads; /* all of them: their repeats touch */
    return heads;
}

/* Rows that belong to value heads, `width` of each, behind `first`: one run per repeat. */
static uint32_t value_runs(const struct binder *b, struct index_range key_heads, uint32_t first,
                           uint32_t width, struct krun *runs) {
    const struct hparams *hp = b->hp;
    uint32_t repeats = hp->n_v_heads / hp->n_k_heads;
    if (hp->v_heads_grouped) {
        runs[0] = (struct krun){first + key_heads.begin * repeats * width,
                                first + key_heads.end * repeats * width};
        return 1;
    }
    for (uint32_t j = 0; j < repeats; j++)
        runs[j] = (struct krun){first + (j * hp->n_k_heads + key_heads.begin) * width,
                                first + (j * hp->n_k_heads + key_heads.end) * width};
    return repeats;
}

/* The rows of a delta net's in-projections that this rank keeps. */
struct gdn_rows_kept {
    struct krun *qkv, *z, *heads;
    uint32_t n_qkv, n_z, n_heads;
};

static enum status find_rows(const struct binder *b, struct index_range key_heads,
                             struct gdn_rows_kept *rows) {
    const struct hparams *hp = b->hp;
    uint32_t repeats = hp->n_v_heads / hp->n_k_heads, d_keys = hp->n_k_heads * hp->d_k;
    struct krun *runs = arena_array(b->arena, 3 * (size_t)repeats + 2, sizeof *runs);
    if (!runs)
        return error_set(b->err, ERR_NOMEM, "no memory for a rank's share of a delta net");
    rows->qkv = runs;
    rows->qkv[0] = (struct krun){key_heads.begin * hp->d_k, key_heads.end * hp->d_k};
    rows->qkv[1] =
        (struct krun){d_keys + key_heads.begin * hp->d_k, d_keys + key_heads.end * hp->d_k};
    rows->n_qkv = 2 + value_runs(b, key_heads, 2 * d_keys, hp->d_v, rows->qkv + 2);
    rows->z = rows->qkv + rows->n_qkv;
    rows->n_z = value_runs(b, key_heads, 0, hp->d_v, rows->z);
    rows->heads = rows->z + rows->n_z;
    rows->n_heads = value_runs(b, key_heads, 0, 1, rows->heads);
    return OK;
}

/* Projections that are grouped per key head are cut as they lie. */
static struct krun grouped_run(struct index_range key_heads, uint32_t width) {
    return (struct krun){key_heads.begin * width, key_heads.end * width};
}

static enum status bind_gdn_inputs(const struct binder *b, struct bound_gdn *out,
                                   const struct gdn_weights *w, struct index_range key_heads,
                                   const struct gdn_rows_kept *rows) {
    const struct hparams *hp = b->hp;
    uint32_t repeats = hp->n_v_heads / hp->n_k_heads;
    struct krun qkvz = grouped_run(key_heads, 2 * hp->d_k + 2 * repeats * hp->d_v);
    struct krun ba = grouped_run(key_heads, 2 * repeats);
    if (out->fused_qkvz) {
        TRY(bind_whole(b, &out->qkvz, &w->qkvz, "ssm_in"));
        TRY(bind_keep_rows(b, &out->qkvz, &qkvz, 1));
    } else {
        TRY(bind_whole(b, &out->qkv, &w->qkv, "attn_qkv"));
        TRY(bind_whole(b, &out->z, &w->z, "attn_gate"));
        TRY(bind_keep_rows(b, &out->qkv, rows->qkv, rows->n_qkv));
        TRY(bind_keep_rows(b, &out->z, rows->z, rows->n_z));
    }
    if (out->fused_ba) {
        TRY(bind_whole(b, &out->ba, &w->ba, "ssm_ba"));
        return bind_keep_rows(b, &out->ba, &ba, 1);
    }
    TRY(bind_whole(b, &out->alpha, &w->alpha, "ssm_alpha"));
    TRY(bind_whole(b, &out->beta, &w->beta, "ssm_beta"));
    TRY(bind_keep_rows(b, &out->alpha, rows->heads, rows->n_heads));
    return bind_keep_rows(b, &out->beta, rows->heads, rows->n_heads);
}

enum status bind_gdn(const struct binder *b, struct bound_gdn *out, const struct gdn_weights *w,
                     uint32_t state_layer_idx) {
    const struct hparams *hp = b->hp;
    struct gdn_rows_kept rows = {0};
    *out = (struct bound_gdn){.fused_qkvz = w->qkvz.n_dims > 0,
                              .fused_ba = w->ba.n_dims > 0,
                              .conv = w->conv,
                              .a = w->a,
                              .dt_bias = w->dt_bias,
                              .norm = w->norm,
                              .state_layer_idx = state_layer_idx};
    TRY(bind_parts(b, &out->out, &w->out, key_head_units(hp), b->gdn, "ssm_out"));
    struct index_range key_heads = own_key_heads(b, &out->out);
    out->n_k_heads = key_heads.end - key_heads.begin;
    out->n_v_heads = out->n_k_heads * (hp->n_v_heads / hp->n_k_heads);
    out->conv_dim = 2 * out->n_k_heads * hp->d_k + out->n_v_heads * hp->d_v;
    TRY(find_rows(b, key_heads, &rows));
    TRY(bind_gdn_inputs(b, out, w, key_heads, &rows));
    if (!bind_is_cut(b))
        return OK;
    struct cut qkv = {.runs = rows.qkv, .n_runs = rows.n_qkv};
    struct cut heads = {.runs = rows.heads, .n_runs = rows.n_heads};
    TRY(cut_copy_floats(&out->conv, GDN_CONV_TAPS, &qkv, b->arena, b->err));
    TRY(cut_copy_floats(&out->a, 1, &heads, b->arena, b->err));
    return cut_copy_floats(&out->dt_bias, 1, &heads, b->arena, b->err);
}
