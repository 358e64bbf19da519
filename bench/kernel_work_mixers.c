/* SPDX-License-Identifier: Apache-2.0 */
/* Operations between positions: attention over pages, the delta net over states. Heads are those of
 * 35B-A3B. */
#include "bench/kernel_data.h"
#include "bench/kernel_work.h"

#include "base/size.h"
#include "tensor/f16.h"

#include <math.h>
#include <string.h>

#define N_HEADS    16u
#define N_KV_HEADS 2u
#define D_HEAD     256u
#define N_ROT      64u
#define N_K_HEADS  16u
#define N_V_HEADS  32u
#define D_DELTA    128u /* of keys and values */
#define CONV_DIM   (2 * N_K_HEADS * D_DELTA + N_V_HEADS * D_DELTA)

static enum status no_memory(const struct kernel_work *work, struct error *err) {
    return error_set(err, ERR_NOMEM, "%s: no memory for its inputs",
                     kernel_op_info(work->what.op)->name);
}

struct attention_work {
    struct kv_layer kv;
    uint32_t *pages; /* of the one sequence, in order */
    size_t stride;
    float *q, *gate, *key, *value;
};

static struct kv_rows kv_rows_of(const struct kernel_work *work, const struct kernel_run *run) {
    const struct attention_work *a = work->op;
    return (struct kv_rows){
        .pages = a->pages, .n_rows = run->n_tokens, .pos_begin = work->what.n_depth};
}

static void run_attention(struct kernel_work *work, const struct kernel_run *run) {
    const struct attention_work *a = work->op;
    struct kv_layer kv = a->kv;
    struct kv_rows rows = kv_rows_of(work, run);
    kv.pages = work->cold->data + run->set * a->stride;
    struct attention_args args = {.out = work->out,
                                  .q = a->q,
                                  .gate = a->gate,
                                  .gate_token_stride = N_HEADS * D_HEAD,
                                  .gate_head_stride = D_HEAD,
                                  .kv = &kv,
                                  .rows = &rows,
                                  .n_rows_entries = 1,
                                  .n_tokens = run->n_tokens,
                                  .n_heads = N_HEADS,
                                  .heads_per_kv = N_HEADS / N_KV_HEADS,
                                  .scale = 1 / sqrtf((float)D_HEAD)};
    run->kernels->attention(run->ctx, &args);
}

static void run_kv_append(struct kernel_work *work, const struct kernel_run *run) {
    const struct attention_work *a = work->op;
    struct kv_layer kv = a->kv;
    struct kv_rows rows = kv_rows_of(work, run);
    kv.pages = work->cold->data + run->set * a->stride;
    struct kv_append_args args = {
        .kv = &kv, .key = a->key, .value = a->value, .rows = &rows, .n_rows_entries = 1};
    run->kernels->kv_append(run->ctx, &args);
}

static void fill_pages(const struct kernel_work *work, size_t bytes) {
    for (size_t i = 0; i < bytes / dtype_row_bytes(work->what.dtype, 1); i++) {
        float x;
        random_fill(&x, 1, i, 1);
        uint16_t half = work->what.dtype == DTYPE_BF16 ? f32_to_bf16(x) : f32_to_f16(x);
        if (work->what.dtype == DTYPE_F32)
            memcpy(work->cold->data + 4 * i, &x, sizeof x);
        else
            memcpy(work->cold->data + 2 * i, &half, sizeof half);
    }
}

static enum status prepare_cache(struct kernel_work *work, struct error *err) {
    const struct kernel_case *c = &work->what;
    size_t n = c->n_tokens, d_kv = N_KV_HEADS * D_HEAD;
    size_t n_pages = div_up((size_t)c->n_depth + n, KV_PAGE_TOKENS);
    struct attention_work *a = arena_alloc(&work->arena, sizeof *a);
    if (!a)
        return no_memory(work, err);
    a->kv = (struct kv_layer){.page_bytes =
                                  2 * KV_PAGE_TOKENS * dtype_row_bytes(c->dtype, (uint32_t)d_kv),
                              .dtype = c->dtype,
                              .n_kv_heads = N_KV_HEADS,
                              .d_head = D_HEAD};
    a->pages = arena_array(&work->arena, n_pages, sizeof *a->pages);
    a->q = work_floats(work, n * N_HEADS * D_HEAD, 1, 1);
    a->gate = work_floats(work, n * N_HEADS * D_HEAD, 2, 3);
    a->key = work_floats(work, n * d_kv, 3, 1);
    a->value = work_floats(work, n * d_kv, 4, 1);
    if (!a->pages || !a->q || !a->gate || !a->key || !a->value)
        return no_memory(work, err);
    for (size_t i = 0; i < n_pages; i++)
        a->pages[i] = (uint32_t)i;
    struct cold_sets sets = {n_pages * a->kv.page_bytes, 1, UINT32_MAX};
    TRY(cold_memory_take(work->cold, &sets, &a->stride, &work->n_sets, err));
    fill_pages(work, sets.set_bytes);
    cold_memory_repeat(work->cold, a->stride, work->n_sets);
    work->op = a;
    return OK;
}

enum status prepare_attention(struct kernel_work *work, struct error *err) {
    const struct kernel_case *c = &work->what;
    TRY(prepare_cache(work, err));
    double n = c->n_tokens, positions = n * c->n_depth + n * (n + 1) / 2;
    work->run = run_attention;
    work->cold_bytes =
        (c->n_depth + n) * 2 * (double)dtype_row_bytes(c->dtype, N_KV_HEADS * D_HEAD);
    work->operations = 4.0 * N_HEADS * D_HEAD * positions;
    work->arithmetic = KERNEL_FLOATS;
    return work_out(work, (size_t)N_HEADS * D_HEAD, err);
}

enum status prepare_kv_append(struct kernel_work *work, struct error *err) {
    TRY(prepare_cache(work, err));
    work->run = run_kv_append;
    work->warm_bytes = work->what.n_tokens * 2.0 *
                       (4.0 * N_KV_HEADS * D_HEAD +
                        (double)dtype_row_bytes(work->what.dtype, N_KV_HEADS * D_HEAD));
    return OK;
}

struct rope_work {
    float *x, *w, *cos_sin;
};

static void run_rope(struct kernel_work *work, const struct kernel_run *run) {
    const struct rope_work *r = work->op;
    struct rope_args args = {.out = work->out,
                             .x = r->x,
                             .token_stride = N_HEADS * D_HEAD,
                             .head_stride = D_HEAD,
                             .w = r->w,
                             .cos_sin = r->cos_sin,
                             .n_tokens = run->n_tokens,
                             .n_heads = N_HEADS,
                             .d_head = D_HEAD,
                             .n_rot = N_ROT,
                             .eps = 1e-6f};
    run->kernels->rope(run->ctx, &args);
}

enum status prepare_rope(struct kernel_work *work, struct error *err) {
    size_t n = work->what.n_tokens;
    struct rope_work *r = arena_alloc(&work->arena, sizeof *r);
    if (!r)
        return no_memory(work, err);
    r->x = work_floats(work, n * N_HEADS * D_HEAD, 1, 1);
    r->w = work_floats(work, D_HEAD, 2, 1);
    r->cos_sin = work_floats(work, n * N_ROT, 3, 1);
    if (!r->x || !r->w || !r->cos_sin)
        return no_memory(work, err);
    work->op = r;
    work->run = run_rope;
    work->warm_bytes = (double)n * 8.0 * N_HEADS * D_HEAD;
    return work_out(work, (size_t)N_HEADS * D_HEAD, err);
}

/* Decoding of n sequences up to this many tokens, above it the prompt of one. */
#define GDN_SEQS_MAX 8u

struct gdn_work {
    float *u, *taps, *c, *gates, *a_coef, *dt_bias, *o, *z, *norm;
    struct act_block *blocks;
    size_t stride; /* set: [GDN_SEQS_MAX][conv 3 x CONV_DIM | state N_V_HEADS x D_DELTA^2] floats */
};

#define SEQ_FLOATS (3 * (size_t)CONV_DIM + (size_t)N_V_HEADS * D_DELTA * D_DELTA)

static uint32_t gdn_rows_of(const struct kernel_work *work, const struct kernel_run *run,
                            struct gdn_rows rows[GDN_SEQS_MAX]) {
    const struct gdn_work *g = work->op;
    bool decodes = work->what.n_tokens <= GDN_SEQS_MAX;
    uint32_t n_seqs = decodes ? run->n_tokens : 1;
    float *set = (float *)(void *)(work->cold->data + run->set * g->stride);
    for (uint32_t i = 0; i < n_seqs; i++)
        rows[i] = (struct gdn_rows){.conv = set + i * SEQ_FLOATS,
                                    .state = set + i * SEQ_FLOATS + 3 * (size_t)CONV_DIM,
                                    .row_begin = i,
                                    .n_rows = decodes ? 1 : run->n_tokens};
    return n_seqs;
}

static struct gdn_conv_args conv_args(const struct gdn_work *g, const struct gdn_rows *rows,
                                      uint32_t n_rows_entries) {
    return (struct gdn_conv_args){.u = g->u,
                                  .w = g->taps,
                                  .rows = rows,
                                  .n_rows_entries = n_rows_entries,
                                  .conv_dim = CONV_DIM};
}

static struct gdn_step_args step_args(const struct gdn_work *g, const struct gdn_rows *rows,
                                      uint32_t n_rows_entries) {
    return (struct gdn_step_args){.c = g->c,
                                  .a = g->gates,
                                  .b = g->gates + N_V_HEADS,
                                  .gate_token_stride = 2 * N_V_HEADS,
                                  .gate_group = N_V_HEADS,
                                  .gate_group_stride = N_V_HEADS,
                                  .a_coef = g->a_coef,
                                  .dt_bias = g->dt_bias,
                                  .rows = rows,
                                  .n_rows_entries = n_rows_entries,
                                  .n_k_heads = N_K_HEADS,
                                  .n_v_heads = N_V_HEADS,
                                  .d_k = D_DELTA,
                                  .d_v = D_DELTA,
                                  .order = GDN_HEADS_TILED};
}

static struct gdn_gate_args gate_args(const struct kernel_work *work,
                                      const struct kernel_run *run) {
    const struct gdn_work *g = work->op;
    return (struct gdn_gate_args){.out = work->out,
                                  .o = g->o,
                                  .z = g->z,
                                  .w = g->norm,
                                  .n_tokens = run->n_tokens,
                                  .n_heads = N_V_HEADS,
                                  .d = D_DELTA,
                                  .eps = 1e-6f};
}

static void run_gdn_conv(struct kernel_work *work, const struct kernel_run *run) {
    struct gdn_rows rows[GDN_SEQS_MAX];
    struct gdn_conv_args args = conv_args(work->op, rows, gdn_rows_of(work, run, rows));
    args.out = work->out;
    run->kernels->gdn_conv(run->ctx, &args);
}

static void run_gdn_step(struct kernel_work *work, const struct kernel_run *run) {
    struct gdn_rows rows[GDN_SEQS_MAX];
    struct gdn_step_args args = step_args(work->op, rows, gdn_rows_of(work, run, rows));
    args.o = work->out;
    run->kernels->gdn_step(run->ctx, &args);
}

static void run_gdn_gate(struct kernel_work *work, const struct kernel_run *run) {
    struct gdn_gate_args args = gate_args(work, run);
    run->kernels->gdn_gate(run->ctx, &args);
}

static void run_gdn_mix(struct kernel_work *work, const struct kernel_run *run) {
    const struct gdn_work *g = work->op;
    struct gdn_rows rows[GDN_SEQS_MAX];
    uint32_t n_entries = gdn_rows_of(work, run, rows);
    struct gdn_mix_args args = {.conv = conv_args(g, rows, n_entries),
                                .step = step_args(g, rows, n_entries),
                                .gate = gate_args(work, run),
                                .blocks = g->blocks};
    args.conv.out = g->c; /* what it makes, the step reads, and so on */
    args.step.o = g->o;
    run->kernels->gdn_mix(run->ctx, &args);
}

static enum status prepare_gdn(struct kernel_work *work, struct error *err) {
    size_t n = work->what.n_tokens, d_out = (size_t)N_V_HEADS * D_DELTA;
    size_t n_seqs = n <= GDN_SEQS_MAX ? n : 1;
    struct gdn_work *g = arena_alloc(&work->arena, sizeof *g);
    if (!g)
        return no_memory(work, err);
    g->u = work_floats(work, n * CONV_DIM, 1, 1);
    g->taps = work_floats(work, (size_t)CONV_DIM * GDN_CONV_TAPS, 2, 1);
    g->c = work_floats(work, n * CONV_DIM, 3, 1);
    g->gates = work_floats(work, n * 2 * N_V_HEADS, 4, 4);
    g->a_coef = work_floats(work, N_V_HEADS, 5, 1);
    g->dt_bias = work_floats(work, N_V_HEADS, 6, 1);
    g->o = work_floats(work, n * d_out, 7, 1);
    g->z = work_floats(work, n * d_out, 8, 1);
    g->norm = work_floats(work, D_DELTA, 9, 1);
    g->blocks = arena_array(&work->arena, n * d_out / ACT_BLOCK, sizeof *g->blocks);
    if (!g->u || !g->taps || !g->c || !g->gates || !g->a_coef || !g->dt_bias || !g->o || !g->z ||
        !g->norm || !g->blocks)
        return no_memory(work, err);
    for (uint32_t i = 0; i < N_V_HEADS; i++)
        g->a_coef[i] = -0.02f - 0.5f * (g->a_coef[i] + 1); /* decays, as every trained one does */
    struct cold_sets sets = {n_seqs * SEQ_FLOATS * sizeof(float), 2, UINT32_MAX};
    TRY(cold_memory_take(work->cold, &sets, &g->stride, &work->n_sets, err));
    random_fill((float *)(void *)work->cold->data, n_seqs * SEQ_FLOATS, 10, 0.1f);
    cold_memory_repeat(work->cold, g->stride, work->n_sets);
    work->op = g;
    work->changes_set = true;
    return OK;
}

enum status prepare_gdn_conv(struct kernel_work *work, struct error *err) {
    TRY(prepare_gdn(work, err));
    work->run = run_gdn_conv;
    work->warm_bytes = 4.0 * CONV_DIM * (2.0 * work->what.n_tokens + GDN_CONV_TAPS);
    return work_out(work, CONV_DIM, err);
}

/* The state is read once and written once per sequence. Per token and element of it: two operations
 * for S^T k, three for decay and update, two for S^T q. */
static enum status prepare_states(struct kernel_work *work, kernel_work_fn *run,
                                  struct error *err) {
    double state = (double)N_V_HEADS * D_DELTA * D_DELTA, n = work->what.n_tokens;
    TRY(prepare_gdn(work, err));
    work->run = run;
    work->cold_bytes = 8.0 * state * (n <= GDN_SEQS_MAX ? n : 1);
    work->operations = 7.0 * state * n;
    work->arithmetic = KERNEL_FLOATS;
    return work_out(work, (size_t)N_V_HEADS * D_DELTA, err);
}

enum status prepare_gdn_step(struct kernel_work *work, struct error *err) {
    return prepare_states(work, run_gdn_step, err);
}

enum status prepare_gdn_mix(struct kernel_work *work, struct error *err) {
    return prepare_states(work, run_gdn_mix, err);
}

enum status prepare_gdn_gate(struct kernel_work *work, struct error *err) {
    TRY(prepare_gdn(work, err));
    work->run = run_gdn_gate;
    work->warm_bytes = 12.0 * work->what.n_tokens * N_V_HEADS * D_DELTA;
    return work_out(work, (size_t)N_V_HEADS * D_DELTA, err);
}
