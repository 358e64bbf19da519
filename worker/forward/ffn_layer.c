/* SPDX-License-Identifier: Apache-2.0 */
/* The second half of a layer: a dense SwiGLU, or routed experts beside a shared one.
 * Router and shared gate read the unquantised input: a flipped expert shows in the logits. */
#include "worker/forward/forward.h"
#include "worker/forward/shared_expert.h"

static enum status dense(struct forward *f, const struct bound_ffn *w, const struct activation *in,
                         float *x, struct error *err) {
    float *gate = forward_floats(f, f->plan.gate_out), *up = forward_floats(f, f->plan.up_out);
    uint32_t d_ff = w->down.linear.w.d_in; /* of this rank, which may have none */
    struct activation hidden = forward_blocks(f, f->plan.blocks, gate, d_ff);
    if (d_ff > 0) {
        const struct matmul_args products[] = {forward_product(&w->gate, in, gate, d_ff),
                                               forward_product(&w->up, in, up, d_ff)};
        forward_products(f, products, 2);
        f->kernels->swiglu(f->ctx, &(struct swiglu_args){.out = gate,
                                                         .gate = gate,
                                                         .up = up,
                                                         .n = (uint64_t)f->n_tokens * d_ff,
                                                         .n_rows = 1,
                                                         .blocks = hidden.blocks});
    }
    return forward_add_product(f, &w->down, &hidden, x, err);
}

/* Products of one meeting of the threads. */
struct products {
    struct matmul_args list[MATMUL_PRODUCTS_MAX];
    uint32_t n;
};

/* Counts this rank's experts that at least one token of the step chose, and how many did. */
static void count_experts(struct forward *f, const struct bound_ffn *w,
                          const struct exchange_work *work) {
    const uint32_t *ids = work->ids;
    uint64_t seen[ROUTER_EXPERTS_MAX / 64] = {0};
    uint64_t n_chosen = 0;
    for (size_t i = 0; i < (size_t)work->x.n_tokens * f->hp->top_k; i++) {
        if (ids[i] < f->experts.begin || ids[i] >= f->experts.end)
            continue;
        uint64_t bit = (uint64_t)1 << ids[i] % 64;
        n_chosen += !(seen[ids[i] / 64] & bit);
        seen[ids[i] / 64] |= bit;
        f->traffic.expert_rows++;
    }
    f->traffic.weight_bytes += n_chosen * (w->gate_exps.d_out * w->gate_exps.row_bytes +
                                           w->up_exps.d_out * w->up_exps.row_bytes +
                                           w->down_exps.d_out * w->down_exps.row_bytes);
}

/* Router logits and the shared expert's gate; with them `more`, other products of the same input.
 */
static enum status project(struct forward *f, const struct bound_ffn *w,
                           const struct activation *in, const struct products *more,
                           struct error *err) {
    const struct activation_plan *at = &f->plan;
    uint32_t n_router = w->router.w.d_out;
    float *logits = forward_floats(f, at->router_logits);
    float *own_logits = f->n_tp > 1 ? forward_floats(f, at->router_own) : logits;
    struct products all = *more;
    if (n_router > 0)
        all.list[all.n++] = forward_product(&w->router, in, own_logits, n_router);
    if (w->has_shared)
        all.list[all.n++] =
            forward_product(&w->shared_gate, in, forward_floats(f, at->shared_logit), 1);
    if (all.n > 0)
        forward_products(f, all.list, all.n);
    if (f->n_tp == 1)
        return OK;
    return exchange_columns(f->exchange,
                            &(struct exchange_columns_args){.out = logits,
                                                            .own = own_logits,
                                                            .ranges = w->router_ranges,
                                                            .n_rows = f->n_tokens,
                                                            .n_columns = f->hp->n_experts},
                            err);
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

/* y receives the roots of this rank's experts for the rows of `work` (kernels/experts/). */
static void run_experts(struct forward *f, const struct bound_ffn *w,
                        const struct exchange_work *work, const struct products *beside, float *y) {
    const struct activation_plan *at = &f->plan;
    count_experts(f, w, work);
    f->kernels->experts(
        f->ctx, &(struct experts_args){
                    .y = y,
                    .x = &work->x,
                    .ids = work->ids,
                    .weights = work->weights,
                    .top_k = f->hp->top_k,
                    .n_experts_all = f->hp->n_experts,
                    .first_expert = f->experts.begin,
                    .buckets = f->buckets,
                    .gate = &w->gate_exps,
                    .up = &w->up_exps,
                    .down = &w->down_exps,
                    .whole = &w->experts_whole,
                    .down_split = &w->experts_down_split,
                    .beside = beside->list,
                    .n_beside = beside->n,
                    .gate_out = forward_floats(f, at->gate_out),
                    .up_out = forward_floats(f, at->up_out),
                    .hidden_blocks = (struct act_block *)(void *)(f->memory + at->hidden_blocks),
                    .down_out = forward_floats(f, at->down_out),
                    .order = (uint32_t *)(void *)(f->memory + at->order)});
}

/* What the router chose, in the plan's places. */
static uint32_t *chosen_ids(const struct forward *f) {
    return (uint32_t *)(void *)(f->memory + f->plan.expert_ids);
}

/* mix = the routed experts' sum, and shared_out that of the shared expert, for the rows that this
 * rank finishes; `beside` makes this rank's part of the latter. */
static enum status routed(struct forward *f, const struct bound_ffn *w, const struct activation *in,
                          const struct exchange_sum_layout *shared, const struct products *beside,
                          struct error *err) {
    const struct activation_plan *at = &f->plan;
    float *mix = forward_floats(f, at->mix);
    const struct exchange_home home = {
        .x = in, .ids = chosen_ids(f), .weights = forward_floats(f, at->expert_weights)};
    struct exchange_work work = {.x = *in, .ids = home.ids, .weights = home.weights};
    if (!f->exchange) {
        run_experts(f, w, &work, beside, mix);
        return OK;
    }
    TRY(exchange_dispatch(f->exchange, &home, &work, err));
    run_experts(f, w, &work, beside, exchange_expert_roots(f->exchange));
    const struct exchange_combine_args combine = {.out = mix,
                                                  .shared = shared,
                                                  .shared_out = forward_floats(f, at->shared_out),
                                                  .n_rows = f->n_tokens};
    return exchange_combine(f->exchange, &combine, err);
}

/* x += mix + gate * shared_out for the rows of this rank, then everybody's. */
static enum status finish(struct forward *f, const struct bound_ffn *w, float *x,
                          struct error *err) {
    uint32_t d = f->hp->d_model;
    struct index_range own = {0, f->n_tokens};
    if (f->exchange)
        own = exchange_slice(f->exchange, f->n_tokens);
    size_t first = (size_t)own.begin * d;
    const float *mix = forward_floats(f, f->plan.mix) + first;
    if (w->has_shared)
        f->kernels->add_shared(
            f->ctx,
            &(struct add_shared_args){.x = x + first,
                                      .routed = mix,
                                      .shared = forward_floats(f, f->plan.shared_out) + first,
                                      .gate = forward_floats(f, f->plan.shared_logit) + own.begin,
                                      .n_tokens = own.end - own.begin,
                                      .d = d});
    else
        forward_add(f, x + first, mix, (uint64_t)(own.end - own.begin) * d);
    return f->exchange ? exchange_share(f->exchange, x, f->n_tokens, err) : OK;
}

/* Alone the shared expert's first products join the router's. In an attention group they wait for
 * the choice, which decides who makes them. */
static enum status experts(struct forward *f, const struct bound_ffn *w,
                           const struct activation *in, float *x, struct error *err) {
    struct shared_turn turn;
    struct products first = {.n = 0}, beside = {.n = 0};
    struct activation hidden;
    bool wait = f->n_tp > 1;
    if (w->has_shared && !wait) {
        shared_expert_divide(f, w, NULL, &turn);
        first.n = shared_expert_products(f, w, &turn, in, first.list);
    }
    TRY(project(f, w, in, &first, err));
    choose_experts(f, chosen_ids(f), forward_floats(f, f->plan.expert_weights));
    if (w->has_shared && wait) {
        shared_expert_divide(f, w, chosen_ids(f), &turn);
        first.n = shared_expert_products(f, w, &turn, in, first.list);
        if (first.n > 0)
            forward_products(f, first.list, first.n);
    }
    if (w->has_shared)
        beside.n = shared_expert_roots(f, w, &turn, &hidden, beside.list);
    TRY(routed(f, w, in, w->has_shared && wait ? &turn.sum : NULL, &beside, err));
    return finish(f, w, x, err);
}

enum status forward_ffn_layer(struct forward *f, const struct bound_layer *layer, float *x,
                              struct error *err) {
    struct activation in = forward_normed(f, x, layer->ffn_norm);
    if (f->hp->n_experts == 0)
        return dense(f, &layer->ffn, &in, x, err);
    return experts(f, &layer->ffn, &in, x, err);
}
