/* SPDX-License-Identifier: Apache-2.0 */
/* The walk through the layers, and the two ways to its end: the trunk's head and the MTP block. */
#include "worker/forward/forward.h"

#include "worker/fault.h"
#include "worker/forward/rope_table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct act_block) == ACTIVATION_BLOCK_BYTES, "the plan counts these");

struct activation forward_blocks(const struct forward *f, uint64_t blocks, const float *x,
                                 uint32_t d) {
    return (struct activation){.x = x,
                               .blocks = (struct act_block *)(void *)(f->memory + blocks),
                               .n_tokens = f->n_tokens,
                               .d = d};
}

struct matmul_args forward_product(const struct linear *linear, const struct activation *x,
                                   float *y, uint64_t y_stride) {
    assert(x->d == linear->w.d_in && y_stride >= linear->w.d_out);
    return (struct matmul_args){
        .y = y, .y_stride = y_stride, .x = x, .w = &linear->w, .split = &linear->split};
}

void forward_products(struct forward *f, const struct matmul_args *products, uint32_t n) {
    f->kernels->matmul(f->ctx, products, n);
}

void forward_linear(struct forward *f, const struct linear *linear, const struct activation *x,
                    float *y, uint64_t y_stride) {
    struct matmul_args product = forward_product(linear, x, y, y_stride);
    forward_products(f, &product, 1);
}

uint32_t forward_root_products(struct forward *f, const struct row_parallel *w,
                               const struct activation *x, float *sum,
                               struct matmul_args products[KSPLIT_PARTS]) {
    uint32_t d = f->hp->d_model, n = w->sum.n_own_roots;
    float *y = f->n_tp > 1 ? exchange_roots(f->exchange) : sum;
    for (uint32_t i = 0; i < n; i++) {
        products[i] = forward_product(&w->linear, x, y + (size_t)i * x->n_tokens * d, d);
        products[i].split = &w->roots[i];
    }
    return n;
}

enum status forward_add_product(struct forward *f, const struct row_parallel *w,
                                const struct activation *in, float *x, struct error *err) {
    struct matmul_args products[KSPLIT_PARTS];
    uint32_t d = f->hp->d_model;
    float *mix = forward_floats(f, f->plan.mix);
    uint32_t n = forward_root_products(f, w, in, mix, products);
    if (n > 0)
        forward_products(f, products, n);
    if (f->n_tp == 1) {
        forward_add(f, x, mix, (uint64_t)f->n_tokens * d);
        return OK;
    }
    struct index_range own = exchange_slice(f->exchange, f->n_tokens);
    TRY(exchange_sum(f->exchange, &w->sum, f->n_tokens, mix, err));
    forward_add(f, x + (size_t)own.begin * d, mix + (size_t)own.begin * d,
                (uint64_t)(own.end - own.begin) * d);
    return exchange_share(f->exchange, x, f->n_tokens, err);
}

void forward_add(struct forward *f, float *x, const float *y, uint64_t n) {
    f->kernels->add(f->ctx, &(struct add_args){.x = x, .y = y, .n = n});
}

static struct rmsnorm_args norm_args(const struct forward *f, float *out, const float *x,
                                     const float *w) {
    return (struct rmsnorm_args){.out = out,
                                 .x = x,
                                 .w = w,
                                 .n_tokens = f->n_tokens,
                                 .d = f->hp->d_model,
                                 .eps = f->hp->norm_eps};
}

void forward_norm(struct forward *f, float *out, const float *x, const float *w) {
    struct rmsnorm_args a = norm_args(f, out, x, w);
    f->kernels->rmsnorm(f->ctx, &a);
}

struct activation forward_normed(struct forward *f, const float *x, const float *w) {
    float *h = forward_floats(f, f->plan.h);
    struct activation normed = forward_blocks(f, f->plan.blocks, h, f->hp->d_model);
    struct rmsnorm_args a = norm_args(f, h, x, w);
    a.blocks = normed.blocks;
    f->kernels->rmsnorm(f->ctx, &a);
    return normed;
}

/* Positions whose keys and values the rows of this step read, one row after the other. */
static uint64_t step_positions(const struct forward *f) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < f->n_seqs; i++) {
        uint64_t rows = f->seqs[i].n_rows, begin = f->seqs[i].pos_begin;
        n += rows * begin + rows * (rows + 1) / 2;
    }
    return n;
}

static enum status run_layer(struct forward *f, const struct bound_layer *layer, float *x,
                             struct error *err) {
    f->traffic.weight_bytes += layer->dense_bytes;
    if (f->group) {
        group_set_phase(f->group, PHASE_STEP, f->layer_idx);
        TRY(fault_here(f->group->fault, PHASE_STEP, f->layer_idx, f->group->rank_idx, err));
    }
    if (layer->mixer == MIXER_ATTENTION) {
        TRY(forward_attention_layer(f, layer, x, err));
        f->traffic.kv_bytes +=
            step_positions(f) * (f->kv->page_bytes / f->kv->options.n_layers / KV_PAGE_TOKENS);
    } else {
        TRY(forward_gdn_layer(f, layer, x, err));
        f->traffic.state_bytes += 2 * sizeof(float) * f->states->layer_floats * f->n_seqs;
    }
    return forward_ffn_layer(f, layer, x, err);
}

/* What the layers need to know about the step: which rows belong to whom, and the angles. */
static void begin_step(struct forward *f, const struct forward_seq *seqs, uint32_t n_seqs) {
    float *cos_sin = forward_floats(f, f->plan.cos_sin);
    uint32_t n_rot = f->hp->n_rot;
    f->seqs = seqs;
    f->n_seqs = n_seqs;
    f->n_tokens = 0;
    for (uint32_t i = 0; i < n_seqs; i++) {
        const struct forward_seq *seq = &seqs[i];
        assert(seq->row_begin == f->n_tokens && seq->n_rows > 0);
        f->kv_rows[i] = (struct kv_rows){.pages = seq->pages,
                                         .row_begin = seq->row_begin,
                                         .n_rows = seq->n_rows,
                                         .pos_begin = seq->pos_begin};
        for (uint32_t row = 0; row < seq->n_rows; row++)
            rope_angles(f->rope_freq, n_rot, f->rope_scale, seq->pos_begin + row,
                        cos_sin + (size_t)(f->n_tokens + row) * n_rot);
        f->n_tokens += seq->n_rows;
    }
}

static void show(const struct forward *f, const char *name, const float *x) {
    if (f->observer && f->observer->tap)
        f->observer->tap(f->observer->user,
                         &(struct tap_event){
                             .name = name, .x = x, .n_tokens = f->n_tokens, .d = f->hp->d_model});
}

enum status forward_run(struct forward *f, const struct forward_seq *seqs, uint32_t n_seqs,
                        const int32_t *ids, struct error *err) {
    float *x = forward_floats(f, f->plan.x), *final = forward_floats(f, f->plan.final);
    begin_step(f, seqs, n_seqs);
    f->kernels->embed(f->ctx,
                      &(struct embed_args){
                          .out = x, .table = &f->embedding, .ids = ids, .n_tokens = f->n_tokens});
    show(f, "embedding", x);
    for (uint32_t i = 0; i < f->hp->n_layers; i++) {
        f->layer_idx = i;
        TRY(run_layer(f, &f->layers[i], x, err));
        char name[32];
        snprintf(name, sizeof name, "layer %u output", i);
        show(f, name, x);
    }
    forward_norm(f, final, x, f->output_norm);
    show(f, "final norm", final);
    return OK;
}

enum status forward_run_mtp(struct forward *f, const int32_t *next_ids, struct error *err) {
    const struct bound_mtp *mtp = f->mtp;
    uint32_t d = f->hp->d_model, n = f->n_tokens;
    float *x = forward_floats(f, f->plan.x), *h = forward_floats(f, f->plan.h);
    float *mix = forward_floats(f, f->plan.mix), *in = forward_floats(f, f->plan.mtp_in);
    f->kernels->embed(
        f->ctx,
        &(struct embed_args){.out = h, .table = &f->embedding, .ids = next_ids, .n_tokens = n});
    forward_norm(f, h, h, mtp->enorm);
    forward_norm(f, mix, forward_floats(f, f->plan.final), mtp->hnorm);
    for (uint32_t t = 0; t < n; t++) {
        memcpy(in + (size_t)t * 2 * d, h + (size_t)t * d, d * sizeof *in);
        memcpy(in + ((size_t)t * 2 + 1) * d, mix + (size_t)t * d, d * sizeof *in);
    }
    struct activation both = forward_blocks(f, f->plan.blocks, in, 2 * d);
    f->kernels->activation_quantise(f->ctx, &both);
    forward_linear(f, &mtp->eh_proj, &both, x, d);
    f->layer_idx = f->hp->n_layers;
    TRY(run_layer(f, &mtp->layer, x, err));
    forward_norm(f, x, x, mtp->head_norm);
    return OK;
}

const float *forward_final(const struct forward *f) {
    return forward_floats(f, f->plan.final);
}

const float *forward_mtp_out(const struct forward *f) {
    return forward_floats(f, f->plan.x);
}

enum status forward_head(struct forward *f, const float *states, const uint32_t *rows, uint32_t n,
                         float **out, struct error *err) {
    uint32_t d = f->hp->d_model, n_own = f->head.w.d_out;
    float *in = forward_floats(f, f->plan.head_in), *logits = forward_floats(f, f->plan.logits);
    float *own = f->n_tp > 1 ? forward_floats(f, f->plan.own_logits) : logits;
    for (uint32_t i = 0; i < n; i++)
        memcpy(in + (size_t)i * d, states + (size_t)rows[i] * d, d * sizeof *in);
    struct activation a = forward_blocks(f, f->plan.head_blocks, in, d);
    a.n_tokens = n;
    f->kernels->activation_quantise(f->ctx, &a);
    if (n_own > 0)
        forward_linear(f, &f->head, &a, own, n_own);
    f->traffic.weight_bytes += n_own * f->head.w.row_bytes;
    *out = logits;
    if (f->n_tp == 1)
        return OK;
    return exchange_columns(f->exchange,
                            &(struct exchange_columns_args){.out = logits,
                                                            .own = own,
                                                            .ranges = f->head_ranges,
                                                            .n_rows = n,
                                                            .n_columns = f->hp->n_vocab},
                            err);
}
