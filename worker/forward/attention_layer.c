/* SPDX-License-Identifier: Apache-2.0 */
/* Gated full attention: project, norm and rotate, store keys and values, attend, project back.
 * With an output gate the query projection is packed per head as [query | gate]. */
#include "worker/forward/forward.h"

#include <math.h>

/* From the input of the half layer to the gated heads [n_tokens, n_heads * d_head], quantised. */
static struct activation attend(struct forward *f, const struct bound_attention *w,
                                const struct activation *normed) {
    const struct hparams *hp = f->hp;
    const struct activation_plan *at = &f->plan;
    uint32_t n = f->n_tokens, d_head = hp->d_head, n_kv_heads = f->kv_heads.end - f->kv_heads.begin;
    uint32_t d_q = w->n_heads * d_head, d_kv = n_kv_heads * d_head;
    uint32_t packed = hp->attention_gate ? 2 : 1;
    float *qg = forward_floats(f, at->qg);
    float *k = forward_floats(f, at->k), *v = forward_floats(f, at->v);
    float *q_rot = forward_floats(f, at->q_rot), *k_rot = forward_floats(f, at->k_rot);
    float *out = forward_floats(f, at->attn_out);

    const struct matmul_args products[] = {
        forward_product(&w->q, normed, qg, (uint64_t)packed * d_q),
        forward_product(&w->k, normed, k, d_kv),
        forward_product(&w->v, normed, v, d_kv),
    };
    forward_products(f, products, 3);

    struct rope_args rope = {.out = q_rot,
                             .x = qg,
                             .token_stride = (uint64_t)packed * d_q,
                             .head_stride = (uint64_t)packed * d_head,
                             .w = w->q_norm,
                             .cos_sin = forward_floats(f, at->cos_sin),
                             .n_tokens = n,
                             .n_heads = w->n_heads,
                             .d_head = d_head,
                             .n_rot = hp->n_rot,
                             .eps = hp->norm_eps};
    f->kernels->rope(f->ctx, &rope);
    rope.out = k_rot;
    rope.x = k;
    rope.token_stride = d_kv;
    rope.head_stride = d_head;
    rope.w = w->k_norm;
    rope.n_heads = n_kv_heads;
    f->kernels->rope(f->ctx, &rope);

    struct kv_layer kv = kv_cache_layer(f->kv, w->kv_layer_idx);
    f->kernels->kv_append(
        f->ctx,
        &(struct kv_append_args){
            .kv = &kv, .key = k_rot, .value = v, .rows = f->kv_rows, .n_rows_entries = f->n_seqs});
    struct activation heads = forward_blocks(f, at->blocks, out, d_q);
    f->kernels->attention(f->ctx,
                          &(struct attention_args){.out = out,
                                                   .q = q_rot,
                                                   .gate = hp->attention_gate ? qg + d_head : NULL,
                                                   .gate_token_stride = (uint64_t)packed * d_q,
                                                   .gate_head_stride = (uint64_t)packed * d_head,
                                                   .kv = &kv,
                                                   .rows = f->kv_rows,
                                                   .n_rows_entries = f->n_seqs,
                                                   .n_tokens = n,
                                                   .n_heads = w->n_heads,
                                                   .scale = 1.0f / sqrtf((float)d_head),
                                                   .heads_per_kv = hp->n_heads / hp->n_kv_heads,
                                                   .first_head = w->first_head,
                                                   .blocks = heads.blocks});
    return heads;
}

enum status forward_attention_layer(struct forward *f, const struct bound_layer *layer, float *x,
                                    struct error *err) {
    const struct bound_attention *w = &layer->attention;
    struct activation heads = {.n_tokens = f->n_tokens};
    if (w->n_heads > 0) { /* a rank of a group may have none */
        struct activation in = forward_normed(f, x, layer->attn_norm);
        heads = attend(f, w, &in);
    }
    return forward_add_product(f, &w->output, &heads, x, err);
}
