/* SPDX-License-Identifier: Apache-2.0 */
/* The feed-forward matrices: a dense width is cut within the attention group, the routed experts
 * are whole and each has one owner in the worker group. The shared expert is whole on every rank:
 * it is small, and who computes how much of it changes from step to step (shared_expert.h). */
#include "worker/forward/bind.h"

static struct ksplit_units ffn_units(uint32_t d_ff) {
    return (struct ksplit_units){
        .width = FFN_RUN, .n_units = (d_ff + FFN_RUN - 1) / FFN_RUN, .n_repeats = 1};
}

/* Pointers to this rank's experts of a tensor [n_experts, rows, columns]: `rows_each` rows of each
 * expert from `first_row` on (the merged gate_up tensor holds both halves). */
static enum status bind_experts(const struct binder *b, struct expert_matrices *out,
                                const struct tensor *tensor, uint32_t first_row, uint32_t rows_each,
                                const char *what) {
    struct index_range own = {0, (uint32_t)tensor->shape[0]};
    if (b->own)
        own = b->own->experts;
    uint32_t n_experts = own.end - own.begin, d_in = (uint32_t)tensor->shape[2];
    const void **data = arena_array(b->arena, (size_t)n_experts + 1, sizeof *data);
    if (!data)
        return error_set(b->err, ERR_NOMEM, "%s: no memory for %u experts", what, n_experts);
    uint64_t row_bytes = dtype_row_bytes(tensor->dtype, d_in);
    uint64_t expert_bytes = row_bytes * tensor->shape[1];
    for (uint32_t e = 0; e < n_experts; e++)
        data[e] = (const unsigned char *)tensor->data + (own.begin + e) * expert_bytes +
                  first_row * row_bytes;
    *out = (struct expert_matrices){.dtype = tensor->dtype,
                                    .n_experts = n_experts,
                                    .d_out = rows_each,
                                    .d_in = d_in,
                                    .row_bytes = row_bytes,
                                    .data = data};
    struct matrix shape = {
        .dtype = out->dtype, .d_out = rows_each, .d_in = d_in, .row_bytes = row_bytes};
    return bind_check_row(b, &shape, what);
}

static enum status bind_router(const struct binder *b, struct bound_ffn *out,
                               const struct ffn_weights *w) {
    struct krun own = {0, b->hp->n_experts};
    out->router_ranges = b->router;
    if (bind_is_cut(b))
        own = (struct krun){b->router[b->tp_idx].begin, b->router[b->tp_idx].end};
    TRY(bind_whole(b, &out->router, &w->router, "ffn_gate_inp"));
    return bind_keep_rows(b, &out->router, &own, 1);
}

static enum status bind_shared(const struct binder *b, struct bound_ffn *out,
                               const struct ffn_weights *w) {
    static const struct leaf_range all_parts = {0, KSPLIT_PARTS};
    out->has_shared = b->hp->d_ff_shared > 0;
    if (!out->has_shared)
        return OK;
    struct binder whole = *b;
    whole.n_tp = 1;
    whole.tp_idx = 0;
    TRY(bind_whole(b, &out->gate_shared, &w->gate_shared, "ffn_gate_shexp"));
    TRY(bind_whole(b, &out->up_shared, &w->up_shared, "ffn_up_shexp"));
    TRY(bind_parts(&whole, &out->down_shared, &w->down_shared, ffn_units(b->hp->d_ff_shared),
                   &all_parts, "ffn_down_shexp"));
    out->shared_parts = b->ffn;
    struct tensor gate = {.dtype = DTYPE_F32,
                          .n_dims = 2,
                          .shape = {1, b->hp->d_model, 1, 1},
                          .data = w->shared_gate,
                          .bytes = b->hp->d_model * sizeof(float)};
    return bind_whole(b, &out->shared_gate, &gate, "ffn_gate_inp_shexp");
}

static enum status bind_moe(const struct binder *b, struct bound_ffn *out,
                            const struct ffn_weights *w) {
    const struct hparams *hp = b->hp;
    uint32_t d_ff = hp->d_ff_expert;
    TRY(bind_router(b, out, w));
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
    return bind_shared(b, out, w);
}

/* gate and up keep the rows that are down's columns. */
static enum status bind_dense(const struct binder *b, struct bound_ffn *out,
                              const struct ffn_weights *w) {
    const struct cut *columns = &out->down.linear.columns;
    TRY(bind_whole(b, &out->gate, &w->gate, "ffn_gate"));
    TRY(bind_whole(b, &out->up, &w->up, "ffn_up"));
    TRY(bind_parts(b, &out->down, &w->down, ffn_units(b->hp->d_ff), b->ffn, "ffn_down"));
    TRY(bind_keep_rows(b, &out->gate, columns->runs, columns->n_runs));
    return bind_keep_rows(b, &out->up, columns->runs, columns->n_runs);
}

enum status bind_ffn(const struct binder *b, struct bound_ffn *out, const struct ffn_weights *w) {
    return b->hp->n_experts > 0 ? bind_moe(b, out, w) : bind_dense(b, out, w);
}
