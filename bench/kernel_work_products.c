/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that read weights: products, experts, the embedding, and their rearrangement. The
 * reference reads rows, the fast kernels panels of the same weights. */
#include "bench/kernel_data.h"
#include "bench/kernel_work.h"

#include "base/rng.h"
#include "base/size.h"
#include "tensor/panels.h"

#include <string.h>

static enum status no_memory(const struct kernel_work *work, struct error *err) {
    return error_set(err, ERR_NOMEM, "%s: no memory for its inputs",
                     kernel_op_info(work->what.op)->name);
}

static enum matrix_layout layout_of(const struct kernel_work *work) {
    bool panels = !work->kernels->exact && dtype_is_quantised(work->what.dtype);
    return panels ? MATRIX_PANELS : MATRIX_ROWS;
}

static enum kernel_arithmetic arithmetic_of(const struct kernel_work *work) {
    return dtype_is_quantised(work->what.dtype) && !work->kernels->exact ? KERNEL_INTEGERS
                                                                         : KERNEL_FLOATS;
}

/* Rows in the arena; false if memory is gone. */
static bool make_rows(struct kernel_work *work, uint32_t d_out, uint32_t d_in, uint64_t key,
                      struct matrix *w) {
    enum dtype dtype = work->what.dtype;
    *w = (struct matrix){
        .dtype = dtype, .d_out = d_out, .d_in = d_in, .row_bytes = dtype_row_bytes(dtype, d_in)};
    void *data = arena_array(&work->arena, d_out, w->row_bytes);
    w->data = data;
    if (data)
        random_rows(w, data, key);
    return data != NULL;
}

/* The weights as the kernels that are measured read them. */
static void lay_out(const struct matrix *rows, enum matrix_layout layout, void *to) {
    if (layout == MATRIX_PANELS)
        matrix_to_panels(rows, to);
    else
        memcpy(to, rows->data, rows->d_out * rows->row_bytes);
}

/* Random activations of the work, quantised by its own kernels. */
static bool make_activation(struct kernel_work *work, uint32_t d, struct activation *x) {
    uint32_t n = work->what.n_tokens;
    *x = (struct activation){.x = work_floats(work, (size_t)n * d, 7, 1), .n_tokens = n, .d = d};
    x->blocks = arena_array(&work->arena, (size_t)n * d / ACT_BLOCK, sizeof *x->blocks);
    if (!x->x || !x->blocks)
        return false;
    work->kernels->activation_quantise(work->ctx, x);
    return true;
}

struct matmul_work {
    struct matrix rows, w;
    struct activation x;
    struct ksplit split;
    size_t stride;
};

static void run_matmul(struct kernel_work *work, const struct kernel_run *run) {
    const struct matmul_work *m = work->op;
    struct activation x = m->x;
    struct matrix w = m->w;
    x.n_tokens = run->n_tokens;
    w.data = work->cold->data + run->set * m->stride;
    struct matmul_args args = {.y = work->out,
                               .y_stride = w.d_out,
                               .x = &x,
                               .w = run->kernels->exact ? &m->rows : &w,
                               .split = &m->split};
    run->kernels->matmul(run->ctx, &args, 1);
}

enum status prepare_matmul(struct kernel_work *work, struct error *err) {
    const struct kernel_case *c = &work->what;
    struct matmul_work *m = arena_alloc(&work->arena, sizeof *m);
    if (!m || !make_rows(work, c->d_out, c->d_in, 1, &m->rows) ||
        !make_activation(work, c->d_in, &m->x))
        return no_memory(work, err);
    TRY(ksplit_init_whole(&m->split, c->d_in, &work->arena, err));
    m->w = m->rows;
    m->w.layout = layout_of(work);
    struct cold_sets sets = {matrix_bytes(&m->w, m->w.layout), 1, UINT32_MAX};
    TRY(cold_memory_take(work->cold, &sets, &m->stride, &work->n_sets, err));
    lay_out(&m->rows, m->w.layout, work->cold->data);
    cold_memory_repeat(work->cold, m->stride, work->n_sets);
    work->op = m;
    work->run = run_matmul;
    work->cold_bytes = (double)m->rows.row_bytes * c->d_out;
    work->operations = 2.0 * c->d_out * c->d_in * c->n_tokens;
    work->arithmetic = arithmetic_of(work);
    return work_out(work, c->d_out, err);
}

/* 256 experts of which each token chooses 8. Few are different, because the reference needs their
 * rows too; the copies that fast kernels read lie apart, as far as the cold memory goes. */
#define N_EXPERTS           256u
#define TOP_K               8u
#define N_DIFFERENT_EXPERTS 4u
#define N_ROUTINGS          16u

enum projection { GATE, UP, DOWN, N_PROJECTIONS };

struct experts_work {
    struct expert_matrices rows[N_PROJECTIONS], w[N_PROJECTIONS];
    struct activation x;
    struct ksplit whole, down_split;
    uint32_t *ids; /* [N_ROUTINGS, n_tokens, TOP_K] */
    float *weights;
    struct experts_args args; /* scratch filled in */
};

static void run_experts(struct kernel_work *work, const struct kernel_run *run) {
    const struct experts_work *e = work->op;
    const struct expert_matrices *w = run->kernels->exact ? e->rows : e->w;
    struct activation x = e->x;
    x.n_tokens = run->n_tokens;
    struct experts_args args = e->args;
    args.y = work->out;
    args.x = &x;
    args.ids = e->ids + (size_t)run->set * work->what.n_tokens * TOP_K;
    args.weights = e->weights;
    args.gate = &w[GATE];
    args.up = &w[UP];
    args.down = &w[DOWN];
    args.whole = &e->whole;
    args.down_split = &e->down_split;
    run->kernels->experts(run->ctx, &args);
}

/* Rising ids; returns how many different experts the routing calls. */
static uint32_t route(uint32_t n_tokens, uint64_t key, uint32_t *ids) {
    bool called[N_EXPERTS] = {false};
    uint32_t n_called = 0;
    for (uint32_t t = 0; t < n_tokens; t++) {
        uint32_t left = TOP_K;
        for (uint32_t e = 0; left > 0; e++) {
            if (rng_u64(key + t, e) % (N_EXPERTS - e) >= left)
                continue;
            ids[t * TOP_K + TOP_K - left--] = e;
            n_called += !called[e];
            called[e] = true;
        }
    }
    return n_called;
}

static struct expert_matrices expert_list(const struct matrix *w, const void *const *data) {
    return (struct expert_matrices){.dtype = w->dtype,
                                    .layout = w->layout,
                                    .n_experts = N_EXPERTS,
                                    .d_out = w->d_out,
                                    .d_in = w->d_in,
                                    .row_bytes = w->row_bytes,
                                    .data = data};
}

static enum status make_experts(struct kernel_work *work, struct experts_work *e,
                                struct error *err) {
    const struct kernel_case *c = &work->what;
    struct matrix rows[N_PROJECTIONS][N_DIFFERENT_EXPERTS];
    const void **lists[2 * N_PROJECTIONS];
    size_t offset[N_PROJECTIONS + 1] = {0}, stride;
    uint32_t n_copies;
    for (uint32_t p = 0; p < N_PROJECTIONS; p++) {
        uint32_t d_out = p == DOWN ? c->d_in : c->d_out, d_in = p == DOWN ? c->d_out : c->d_in;
        for (uint32_t i = 0; i < N_DIFFERENT_EXPERTS; i++) {
            if (!make_rows(work, d_out, d_in, 10 * p + 100 * i, &rows[p][i]))
                return no_memory(work, err);
        }
        size_t bytes = matrix_bytes(&rows[p][0], layout_of(work));
        offset[p + 1] = offset[p] + align_up(bytes, PANEL_ALIGNMENT);
        lists[p] = arena_array(&work->arena, N_EXPERTS, sizeof *lists[p]);
        lists[N_PROJECTIONS + p] = arena_array(&work->arena, N_EXPERTS, sizeof *lists[p]);
        if (!lists[p] || !lists[N_PROJECTIONS + p])
            return no_memory(work, err);
    }
    struct cold_sets sets = {offset[N_PROJECTIONS], N_DIFFERENT_EXPERTS, N_EXPERTS};
    TRY(cold_memory_take(work->cold, &sets, &stride, &n_copies, err));
    n_copies -= n_copies % N_DIFFERENT_EXPERTS;
    for (uint32_t i = 0; i < N_EXPERTS; i++) {
        for (uint32_t p = 0; p < N_PROJECTIONS; p++) {
            const struct matrix *w = &rows[p][i % N_DIFFERENT_EXPERTS];
            unsigned char *copy = work->cold->data + i % n_copies * stride + offset[p];
            if (i < N_DIFFERENT_EXPERTS)
                lay_out(w, layout_of(work), copy);
            else if (i < n_copies)
                memcpy(copy, copy - N_DIFFERENT_EXPERTS * stride, offset[p + 1] - offset[p]);
            lists[p][i] = w->data;
            lists[N_PROJECTIONS + p][i] = copy;
        }
    }
    for (uint32_t p = 0; p < N_PROJECTIONS; p++) {
        e->rows[p] = expert_list(&rows[p][0], lists[p]);
        e->w[p] = expert_list(&rows[p][0], lists[N_PROJECTIONS + p]);
        e->w[p].layout = layout_of(work);
    }
    return OK;
}

enum status prepare_experts(struct kernel_work *work, struct error *err) {
    const struct kernel_case *c = &work->what;
    uint32_t d_ff = c->d_out, d_model = c->d_in;
    size_t n_pairs = (size_t)c->n_tokens * TOP_K;
    struct experts_work *e = arena_alloc(&work->arena, sizeof *e);
    if (!e || !make_activation(work, d_model, &e->x))
        return no_memory(work, err);
    TRY(make_experts(work, e, err));
    TRY(ksplit_init_whole(&e->whole, d_model, &work->arena, err));
    struct ksplit_units units = {.d_in = d_ff,
                                 .width = 256,
                                 .n_units = (uint32_t)div_up(d_ff, 256),
                                 .n_repeats = 1,
                                 .block = dtype_info(c->dtype)->block_elements};
    TRY(ksplit_init_units(&e->down_split, &units, &work->arena, err));
    e->ids = arena_array(&work->arena, N_ROUTINGS * n_pairs, sizeof *e->ids);
    e->weights = work_floats(work, n_pairs, 5, 1);
    e->args = (struct experts_args){
        .top_k = TOP_K,
        .n_experts_all = N_EXPERTS,
        .buckets = {0, EXPERT_BUCKETS},
        .gate_out = work_floats(work, n_pairs * d_ff, 0, 0),
        .up_out = work_floats(work, n_pairs * d_ff, 0, 0),
        .hidden_blocks =
            arena_array(&work->arena, n_pairs * d_ff / ACT_BLOCK, sizeof(struct act_block)),
        .down_out = work_floats(work, n_pairs * d_model, 0, 0),
        .order =
            arena_array(&work->arena, n_pairs + c->n_tokens + 2 * N_EXPERTS + 1, sizeof(uint32_t))};
    if (!e->ids || !e->weights || !e->args.gate_out || !e->args.up_out || !e->args.hidden_blocks ||
        !e->args.down_out || !e->args.order)
        return no_memory(work, err);
    double n_called = 0;
    for (uint32_t i = 0; i < N_ROUTINGS; i++)
        n_called += route(c->n_tokens, 1000003ull * i, e->ids + i * n_pairs);
    double one_expert = 2.0 * d_ff * (double)e->rows[GATE].row_bytes +
                        (double)d_model * (double)e->rows[DOWN].row_bytes;
    work->op = e;
    work->run = run_experts;
    work->n_sets = N_ROUTINGS;
    work->cold_bytes = n_called / N_ROUTINGS * one_expert;
    work->operations = 6.0 * d_ff * d_model * (double)n_pairs;
    work->arithmetic = arithmetic_of(work);
    return work_out(work, d_model, err);
}

struct embed_work {
    struct matrix table;
    int32_t *ids; /* [N_ROUTINGS, n_tokens] */
};

static void run_embed(struct kernel_work *work, const struct kernel_run *run) {
    const struct embed_work *e = work->op;
    struct embed_args args = {.out = work->out,
                              .table = &e->table,
                              .ids = e->ids + (size_t)run->set * work->what.n_tokens,
                              .n_tokens = run->n_tokens};
    run->kernels->embed(run->ctx, &args);
}

/* The table stays in rows: only a few of them are read. */
enum status prepare_embed(struct kernel_work *work, struct error *err) {
    const struct kernel_case *c = &work->what;
    struct embed_work *e = arena_alloc(&work->arena, sizeof *e);
    size_t n_ids = (size_t)N_ROUTINGS * c->n_tokens;
    if (!e || !make_rows(work, c->d_out, c->d_in, 1, &e->table))
        return no_memory(work, err);
    e->ids = arena_array(&work->arena, n_ids, sizeof *e->ids);
    if (!e->ids)
        return no_memory(work, err);
    for (size_t i = 0; i < n_ids; i++)
        e->ids[i] = (int32_t)(rng_u64(3, i) % c->d_out);
    work->op = e;
    work->run = run_embed;
    work->n_sets = N_ROUTINGS;
    work->warm_bytes = (double)c->n_tokens * ((double)e->table.row_bytes + 4.0 * c->d_in);
    return work_out(work, c->d_in, err);
}

struct pack_work {
    struct matrix rows;
    unsigned char *panels;
    size_t stride;
};

static void pack_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct pack_work *p = arg;
    uint64_t begin, end;
    thread_range(p->rows.d_out / PANEL_ROWS, thread_idx, n_threads, &begin, &end);
    struct matrix part = p->rows;
    part.d_out = (uint32_t)(end - begin) * PANEL_ROWS;
    part.data = (const unsigned char *)p->rows.data + begin * PANEL_ROWS * p->rows.row_bytes;
    matrix_to_panels(&part, p->panels + begin * panel_bytes(part.dtype, part.d_in));
}

static void run_pack(struct kernel_work *work, const struct kernel_run *run) {
    struct pack_work *p = work->op;
    p->panels = work->cold->data + run->set * p->stride;
    thread_pool_run(run->ctx->pool, pack_task, p);
}

enum status prepare_pack(struct kernel_work *work, struct error *err) {
    const struct kernel_case *c = &work->what;
    struct pack_work *p = arena_alloc(&work->arena, sizeof *p);
    if (c->d_out % PANEL_ROWS)
        return error_set(err, ERR_INPUT, "pack of %ux%u: rows in multiples of %u", c->d_out,
                         c->d_in, PANEL_ROWS);
    if (!p || !make_rows(work, c->d_out, c->d_in, 1, &p->rows))
        return no_memory(work, err);
    struct cold_sets sets = {matrix_bytes(&p->rows, MATRIX_PANELS), 1, UINT32_MAX};
    TRY(cold_memory_take(work->cold, &sets, &p->stride, &work->n_sets, err));
    memset(work->cold->data, 0, p->stride);
    cold_memory_repeat(work->cold, p->stride, work->n_sets); /* the pages are there, as in a load */
    work->op = p;
    work->run = run_pack;
    work->cold_bytes = 2.0 * (double)p->rows.row_bytes * c->d_out; /* read once, written once */
    return OK;
}
