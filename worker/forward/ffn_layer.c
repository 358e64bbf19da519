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
    forward_linear(f, &w->gate, in, gate, hp->d_ff);
    forward_linear(f, &w->up, in, up, hp->d_ff);
    f->kernels->swiglu(f->ctx,
                       &(struct swiglu_args){.out = gate, .gate = gate, .up = up, .n = n_hidden});
    struct activation hidden = forward_activation(f, gate, f->n_tokens, hp->d_ff);
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

static void routed(struct forward *f, const struct bound_ffn *w, const struct activation *in) {
    const struct hparams *hp = f->hp;
    const struct activation_plan *at = &f->plan;
    uint32_t *ids = (uint32_t *)(void *)(f->memory + at->expert_ids);
    float *logits = forward_floats(f, at->router_logits);
    float *weights = forward_floats(f, at->expert_weights);
    forward_linear(f, &w->router, in, logits, hp->n_experts);
    f->kernels->router(f->ctx, &(struct router_args){.ids = ids,
                                                     .weights = weights,
                                                     .logits = logits,
                                                     .n_tokens = f->n_tokens,
                                                     .n_experts = hp->n_experts,
                                                     .top_k = hp->top_k});
    if (f->observer && f->observer->routing)
        f->observer->routing(f->observer->user, &(struct routing_event){.layer = f->layer_idx,
                                                                        .ids = ids,
                                                                        .weights = weights,
                                                                        .n_tokens = f->n_tokens,
                                                                        .top_k = hp->top_k});
    f->traffic.weight_bytes += chosen_bytes(f, w, ids);
    f->kernels->experts(
        f->ctx, &(struct experts_args){
                    .y = forward_floats(f, at->mix),
                    .x = in,
                    .ids = ids,
                    .weights = weights,
                    .top_k = hp->top_k,
                    .gate = &w->gate_exps,
                    .up = &w->up_exps,
                    .down = &w->down_exps,
                    .whole = &w->experts_whole,
                    .down_split = &w->experts_down_split,
                    .gate_out = forward_floats(f, at->gate_out),
                    .up_out = forward_floats(f, at->up_out),
                    .hidden_blocks = (struct act_block *)(void *)(f->memory + at->hidden_blocks),
                    .down_out = forward_floats(f, at->down_out),
                    .order = (uint32_t *)(void *)(f->memory + at->order)});
}

static void shared(struct forward *f, const struct bound_ffn *w, const struct activation *in,
                   float *x) {
    const struct hparams *hp = f->hp;
    const struct activation_plan *at = &f->plan;
    float *gate = forward_floats(f, at->shared_gate), *up = forward_floats(f, at->shared_up);
    float *out = forward_floats(f, at->shared_out), *logit = forward_floats(f, at->shared_logit);
    uint64_t n_hidden = (uint64_t)f->n_tokens * hp->d_ff_shared;
    forward_linear(f, &w->shared_gate, in, logit, 1);
    forward_linear(f, &w->gate_shared, in, gate, hp->d_ff_shared);
    forward_linear(f, &w->up_shared, in, up, hp->d_ff_shared);
    f->kernels->swiglu(f->ctx,
                       &(struct swiglu_args){.out = gate, .gate = gate, .up = up, .n = n_hidden});
    struct activation hidden = forward_activation(f, gate, f->n_tokens, hp->d_ff_shared);
    forward_linear(f, &w->down_shared, &hidden, out, hp->d_model);
    f->kernels->add_shared(f->ctx, &(struct add_shared_args){.x = x,
                                                             .routed = forward_floats(f, at->mix),
                                                             .shared = out,
                                                             .gate = logit,
                                                             .n_tokens = f->n_tokens,
                                                             .d = hp->d_model});
}

void forward_ffn_layer(struct forward *f, const struct bound_layer *layer, float *x) {
    const struct hparams *hp = f->hp;
    float *h = forward_floats(f, f->plan.h);
    forward_norm(f, h, x, layer->ffn_norm);
    struct activation in = forward_activation(f, h, f->n_tokens, hp->d_model);
    if (hp->n_experts == 0) {
        dense(f, &layer->ffn, &in, x);
        return;
    }
    routed(f, &layer->ffn, &in);
    if (layer->ffn.has_shared)
        shared(f, &layer->ffn, &in, x);
    else
        forward_add(f, x, forward_floats(f, f->plan.mix), (uint64_t)f->n_tokens * hp->d_model);
}
