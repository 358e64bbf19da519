/* SPDX-License-Identifier: Apache-2.0 */
/* A cursor walks through the memory; parts that are never alive together start at one place. */
#include "plan/activation_plan.h"

#include "base/size.h"

#include <stdbool.h>

struct cursor {
    uint64_t at, end; /* next free byte; largest ever */
};

static uint64_t take(struct cursor *c, uint64_t n, uint64_t bytes_each) {
    uint64_t offset = c->at;
    c->at = align_up(c->at + n * bytes_each, 64);
    if (c->at > c->end)
        c->end = c->at;
    return offset;
}

static uint64_t take_floats(struct cursor *c, uint64_t rows, uint64_t columns) {
    return take(c, rows * columns, sizeof(float));
}

static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t widest_input(const struct hparams *hp, bool with_mtp) {
    uint64_t widest = hp->d_model;
    widest = max_u64(widest, (uint64_t)hp->n_heads * hp->d_head);
    widest = max_u64(widest, (uint64_t)hp->n_v_heads * hp->d_v);
    widest = max_u64(widest, hp->d_ff);
    widest = max_u64(widest, hp->d_ff_shared);
    return with_mtp ? max_u64(widest, 2 * (uint64_t)hp->d_model) : widest;
}

static void plan_attention(struct activation_plan *plan, struct cursor *c, const struct hparams *hp,
                           uint64_t n_tokens) {
    uint64_t q = (uint64_t)hp->n_heads * hp->d_head;
    uint64_t kv = (uint64_t)hp->n_kv_heads * hp->d_head;
    plan->qg = take_floats(c, n_tokens, hp->attention_gate ? 2 * q : q);
    plan->k = take_floats(c, n_tokens, kv);
    plan->v = take_floats(c, n_tokens, kv);
    plan->q_rot = take_floats(c, n_tokens, q);
    plan->k_rot = take_floats(c, n_tokens, kv);
    plan->attn_out = take_floats(c, n_tokens, q);
}

static void plan_gdn(struct activation_plan *plan, struct cursor *c, const struct hparams *hp,
                     uint64_t n_tokens) {
    uint64_t v = (uint64_t)hp->n_v_heads * hp->d_v;
    plan->qkv = take_floats(c, n_tokens, hp->conv_dim);
    plan->z = take_floats(c, n_tokens, v);
    plan->conv = take_floats(c, n_tokens, hp->conv_dim);
    plan->ba = take_floats(c, n_tokens, 2 * (uint64_t)hp->n_v_heads);
    plan->gdn_out = take_floats(c, n_tokens, v);
    if (hp->arch == ARCH_QWEN3NEXT)
        plan->qkvz = take_floats(c, n_tokens, hp->conv_dim + v);
}

static void plan_ffn(struct activation_plan *plan, struct cursor *c, const struct hparams *hp,
                     uint64_t n_tokens, unsigned flags) {
    if (hp->n_experts == 0) {
        plan->gate_out = take_floats(c, n_tokens, hp->d_ff);
        plan->up_out = take_floats(c, n_tokens, hp->d_ff);
        return;
    }
    uint64_t n_slots = n_tokens * hp->top_k;
    plan->router_logits = take_floats(c, n_tokens, hp->n_experts);
    if (flags & ACTIVATION_IN_GROUP)
        plan->router_own = take_floats(c, n_tokens, hp->n_experts);
    plan->expert_ids = take(c, n_slots, sizeof(uint32_t));
    plan->expert_weights = take_floats(c, n_slots, 1);
    plan->gate_out = take_floats(c, n_slots, hp->d_ff_expert);
    plan->up_out = take_floats(c, n_slots, hp->d_ff_expert);
    plan->hidden_blocks = take(c, n_slots * div_up(hp->d_ff_expert, 32), ACTIVATION_BLOCK_BYTES);
    plan->down_out = take_floats(c, n_slots, hp->d_model);
    plan->order = take(c, n_slots + n_tokens + 2 * (uint64_t)hp->n_experts + 1, sizeof(uint32_t));
    plan->shared_gate = take_floats(c, n_tokens, hp->d_ff_shared);
    plan->shared_up = take_floats(c, n_tokens, hp->d_ff_shared);
    plan->shared_blocks = take(c, n_tokens * div_up(hp->d_ff_shared, 32), ACTIVATION_BLOCK_BYTES);
    plan->shared_out = take_floats(c, n_tokens, hp->d_model);
    plan->shared_logit = take_floats(c, n_tokens, 1);
}

void activation_plan_compute(struct activation_plan *plan, const struct hparams *hp,
                             uint32_t n_step_tokens, uint32_t n_logit_rows, unsigned flags) {
    bool with_mtp = flags & ACTIVATION_WITH_MTP;
    uint64_t n_tokens = n_step_tokens;
    struct cursor c = {0};
    *plan = (struct activation_plan){0};
    plan->x = take_floats(&c, n_tokens, hp->d_model);
    plan->h = take_floats(&c, n_tokens, hp->d_model);
    plan->mix = take_floats(&c, n_tokens, hp->d_model);
    plan->final = take_floats(&c, n_tokens, hp->d_model);
    plan->blocks =
        take(&c, n_tokens * div_up(widest_input(hp, with_mtp), 32), ACTIVATION_BLOCK_BYTES);
    plan->cos_sin = take_floats(&c, n_tokens, hp->n_rot);
    plan->ids = take(&c, n_tokens, sizeof(int32_t));

    uint64_t shared = c.at; /* attention, delta net, feed forward, head: one at a time */
    plan_attention(plan, &c, hp, n_tokens);
    if (with_mtp)
        plan->mtp_in = take_floats(&c, n_tokens, 2 * (uint64_t)hp->d_model);
    c.at = shared;
    if (hp->n_gdn_layers > 0)
        plan_gdn(plan, &c, hp, n_tokens);
    c.at = shared;
    plan_ffn(plan, &c, hp, n_tokens, flags);
    c.at = shared;
    plan->head_in = take_floats(&c, n_logit_rows, hp->d_model);
    plan->head_blocks =
        take(&c, (uint64_t)n_logit_rows * div_up(hp->d_model, 32), ACTIVATION_BLOCK_BYTES);
    plan->logits = take_floats(&c, n_logit_rows, hp->n_vocab);
    if (flags & ACTIVATION_IN_GROUP) {
        plan->own_logits = take_floats(&c, n_logit_rows, hp->n_vocab);
        plan->all_logits = take_floats(&c, n_logit_rows, hp->n_vocab);
    }
    plan->bytes = c.end;
}
