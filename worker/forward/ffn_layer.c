/* SPDX-License-Identifier: Apache-2.0 */
/* The second half of a layer: a dense SwiGLU, or routed experts beside a shared one.
 * Router and shared gate read the unquantised input: a flipped expert shows in the logits. */
#include "worker/forward/forward.h"

static void dense(struct forward *f, const struct bound_ffn *w, const struct activation *in,
                  float *x) {
    const struct hparams *hp = f->hp;
    float *gate = forward_floats(f, f->plan.gate_out), *up = forward_floats(f, f->plan.up_out);
    float *mix = forward_floats(f, f->plan.mix);
    uint64_t n_hidden = (uint64_t)f->n_tokens * hp->d_ff;
    const struct matmul_args products[] = {forward_product(&w->gate, in, gate, hp->d_ff),
                                           forward_product(&w->up, in, up, hp->d_ff)};
    forward_products(f, products, 2);
    struct activation hidden = forward_blocks(f, f->plan.blocks, gate, hp->d_ff);
    f->kernels->swiglu(
        f->ctx, &(struct swiglu_args){
                    .out = gate, .gate = gate, .up = up, .n = n_hidden, .blocks = hidden.blocks});
    forward_linear(f, &w->down, &hidden, mix, hp->d_model);
    forward_add(f, x, mix, (uint64_t)f->n_tokens * hp->d_model);
}

/* Bytes of the experts that at least one token of the step chose. */
static uint64_t chosen_bytes(const struct forward *f, const struct bound_ffn *w,
                             const uint32_t *ids) {
    uint64_t seen[ROUTER_EXPERTS_MAX / 64] = {0};
    uint64_t n_chosen = 0;
    for (size_t i = 0; i < (size_t)f->n_tokens * f->hp->top_k; i++) {
        uint64_t bit = (uint64_t)1 << ids[i] % 64;
        n_chosen += !(seen[ids[i] / 64] & bit);
        seen[ids[i] / 64] |= bit;
    }
    return n_chosen *
           (w->gate_exps.d_out * w->gate_exps.row_bytes + w->up_exps.d_out * w->up_exps.row_bytes +
            w->down_exps.d_out * w->down_exps.row_bytes);
}

/* Router logits, and of the shared expert its gate and its hidden vector before the product. */
static void project(struct forward *f, const struct bound_ffn *w, const struct activation *in) {
    const struct hparams *hp = f->hp;
    const struct activation_plan *at = &f->plan;
    struct matmul_args products[4] = {
        forward_product(&w->router, in, forward_floats(f, at->router_logits), hp->n_experts)};
    uint32_t n = 1;
    if (w->has_shared) {
        products[n++] =
            forward_product(&w->shared_gate, in, forward_floats(f, at->shared_logit), 1);
        products[n++] = forward_product(&w->gate_shared, in, forward_floats(f, at->shared_gate),
                                        hp->d_ff_shared);
        products[n++] =
            forward_product(&w->up_shared, in, forward_floats(f, at->shared_up), hp->d_ff_shared);
    }
    forward_products(f, products, n);
}

static struct activation shared_hidden(struct forward *f) {
    uint32_t d = f->hp->d_ff_shared;
    float *gate = forward_floats(f, f->plan.shared_gate),
          *up = forward_floats(f, f->plan.shared_up);
    struct activation hidden = forward_blocks(f, f->plan.shared_blocks, gate, d);
    f->kernels->swiglu(f->ctx, &(struct swiglu_args){.out = gate,
                                                     .gate = gate,
                                                     .up = up,
                                                     .n = (uint64_t)f->n_tokens * d,
                                                     .blocks = hidden.blocks});
    return hidden;
}

static void choose_experts(struct forward *f, uint32_t *ids, float *weights) {
    const struct hparams *hp = f->hp;
    f->kernels->router(f->ctx,
                       &(struct router_args){.ids = ids,
                                             .weights = weights,
                                             .logits = forward_floats(f, f->plan.router_logits),
                                             .n_tokens = f->n_tokens,
                                             .n_experts = hp->n_experts,
                                             .top_k = hp->top_k});
    if (f->observer && f->observer->routing)
        f->observer->routing(f->observer->user, &(struct routing_event){.layer = f->layer_idx,
                                                                        .ids = ids,
                                                                        .weights = weights,
                                                                        .n_tokens = f->n_tokens,
                                                                        .top_k = hp->top_k});
}

/* mix = the routed experts' sum; `beside` is computed in the same meetings. */
static void routed(struct forward *f, const struct bound_ffn *w, const struct activation *in,
                   const struct matmul_args *beside) {
    const struct activation_plan *at = &f->plan;
    uint32_t *ids = (uint32_t *)(void *)(f->memory + at->expert_ids);
    float *weights = forward_floats(f, at->expert_weights);
    choose_experts(f, ids, weights);
    f->traffic.weight_bytes += chosen_bytes(f, w, ids);
    f->kernels->experts(
        f->ctx, &(struct experts_args){
                    .y = forward_floats(f, at->mix),
                    .x = in,
                    .ids = ids,
                    .weights = weights,
                    .top_k = f->hp->top_k,
                    .n_experts_all = f->hp->n_experts,
                    .buckets = {0, EXPERT_BUCKETS},
                    .gate = &w->gate_exps,
                    .up = &w->up_exps,
                    .down = &w->down_exps,
                    .whole = &w->experts_whole,
                    .down_split = &w->experts_down_split,
                    .beside = beside,
                    .n_beside = beside ? 1 : 0,
                    .gate_out = forward_floats(f, at->gate_out),
                    .up_out = forward_floats(f, at->up_out),
                    .hidden_blocks = (struct act_block *)(void *)(f->memory + at->hidden_blocks),
                    .down_out = forward_floats(f, at->down_out),
                    .order = (uint32_t *)(void *)(f->memory + at->order)});
}

static void experts(struct forward *f, const struct bound_ffn *w, const struct activation *in,
                    float *x) {
    uint32_t d = f->hp->d_model;
    const float *mix = forward_floats(f, f->plan.mix);
    project(f, w, in);
    if (!w->has_shared) {
        routed(f, w, in, NULL);
        forward_add(f, x, mix, (uint64_t)f->n_tokens * d);
        return;
    }
    float *out = forward_floats(f, f->plan.shared_out);
    struct activation hidden = shared_hidden(f);
    struct matmul_args down = forward_product(&w->down_shared, &hidden, out, d);
    routed(f, w, in, &down);
    f->kernels->add_shared(
        f->ctx, &(struct add_shared_args){.x = x,
                                          .routed = mix,
                                          .shared = out,
                                          .gate = forward_floats(f, f->plan.shared_logit),
                                          .n_tokens = f->n_tokens,
                                          .d = d});
}

void forward_ffn_layer(struct forward *f, const struct bound_layer *layer, float *x) {
    const struct hparams *hp = f->hp;
    struct activation in = forward_normed(f, x, layer->ffn_norm);
    if (hp->n_experts == 0) {
        dense(f, &layer->ffn, &in, x);
        return;
    }
    experts(f, &layer->ffn, &in, x);
}
