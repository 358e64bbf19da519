/* SPDX-License-Identifier: Apache-2.0 */
/* From the file's tensors to matrices with splits. Which product is cut how stands here and only
 * here: in-projections, router and head are one sum; out- and down-projections are eight parts of
 * whole heads, key-head groups or runs of 256 (tensor/ksplit.h). In a group a rank keeps the parts
 * that the plan gives it, and of everything else what leads to them. */
#include "worker/forward/bind.h"

#include "worker/forward/rope_table.h"

/* The widest row a kernel takes: the reference keeps one dequantised row in scratch. */
#define ROW_MAX 65536u

/* Query heads that share a KV head: the attention kernels keep one row of them in scratch. */
#define HEADS_PER_KV_MAX 64u

_Static_assert(HPARAMS_TOP_K_MAX <= ROUTER_TOP_K_MAX && HPARAMS_EXPERTS_MAX <= ROUTER_EXPERTS_MAX,
               "what the file may ask for, the router can do");
_Static_assert(PLAN_EXPERT_LEAVES == EXPERT_BUCKETS, "the plan cuts at the borders of buckets");

enum status bind_check_row(const struct binder *b, const struct matrix *w, const char *what) {
    bool blocks_fit = !dtype_is_quantised(w->dtype) || w->d_in % 32 == 0;
    if (w->d_in == 0 || w->d_in > ROW_MAX || !blocks_fit)
        return error_set(b->err, ERR_UNSUPPORTED,
                         "%s: rows of %u elements; multiples of 32 up to %u are computed", what,
                         w->d_in, ROW_MAX);
    return OK;
}

static enum status take_matrix(const struct binder *b, struct linear *linear,
                               const struct tensor *tensor, const char *what) {
    *linear = (struct linear){.w = tensor_matrix(tensor)};
    linear->file_row_bytes = linear->w.row_bytes;
    return bind_check_row(b, &linear->w, what);
}

enum status bind_whole(const struct binder *b, struct linear *linear, const struct tensor *tensor,
                       const char *what) {
    TRY(take_matrix(b, linear, tensor, what));
    return ksplit_init_whole(&linear->split, linear->w.d_in, b->arena, b->err);
}

enum status bind_keep_rows(const struct binder *b, struct linear *linear, const struct krun *runs,
                           uint32_t n_runs) {
    if (!bind_is_cut(b))
        return OK;
    struct krun *copy = arena_array(b->arena, (size_t)n_runs + 1, sizeof *copy);
    if (!copy)
        return error_set(b->err, ERR_NOMEM, "no memory for a rank's rows of a matrix");
    for (uint32_t i = 0; i < n_runs; i++)
        copy[i] = runs[i];
    linear_keep_rows(linear, copy, n_runs);
    return OK;
}

enum status bind_parts(const struct binder *b, struct row_parallel *product,
                       const struct tensor *tensor, struct ksplit_units units,
                       const struct leaf_range *parts, const char *what) {
    struct linear whole;
    TRY(take_matrix(b, &whole, tensor, what));
    units.d_in = whole.w.d_in;
    units.block = dtype_info(whole.w.dtype)->block_elements;
    TRY(ksplit_init_units(&whole.split, &units, b->arena, b->err));
    const struct part_owners owners = {.parts = parts, .n_ranks = b->n_tp, .tp_idx = b->tp_idx};
    return row_parallel_init(product, &whole, &owners, b->arena, b->err);
}

struct layer_linears forward_layer_linears(struct bound_layer *layer) {
    struct bound_attention *a = &layer->attention;
    struct bound_gdn *g = &layer->gdn;
    struct bound_ffn *f = &layer->ffn;
    return (struct layer_linears){{&a->q, &a->k, &a->v, &a->output.linear, &g->qkv, &g->z, &g->qkvz,
                                   &g->alpha, &g->beta, &g->ba, &g->out.linear, &f->gate, &f->up,
                                   &f->down.linear, &f->router, &f->gate_shared, &f->up_shared,
                                   &f->down_shared.linear}};
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

/* Which parts the ranks of this attention group own, rank by rank. */
static enum status find_owners(struct binder *b, const struct forward_share *share) {
    static const struct leaf_range all_parts = {0, KSPLIT_PARTS};
    b->n_tp = 1;
    b->attention = b->gdn = b->ffn = &all_parts;
    if (!share->plan)
        return OK;
    const struct shard_plan *plan = share->plan;
    b->own = &plan->ranks[share->rank_idx];
    struct index_range group = plan->groups[b->own->group].ranks;
    uint32_t n = group.end - group.begin;
    struct leaf_range *parts = arena_array(b->arena, 3 * (size_t)n, sizeof *parts);
    struct index_range *rows = arena_array(b->arena, 3 * (size_t)n, sizeof *rows);
    if (!parts || !rows)
        return error_set(b->err, ERR_NOMEM, "no memory for the shares of %u ranks", n);
    for (uint32_t i = 0; i < n; i++) {
        const struct rank_share *rank = &plan->ranks[group.begin + i];
        parts[i] = rank->attention;
        parts[n + i] = rank->gdn;
        parts[2 * n + i] = rank->ffn;
        rows[i] = rank->router;
        rows[n + i] = rank->vocab;
        rows[2 * n + i] = rank->experts;
    }
    b->attention = parts;
    b->gdn = parts + n;
    b->ffn = parts + 2 * (size_t)n;
    b->router = rows;
    b->vocab = rows + n;
    b->experts = rows + 2 * (size_t)n;
    if (n > 1) {
        b->n_tp = n;
        b->tp_idx = b->own->tp_idx;
    } else {
        b->attention = b->gdn = b->ffn = &all_parts;
    }
    return OK;
}

/* Widens the KV heads of this rank by what its query heads of one layer read. */
static enum status add_kv_heads(struct binder *b, const struct layer_weights *w) {
    struct index_range heads, *kv = &b->kv_heads;
    uint32_t per_kv = b->hp->n_heads / b->hp->n_kv_heads;
    if (w->mixer != MIXER_ATTENTION)
        return OK;
    TRY(bind_attention_heads(b, &w->attention, &heads));
    if (heads.begin == heads.end)
        return OK;
    struct index_range read = {heads.begin / per_kv, (heads.end - 1) / per_kv + 1};
    if (kv->begin == kv->end)
        *kv = read;
    kv->begin = read.begin < kv->begin ? read.begin : kv->begin;
    kv->end = read.end > kv->end ? read.end : kv->end;
    return OK;
}

static enum status bind_layers(struct binder *b, struct forward *f, const struct weights *w) {
    uint32_t mixer_idx[2] = {0};
    for (uint32_t i = 0; i < b->hp->n_layers; i++)
        TRY(add_kv_heads(b, &w->layers[i]));
    if (w->mtp)
        TRY(add_kv_heads(b, &w->mtp->layer));
    f->kv_heads = b->kv_heads;
    for (uint32_t i = 0; i < b->hp->n_layers; i++) {
        const struct layer_weights *layer = &w->layers[i];
        struct bound_layer *bound = &f->layers[i];
        enum status status = bind_layer(b, bound, layer, mixer_idx[layer->mixer]++);
        if (status != OK) {
            error_wrap(b->err, "blk.%u", i);
            return status;
        }
        if (layer->mixer == MIXER_GDN && bound->gdn.n_k_heads > f->n_k_heads_max)
            f->n_k_heads_max = bound->gdn.n_k_heads;
    }
    return w->mtp ? bind_mtp(b, f, w->mtp) : OK;
}

static enum status bind_head(struct binder *b, struct forward *f, const struct tensor *output) {
    struct krun own = {0, b->hp->n_vocab};
    f->head_ranges = b->vocab;
    if (bind_is_cut(b))
        own = (struct krun){b->vocab[b->tp_idx].begin, b->vocab[b->tp_idx].end};
    TRY(bind_whole(b, &f->head, output, "output"));
    return bind_keep_rows(b, &f->head, &own, 1);
}

enum status forward_bind(struct forward *f, const struct forward_options *o, struct arena *arena,
                         struct error *err) {
    struct binder b = {.hp = o->hp, .arena = arena, .err = err};
    TRY(check_shapes(o->hp, err));
    TRY(find_owners(&b, &o->share));
    *f = (struct forward){.hp = o->hp,
                          .kernels = o->kernels,
                          .ctx = o->ctx,
                          .kv = o->kv,
                          .states = o->states,
                          .plan = o->plan,
                          .group = o->group,
                          .n_tp = b.n_tp,
                          .tp_idx = b.tp_idx,
                          .tp_experts = b.experts,
                          .experts = {0, o->hp->n_experts},
                          .buckets = {0, EXPERT_BUCKETS},
                          .embedding = tensor_matrix(&o->weights->token_embd),
                          .output_norm = o->weights->output_norm};
    if (b.own) {
        f->experts = b.own->experts;
        f->buckets = b.own->buckets;
    }
    f->layers = arena_array(arena, o->hp->n_layers, sizeof *f->layers);
    f->kv_rows = arena_array(arena, o->n_seqs_max, sizeof *f->kv_rows);
    f->gdn_rows = arena_array(arena, o->n_seqs_max, sizeof *f->gdn_rows);
    f->rope_freq = arena_array(arena, o->hp->n_rot / 2, sizeof *f->rope_freq);
    if (!f->layers || !f->kv_rows || !f->gdn_rows || !f->rope_freq)
        return error_set(err, ERR_NOMEM, "no memory to bind %u layers", o->hp->n_layers);
    rope_frequencies(o->hp, f->rope_freq, &f->rope_scale);
    TRY(bind_check_row(&b, &f->embedding, "token_embd"));
    TRY(bind_head(&b, f, &o->weights->output));
    return bind_layers(&b, f, o->weights);
}

bool forward_reads_floats(const struct forward *f) {
    for (uint32_t i = 0; i < f->hp->n_layers; i++) {
        const struct bound_ffn *ffn = &f->layers[i].ffn;
        if (f->hp->n_experts > 0 &&
            (f->kernels->exact || !dtype_is_quantised(ffn->gate_exps.dtype) ||
             !dtype_is_quantised(ffn->up_exps.dtype)))
            return true;
    }
    return false;
}
