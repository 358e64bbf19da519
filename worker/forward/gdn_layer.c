/* SPDX-License-Identifier: Apache-2.0 */
/* Gated DeltaNet: project, convolve, recur, gate, project back.
 *
 * qwen3next keeps some projections grouped per key head (r value heads each): beta and alpha as
 * [b r | a r], which the step kernel reads in place, and in old files everything as
 * [q | k | v r | z r], which is sorted into our order here. */
#include "worker/forward/forward.h"

#include <string.h>

struct ungroup {
    const struct hparams *hp;
    const struct bound_gdn *w;
    const float *qkvz; /* [n_tokens, conv_dim + n_v_heads * d_v] */
    float *qkv, *z;    /* [n_tokens, conv_dim], [n_tokens, n_v_heads * d_v] */
    uint32_t n_tokens;
};

static void ungroup_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct ungroup *u = arg;
    const struct hparams *hp = u->hp;
    size_t d_k = hp->d_k, n_k = u->w->n_k_heads, conv_dim = u->w->conv_dim;
    size_t group_v = (size_t)(hp->n_v_heads / hp->n_k_heads) * hp->d_v;
    size_t d_z = (size_t)u->w->n_v_heads * hp->d_v;
    uint64_t begin, end;
    thread_range(u->n_tokens, thread_idx, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        const float *from = u->qkvz + t * (conv_dim + d_z);
        float *qkv = u->qkv + t * conv_dim, *z = u->z + t * d_z;
        for (size_t i = 0; i < n_k; i++) {
            memcpy(qkv + i * d_k, from, d_k * sizeof *from);
            memcpy(qkv + (n_k + i) * d_k, from + d_k, d_k * sizeof *from);
            memcpy(qkv + 2 * n_k * d_k + i * group_v, from + 2 * d_k, group_v * sizeof *from);
            memcpy(z + i * group_v, from + 2 * d_k + group_v, group_v * sizeof *from);
            from += 2 * d_k + 2 * group_v;
        }
    }
}

static void project(struct forward *f, const struct bound_gdn *w, const struct activation *in) {
    const struct hparams *hp = f->hp;
    const struct activation_plan *at = &f->plan;
    float *qkv = forward_floats(f, at->qkv), *z = forward_floats(f, at->z);
    float *ba = forward_floats(f, at->ba);
    uint32_t d_z = w->n_v_heads * hp->d_v;
    float *qkvz = forward_floats(f, at->qkvz);
    struct matmul_args products[4];
    uint32_t n = 0;
    if (w->fused_qkvz) {
        products[n++] = forward_product(&w->qkvz, in, qkvz, w->conv_dim + d_z);
    } else {
        products[n++] = forward_product(&w->qkv, in, qkv, w->conv_dim);
        products[n++] = forward_product(&w->z, in, z, d_z);
    }
    if (w->fused_ba) {
        products[n++] = forward_product(&w->ba, in, ba, 2 * w->n_v_heads);
    } else {
        products[n++] = forward_product(&w->beta, in, ba, 2 * w->n_v_heads);
        products[n++] = forward_product(&w->alpha, in, ba + w->n_v_heads, 2 * w->n_v_heads);
    }
    forward_products(f, products, n);
    if (w->fused_qkvz) {
        struct ungroup u = {
            .hp = hp, .w = w, .qkvz = qkvz, .qkv = qkv, .z = z, .n_tokens = f->n_tokens};
        thread_pool_run(f->ctx->pool, ungroup_task, &u);
    }
}

/* Which rows belong to whom, and their states. */
static void bind_rows(struct forward *f, const struct bound_gdn *w) {
    for (uint32_t i = 0; i < f->n_seqs; i++) {
        const struct forward_seq *seq = &f->seqs[i];
        f->gdn_rows[i] =
            (struct gdn_rows){.conv = state_cache_conv(f->states, seq->slot, w->state_layer_idx),
                              .state = state_cache_state(f->states, seq->slot, w->state_layer_idx),
                              .row_begin = seq->row_begin,
                              .n_rows = seq->n_rows};
    }
}

/* From the projections to the gated output [n_tokens, n_v_heads * d_v], quantised. */
static struct activation mix_heads(struct forward *f, const struct bound_gdn *w) {
    const struct hparams *hp = f->hp;
    const struct activation_plan *at = &f->plan;
    float *conv = forward_floats(f, at->conv), *ba = forward_floats(f, at->ba);
    float *out = forward_floats(f, at->gdn_out);
    uint32_t group = w->fused_ba ? w->n_v_heads / w->n_k_heads : w->n_v_heads;
    struct activation mixed = forward_blocks(f, at->blocks, out, w->n_v_heads * hp->d_v);
    struct gdn_mix_args a = {
        .conv = {.out = conv,
                 .u = forward_floats(f, at->qkv),
                 .w = w->conv,
                 .rows = f->gdn_rows,
                 .n_rows_entries = f->n_seqs,
                 .conv_dim = w->conv_dim},
        .step = {.o = out,
                 .c = conv,
                 .a = ba + group,
                 .b = ba,
                 .gate_token_stride = 2 * (uint64_t)w->n_v_heads,
                 .gate_group = group,
                 .gate_group_stride = 2 * group,
                 .a_coef = w->a,
                 .dt_bias = w->dt_bias,
                 .rows = f->gdn_rows,
                 .n_rows_entries = f->n_seqs,
                 .n_k_heads = w->n_k_heads,
                 .n_v_heads = w->n_v_heads,
                 .d_k = hp->d_k,
                 .d_v = hp->d_v,
                 .order = hp->v_heads_grouped ? GDN_HEADS_GROUPED : GDN_HEADS_TILED},
        .gate = {.out = out,
                 .o = out,
                 .z = forward_floats(f, at->z),
                 .w = w->norm,
                 .n_tokens = f->n_tokens,
                 .n_heads = w->n_v_heads,
                 .d = hp->d_v,
                 .eps = hp->norm_eps},
        .blocks = mixed.blocks};
    f->kernels->gdn_mix(f->ctx, &a);
    return mixed;
}

enum status forward_gdn_layer(struct forward *f, const struct bound_layer *layer, float *x,
                              struct error *err) {
    const struct bound_gdn *w = &layer->gdn;
    struct activation mixed = {.n_tokens = f->n_tokens};
    bind_rows(f, w);
    if (w->n_k_heads > 0) { /* a rank of a group may have none */
        struct activation in = forward_normed(f, x, layer->attn_norm);
        project(f, w, &in);
        mixed = mix_heads(f, w);
    }
    return forward_add_product(f, &w->out, &mixed, x, err);
}
