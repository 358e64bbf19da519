/* SPDX-License-Identifier: Apache-2.0 */
/* Layer by layer: which columns of its output matrix are the rank's, then the rows that lead to
 * them. */
#include "plan/share_size.h"

#include "base/size.h"
#include "tensor/ksplit.h"

#define CONV_TAPS 4

struct sizer {
    struct share_size *size;
    const struct hparams *hp;
    const struct rank_share *share;
    struct error *err;
};

static uint32_t range_length(struct index_range range) {
    return range.end - range.begin;
}

static uint32_t max_u32(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* Of a matrix that may be absent: some rows, or some columns of all rows. */
static uint64_t rows_bytes(const struct tensor *tensor, uint64_t n_rows) {
    return tensor->n_dims ? n_rows * dtype_row_bytes(tensor->dtype, tensor->shape[1]) : 0;
}

static uint64_t columns_bytes(const struct tensor *tensor, uint64_t n_columns) {
    return tensor->shape[0] * dtype_row_bytes(tensor->dtype, n_columns);
}

static uint64_t floats_bytes(uint64_t n) {
    return n * sizeof(float);
}

/* The units that these parts of an output matrix hold, in columns of the first repeat. */
static enum status own_columns(const struct sizer *s, struct ksplit_units units,
                               const struct tensor *output, struct leaf_range parts,
                               struct index_range *out) {
    struct arena scratch = {0};
    struct ksplit split;
    units.d_in = (uint32_t)output->shape[1];
    units.block = dtype_info(output->dtype)->block_elements;
    *out = (struct index_range){0, 0};
    enum status status = ksplit_init_units(&split, &units, &scratch, s->err);
    if (status != OK)
        goto done;
    uint32_t repeat_end = units.n_repeats > 1 ? units.stride : units.d_in;
    for (uint32_t i = split.part_begin[parts.begin]; i < split.part_begin[parts.end]; i++) {
        struct krun run = split.runs[i];
        if (run.begin >= repeat_end)
            continue;
        if (out->begin == out->end)
            out->begin = run.begin;
        out->end = run.end < repeat_end ? run.end : repeat_end;
    }
done:
    arena_free(&scratch);
    return status;
}

static enum status own_heads(const struct sizer *s, const struct layer_weights *layer,
                             struct index_range *heads) {
    const struct hparams *hp = s->hp;
    struct ksplit_units units = {.width = hp->d_head, .n_units = hp->n_heads, .n_repeats = 1};
    TRY(own_columns(s, units, &layer->attention.output, s->share->attention, heads));
    heads->begin /= hp->d_head;
    heads->end /= hp->d_head;
    return OK;
}

static enum status own_key_heads(const struct sizer *s, const struct layer_weights *layer,
                                 struct index_range *heads) {
    const struct hparams *hp = s->hp;
    uint32_t repeats = hp->n_v_heads / hp->n_k_heads;
    struct ksplit_units units = {.width = hp->d_v,
                                 .n_units = hp->n_k_heads,
                                 .n_repeats = repeats,
                                 .stride = hp->n_k_heads * hp->d_v};
    if (hp->v_heads_grouped)
        units = (struct ksplit_units){
            .width = repeats * hp->d_v, .n_units = hp->n_k_heads, .n_repeats = 1};
    TRY(own_columns(s, units, &layer->gdn.out, s->share->gdn, heads));
    heads->begin /= units.width;
    heads->end /= units.width;
    return OK;
}

/* Widens the KV heads by what the rank's heads of a layer read. */
static enum status add_kv_heads(const struct sizer *s, const struct layer_weights *layer) {
    struct index_range heads, *kv = &s->size->kv_heads;
    uint32_t per_kv = s->hp->n_heads / s->hp->n_kv_heads;
    if (layer->mixer != MIXER_ATTENTION)
        return OK;
    TRY(own_heads(s, layer, &heads));
    if (heads.begin == heads.end)
        return OK;
    struct index_range read = {heads.begin / per_kv, (heads.end - 1) / per_kv + 1};
    if (kv->begin == kv->end)
        *kv = read;
    kv->begin = read.begin < kv->begin ? read.begin : kv->begin;
    kv->end = max_u32(kv->end, read.end);
    return OK;
}

static enum status add_attention(const struct sizer *s, const struct layer_weights *layer) {
    const struct hparams *hp = s->hp;
    const struct attention_weights *w = &layer->attention;
    struct index_range heads;
    TRY(own_heads(s, layer, &heads));
    uint64_t n_heads = range_length(heads);
    uint64_t q_rows = n_heads * hp->d_head * (hp->attention_gate ? 2 : 1);
    uint64_t kv_rows = n_heads ? (uint64_t)range_length(s->size->kv_heads) * hp->d_head : 0;
    s->size->n_heads = max_u32(s->size->n_heads, (uint32_t)n_heads);
    s->size->attention_bytes += rows_bytes(&w->q, q_rows) + rows_bytes(&w->k, kv_rows) +
                                rows_bytes(&w->v, kv_rows) +
                                columns_bytes(&w->output, n_heads * hp->d_head);
    s->size->vectors_bytes += floats_bytes(2 * (uint64_t)hp->d_head);
    return OK;
}

static enum status add_gdn(const struct sizer *s, const struct layer_weights *layer) {
    const struct hparams *hp = s->hp;
    const struct gdn_weights *w = &layer->gdn;
    struct index_range key_heads;
    TRY(own_key_heads(s, layer, &key_heads));
    uint64_t n_k_heads = range_length(key_heads);
    uint64_t n_v_heads = n_k_heads * (hp->n_v_heads / hp->n_k_heads);
    uint64_t conv_dim = 2 * n_k_heads * hp->d_k + n_v_heads * hp->d_v;
    s->size->n_k_heads = max_u32(s->size->n_k_heads, (uint32_t)n_k_heads);
    s->size->gdn_bytes += rows_bytes(&w->qkv, conv_dim) + rows_bytes(&w->z, n_v_heads * hp->d_v) +
                          rows_bytes(&w->qkvz, conv_dim + n_v_heads * hp->d_v) +
                          rows_bytes(&w->alpha, n_v_heads) + rows_bytes(&w->beta, n_v_heads) +
                          rows_bytes(&w->ba, 2 * n_v_heads) +
                          columns_bytes(&w->out, n_v_heads * hp->d_v) +
                          floats_bytes(CONV_TAPS * conv_dim + 2 * n_v_heads);
    s->size->vectors_bytes += floats_bytes(hp->d_v);
    return OK;
}

static enum status add_dense(const struct sizer *s, const struct ffn_weights *w) {
    struct index_range columns;
    uint32_t n_runs = (uint32_t)div_up(w->down.shape[1], PLAN_FFN_RUN);
    struct ksplit_units units = {.width = PLAN_FFN_RUN, .n_units = n_runs, .n_repeats = 1};
    TRY(own_columns(s, units, &w->down, s->share->ffn, &columns));
    uint32_t width = range_length(columns);
    s->size->d_ff = max_u32(s->size->d_ff, width);
    s->size->ffn_bytes +=
        rows_bytes(&w->gate, width) + rows_bytes(&w->up, width) + columns_bytes(&w->down, width);
    return OK;
}

static uint64_t experts_bytes(const struct tensor *experts, uint64_t n) {
    return experts->n_dims ? experts->bytes / experts->shape[0] * n : 0;
}

static enum status add_ffn(const struct sizer *s, const struct ffn_weights *w) {
    if (s->hp->n_experts == 0)
        return add_dense(s, w);
    uint64_t n_experts = range_length(s->share->experts);
    s->size->router_bytes += rows_bytes(&w->router, range_length(s->share->router));
    s->size->experts_bytes +=
        experts_bytes(&w->gate_exps, n_experts) + experts_bytes(&w->up_exps, n_experts) +
        experts_bytes(&w->gate_up_exps, n_experts) + experts_bytes(&w->down_exps, n_experts);
    if (!w->shared_gate)
        return OK;
    s->size->vectors_bytes += floats_bytes(s->hp->d_model);
    s->size->d_ff = s->hp->d_ff_shared;
    s->size->ffn_bytes += w->gate_shared.bytes + w->up_shared.bytes + w->down_shared.bytes;
    return OK;
}

static enum status add_layer(const struct sizer *s, const struct layer_weights *layer) {
    s->size->vectors_bytes += floats_bytes(2 * (uint64_t)s->hp->d_model);
    if (layer->mixer == MIXER_ATTENTION)
        TRY(add_attention(s, layer));
    else
        TRY(add_gdn(s, layer));
    return add_ffn(s, &layer->ffn);
}

static enum status add_all(const struct sizer *s, const struct weights *w) {
    const struct hparams *hp = s->hp;
    struct share_size *size = s->size;
    for (uint32_t i = 0; i < hp->n_layers; i++)
        TRY(add_kv_heads(s, &w->layers[i]));
    if (w->mtp)
        TRY(add_kv_heads(s, &w->mtp->layer));
    for (uint32_t i = 0; i < hp->n_layers; i++)
        TRY(add_layer(s, &w->layers[i]));
    if (w->mtp) {
        TRY(add_layer(s, &w->mtp->layer));
        size->mtp_bytes += w->mtp->eh_proj.bytes;
        size->vectors_bytes += floats_bytes(3 * (uint64_t)hp->d_model);
    }
    uint32_t head_rows = range_length(s->share->vocab);
    bool tied = w->output.data == w->token_embd.data;
    size->head_bytes = rows_bytes(&w->output, head_rows);
    if (!tied || head_rows < hp->n_vocab)
        size->embedding_bytes = w->token_embd.bytes;
    size->vectors_bytes += floats_bytes(hp->d_model);
    size->bytes = size->attention_bytes + size->gdn_bytes + size->ffn_bytes + size->router_bytes +
                  size->experts_bytes + size->head_bytes + size->mtp_bytes + size->embedding_bytes +
                  size->vectors_bytes;
    return OK;
}

enum status share_size_init(struct share_size *size, const struct hparams *hp,
                            const struct weights *weights, const struct rank_share *share,
                            struct error *err) {
    const struct sizer sizer = {.size = size, .hp = hp, .share = share, .err = err};
    *size = (struct share_size){0};
    return add_all(&sizer, weights);
}
