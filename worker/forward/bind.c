/* SPDX-License-Identifier: Apache-2.0 */
/* From the file's tensors to matrices with splits. Which product is cut how stands here and only
 * here: in-projections, router and head are one sum; out- and down-projections are eight parts of
 * whole heads, key-head groups or runs of 256 (tensor/ksplit.h). */
#include "worker/forward/forward.h"

#include "worker/forward/rope_table.h"

/* Runs of an FFN width are whole super-blocks of the K-quants. */
#define FFN_RUN 256

/* The widest row a kernel takes: the reference keeps one dequantised row in scratch. */
#define ROW_MAX 65536u

/* Query heads that share a KV head: the attention kernels keep one row of them in scratch. */
#define HEADS_PER_KV_MAX 64u

_Static_assert(HPARAMS_TOP_K_MAX <= ROUTER_TOP_K_MAX && HPARAMS_EXPERTS_MAX <= ROUTER_EXPERTS_MAX,
               "what the file may ask for, the router can do");

struct binder {
    const struct hparams *hp;
    struct arena *arena;
    struct error *err;
};

static enum status check_row(const struct binder *b, const struct matrix *w, const char *what) {
    bool blocks_fit = !dtype_is_quantised(w->dtype) || w->d_in % 32 == 0;
    if (w->d_in == 0 || w->d_in > ROW_MAX || !blocks_fit)
        return error_set(b->err, ERR_UNSUPPORTED,
                         "%s: rows of %u elements; multiples of 32 up to %u are computed", what,
                         w->d_in, ROW_MAX);
    return OK;
}

/* One sum over all columns. */
static enum status bind_whole(const struct binder *b, struct linear *linear,
                              const struct tensor *tensor, const char *what) {
    linear->w = tensor_matrix(tensor);
    TRY(check_row(b, &linear->w, what));
    return ksplit_init_whole(&linear->split, linear->w.d_in, b->arena, b->err);
}

/* Eight parts of whole units. */
static enum status bind_parts(const struct binder *b, struct linear *linear,
                              const struct tensor *tensor, struct ksplit_units units,
                              const char *what) {
    linear->w = tensor_matrix(tensor);
    TRY(check_row(b, &linear->w, what));
    units.d_in = linear->w.d_in;
    units.block = dtype_info(linear->w.dtype)->block_elements;
    return ksplit_init_units(&linear->split, &units, b->arena, b->err);
}

static struct ksplit_units ffn_units(uint32_t d_ff) {
    return (struct ksplit_units){
        .width = FFN_RUN, .n_units = (d_ff + FFN_RUN - 1) / FFN_RUN, .n_repeats = 1};
}

static enum status bind_attention(const struct binder *b, struct bound_attention *out,
                                  const struct attention_weights *w, uint32_t kv_layer_idx) {
    struct ksplit_units heads = {.width = b->hp->d_head, .n_units = b->hp->n_heads, .n_repeats = 1};
    out->q_norm = w->q_norm;
    out->k_norm = w->k_norm;
    out->kv_layer_idx = kv_layer_idx;
    TRY(bind_whole(b, &out->q, &w->q, "attn_q"));
    TRY(bind_whole(b, &out->k, &w->k, "attn_k"));
    TRY(bind_whole(b, &out->v, &w->v, "attn_v"));
    return bind_parts(b, &out->output, &w->output, heads, "attn_output");
}

static enum status bind_gdn(const struct binder *b, struct bound_gdn *out,
                            const struct gdn_weights *w, uint32_t state_layer_idx) {
    const struct hparams *hp = b->hp;
    uint32_t repeats = hp->n_v_heads / hp->n_k_heads;
    struct ksplit_units key_groups = {.width = hp->d_v,
                                      .n_units = hp->n_k_heads,
                                      .n_repeats = repeats,
                                      .stride = hp->n_k_heads * hp->d_v};
    if (hp->v_heads_grouped)
        key_groups = (struct ksplit_units){
            .width = repeats * hp->d_v, .n_units = hp->n_k_heads, .n_repeats = 1};
    *out = (struct bound_gdn){.fused_qkvz = w->qkvz.n_dims > 0,
                              .fused_ba = w->ba.n_dims > 0,
                              .conv = w->conv,
                              .a = w->a,
                              .dt_bias = w->dt_bias,
                              .norm = w->norm,
                              .state_layer_idx = state_layer_idx};
    if (out->fused_qkvz) {
        TRY(bind_whole(b, &out->qkvz, &w->qkvz, "ssm_in"));
    } else {
        TRY(bind_whole(b, &out->qkv, &w->qkv, "attn_qkv"));
        TRY(bind_whole(b, &out->z, &w->z, "attn_gate"));
    }
    if (out->fused_ba) {
        TRY(bind_whole(b, &out->ba, &w->ba, "ssm_ba"));
    } else {
        TRY(bind_whole(b, &out->alpha, &w->alpha, "ssm_alpha"));
        TRY(bind_whole(b, &out->beta, &w->beta, "ssm_beta"));
    }
    return bind_parts(b, &out->out, &w->out, key_groups, "ssm_out");
}

/* Pointers to the experts of a tensor [n_experts, rows, columns]: `rows_each` rows of each
 * expert from `first_row` on (the merged gate_up tensor holds both halves). */
static enum status bind_experts(const struct binder *b, struct expert_matrices *out,
                                const struct tensor *tensor, uint32_t first_row, uint32_t rows_each,
                                const char *what) {
    uint32_t n_experts = (uint32_t)tensor->shape[0], d_in = (uint32_t)tensor->shape[2];
    const void **data = arena_array(b->arena, n_experts, sizeof *data);
    if (!data)
        return error_set(b->err, ERR_NOMEM, "%s: no memory for %u experts", what, n_experts);
    uint64_t row_bytes = dtype_row_bytes(tensor->dtype, d_in);
    uint64_t expert_bytes = row_bytes * tensor->shape[1];
    for (uint32_t e = 0; e < n_experts; e++)
        data[e] = (const unsigned char *)tensor->data + e * expert_bytes + first_row * row_bytes;
    *out = (struct expert_matrices){.dtype = tensor->dtype,
                                    .n_experts = n_experts,
                                    .d_out = rows_each,
                                    .d_in = d_in,
                                    .row_bytes = row_bytes,
                                    .data = data};
    struct matrix first = expert_matrix(out, 0);
    return check_row(b, &first, what);
}

static enum status bind_moe(const struct binder *b, struct bound_ffn *out,
                            const struct ffn_weights *w) {
    const struct hparams *hp = b->hp;
    uint32_t d_ff = hp->d_ff_expert;
    TRY(bind_whole(b, &out->router, &w->router, "ffn_gate_inp"));
    if (w->gate_up_exps.n_dims) {
        TRY(bind_experts(b, &out->gate_exps, &w->gate_up_exps, 0, d_ff, "ffn_gate_up_exps"));
        TRY(bind_experts(b, &out->up_exps, &w->gate_up_exps, d_ff, d_ff, "ffn_gate_up_exps"));
    } else {
        TRY(bind_experts(b, &out->gate_exps, &w->gate_exps, 0, d_ff, "ffn_gate_exps"));
        TRY(bind_experts(b, &out->up_exps, &w->up_exps, 0, d_ff, "ffn_up_exps"));
    }
    TRY(bind_experts(b, &out->down_exps, &w->down_exps, 0, hp->d_model, "ffn_down_exps"));
    TRY(ksplit_init_whole(&out->experts_whole, hp->d_model, b->arena, b->err));
    struct ksplit_units runs = ffn_units(d_ff);
    runs.d_in = d_ff;
    runs.block = dtype_info(out->down_exps.dtype)->block_elements;
    TRY(ksplit_init_units(&out->experts_down_split, &runs, b->arena, b->err));

    out->has_shared = hp->d_ff_shared > 0;
    if (!out->has_shared)
        return OK;
    TRY(bind_whole(b, &out->gate_shared, &w->gate_shared, "ffn_gate_shexp"));
    TRY(bind_whole(b, &out->up_shared, &w->up_shared, "ffn_up_shexp"));
    TRY(bind_parts(b, &out->down_shared, &w->down_shared, ffn_units(hp->d_ff_shared),
                   "ffn_down_shexp"));
    struct tensor gate = {.dtype = DTYPE_F32,
                          .n_dims = 2,
                          .shape = {1, hp->d_model, 1, 1},
                          .data = w->shared_gate,
                          .bytes = hp->d_model * sizeof(float)};
    return bind_whole(b, &out->shared_gate, &gate, "ffn_gate_inp_shexp");
}

static enum status bind_ffn(const struct binder *b, struct bound_ffn *out,
                            const struct ffn_weights *w) {
    if (b->hp->n_experts > 0)
        return bind_moe(b, out, w);
    TRY(bind_whole(b, &out->gate, &w->gate, "ffn_gate"));
    TRY(bind_whole(b, &out->up, &w->up, "ffn_up"));
    return bind_parts(b, &out->down, &w->down, ffn_units(b->hp->d_ff), "ffn_down");
}

struct layer_linears forward_layer_linears(struct bound_layer *layer) {
    struct bound_attention *a = &layer->attention;
    struct bound_gdn *g = &layer->gdn;
    struct bound_ffn *f = &layer->ffn;
    return (struct layer_linears){{&a->q, &a->k, &a->v, &a->output, &g->qkv, &g->z, &g->qkvz,
                                   &g->alpha, &g->beta, &g->ba, &g->out, &f->gate, &f->up, &f->down,
                                   &f->router, &f->gate_shared, &f->up_shared, &f->down_shared}};
}

static uint64_t dense_bytes(struct bound_layer *layer) {
    struct layer_linears linears = forward_layer_linears(layer);
    uint64_t bytes = layer->ffn.shared_gate.w.d_out * layer->ffn.shared_gate.w.row_bytes;
    for (size_t i = 0; i < LAYER_LINEARS; i++)
        bytes += linears.all[i]->w.d_out * linears.all[i]->w.row_bytes;
    return bytes;
}

static enum status bind_layer(const struct binder *b, struct bound_layer *out,
                              const struct layer_weights *w, uint32_t mixer_idx) {
    out->mixer = w->mixer;
    out->attn_norm = w->attn_norm;
    out->ffn_norm = w->ffn_norm;
    if (w->mixer == MIXER_ATTENTION)
        TRY(bind_attention(b, &out->attention, &w->attention, mixer_idx));
    else
        TRY(bind_gdn(b, &out->gdn, &w->gdn, mixer_idx));
    TRY(bind_ffn(b, &out->ffn, &w->ffn));
    out->dense_bytes = dense_bytes(out);
    return OK;
}

static enum status bind_mtp(const struct binder *b, struct forward *f,
                            const struct mtp_weights *w) {
    struct bound_mtp *mtp = arena_array(b->arena, 1, sizeof *mtp);
    if (!mtp)
        return error_set(b->err, ERR_NOMEM, "mtp block: no memory");
    mtp->enorm = w->enorm;
    mtp->hnorm = w->hnorm;
    mtp->head_norm = w->head_norm;
    f->mtp = mtp;
    TRY(bind_whole(b, &mtp->eh_proj, &w->eh_proj, "nextn.eh_proj"));
    return bind_layer(b, &mtp->layer, &w->layer, b->hp->n_attention_layers);
}

/* What hparams allow but kernels do not take. */
static enum status check_shapes(const struct hparams *hp, struct error *err) {
    uint32_t per_kv = hp->n_heads / hp->n_kv_heads;
    if (per_kv > HEADS_PER_KV_MAX)
        return error_set(err, ERR_UNSUPPORTED,
                         "%u query heads on %u key-value heads: %u share one, at most %u may",
                         hp->n_heads, hp->n_kv_heads, per_kv, HEADS_PER_KV_MAX);
    return OK;
}

enum status forward_bind(struct forward *f, const struct forward_options *o, struct arena *arena,
                         struct error *err) {
    struct binder b = {.hp = o->hp, .arena = arena, .err = err};
    TRY(check_shapes(o->hp, err));
    *f = (struct forward){.hp = o->hp,
                          .kernels = o->kernels,
                          .ctx = o->ctx,
                          .kv = o->kv,
                          .states = o->states,
                          .plan = o->plan,
                          .embedding = tensor_matrix(&o->weights->token_embd),
                          .output_norm = o->weights->output_norm};
    f->layers = arena_array(arena, o->hp->n_layers, sizeof *f->layers);
    f->kv_rows = arena_array(arena, o->n_seqs_max, sizeof *f->kv_rows);
    f->gdn_rows = arena_array(arena, o->n_seqs_max, sizeof *f->gdn_rows);
    f->rope_freq = arena_array(arena, o->hp->n_rot / 2, sizeof *f->rope_freq);
    if (!f->layers || !f->kv_rows || !f->gdn_rows || !f->rope_freq)
        return error_set(err, ERR_NOMEM, "no memory to bind %u layers", o->hp->n_layers);
    rope_frequencies(o->hp, f->rope_freq, &f->rope_scale);
    TRY(check_row(&b, &f->embedding, "token_embd"));
    TRY(bind_whole(&b, &f->head, &o->weights->output, "output"));
    uint32_t mixer_idx[2] = {0};
    for (uint32_t i = 0; i < o->hp->n_layers; i++) {
        const struct layer_weights *w = &o->weights->layers[i];
        enum status status = bind_layer(&b, &f->layers[i], w, mixer_idx[w->mixer]++);
        if (status != OK) {
            error_wrap(err, "blk.%u", i);
            return status;
        }
    }
    return o->weights->mtp ? bind_mtp(&b, f, o->weights->mtp) : OK;
}
