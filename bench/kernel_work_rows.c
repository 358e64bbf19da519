/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the rows of a step, which caches hold: norms, quantising, routing, sums. */
#include "bench/kernel_data.h"
#include "bench/kernel_work.h"

#define D_MODEL   2048u
#define D_FF      512u
#define N_EXPERTS 256u
#define TOP_K     8u

/* Any of them reads one to four arrays of floats. */
struct rows_work {
    float *x, *y, *z, *gate;
    uint32_t *ids;
    struct activation activation;
};

/* `d` floats per token in each array. */
static enum status make_rows_work(struct kernel_work *work, kernel_work_fn *run, size_t d,
                                  struct error *err) {
    size_t n = work->what.n_tokens;
    struct rows_work *r = arena_alloc(&work->arena, sizeof *r);
    if (!r)
        return error_set(err, ERR_NOMEM, "no memory for rows");
    r->x = work_floats(work, n * d, 1, 1);
    r->y = work_floats(work, n * d, 2, 1);
    r->z = work_floats(work, n * d, 3, 1);
    r->gate = work_floats(work, n, 4, 1);
    r->ids = arena_array(&work->arena, n * TOP_K, sizeof *r->ids);
    if (!r->x || !r->y || !r->z || !r->gate || !r->ids)
        return error_set(err, ERR_NOMEM, "%s: no memory for its inputs",
                         kernel_op_info(work->what.op)->name);
    work->op = r;
    work->run = run;
    return OK;
}

static void run_rmsnorm(struct kernel_work *work, const struct kernel_run *run) {
    const struct rows_work *r = work->op;
    struct rmsnorm_args args = {.out = work->out,
                                .x = r->x,
                                .w = r->y,
                                .n_tokens = run->n_tokens,
                                .d = D_MODEL,
                                .eps = 1e-6f};
    run->kernels->rmsnorm(run->ctx, &args);
}

enum status prepare_rmsnorm(struct kernel_work *work, struct error *err) {
    TRY(make_rows_work(work, run_rmsnorm, D_MODEL, err));
    work->warm_bytes = 8.0 * D_MODEL * work->what.n_tokens;
    return work_out(work, D_MODEL, err);
}

static void run_quantise(struct kernel_work *work, const struct kernel_run *run) {
    struct rows_work *r = work->op;
    struct activation a = r->activation;
    a.n_tokens = run->n_tokens;
    run->kernels->activation_quantise(run->ctx, &a);
}

enum status prepare_quantise(struct kernel_work *work, struct error *err) {
    size_t n = work->what.n_tokens;
    TRY(make_rows_work(work, run_quantise, D_MODEL, err));
    struct rows_work *r = work->op;
    r->activation = (struct activation){.x = r->x, .n_tokens = (uint32_t)n, .d = D_MODEL};
    r->activation.blocks =
        arena_array(&work->arena, n * D_MODEL / ACT_BLOCK, sizeof *r->activation.blocks);
    if (!r->activation.blocks)
        return error_set(err, ERR_NOMEM, "no memory for blocks");
    work->warm_bytes = (double)n * D_MODEL * (4 + (double)sizeof(struct act_block) / ACT_BLOCK);
    return OK;
}

static void run_router(struct kernel_work *work, const struct kernel_run *run) {
    const struct rows_work *r = work->op;
    struct router_args args = {.ids = r->ids,
                               .weights = work->out,
                               .logits = r->x,
                               .n_tokens = run->n_tokens,
                               .n_experts = N_EXPERTS,
                               .top_k = TOP_K};
    run->kernels->router(run->ctx, &args);
}

enum status prepare_router(struct kernel_work *work, struct error *err) {
    TRY(make_rows_work(work, run_router, N_EXPERTS, err));
    work->warm_bytes = 4.0 * N_EXPERTS * work->what.n_tokens;
    return work_out(work, TOP_K, err);
}

static void run_swiglu(struct kernel_work *work, const struct kernel_run *run) {
    const struct rows_work *r = work->op;
    struct swiglu_args args = {.out = work->out,
                               .gate = r->x,
                               .up = r->y,
                               .n = (uint64_t)run->n_tokens * TOP_K * D_FF,
                               .n_rows = 1};
    run->kernels->swiglu(run->ctx, &args);
}

enum status prepare_swiglu(struct kernel_work *work, struct error *err) {
    size_t d = (size_t)TOP_K * D_FF;
    TRY(make_rows_work(work, run_swiglu, d, err));
    work->warm_bytes = 12.0 * (double)d * work->what.n_tokens;
    return work_out(work, d, err);
}

static void run_add(struct kernel_work *work, const struct kernel_run *run) {
    const struct rows_work *r = work->op;
    struct add_args args = {.x = work->out, .y = r->y, .n = (uint64_t)run->n_tokens * D_MODEL};
    run->kernels->add(run->ctx, &args);
}

enum status prepare_add(struct kernel_work *work, struct error *err) {
    TRY(make_rows_work(work, run_add, D_MODEL, err));
    work->warm_bytes = 12.0 * D_MODEL * work->what.n_tokens;
    return work_out(work, D_MODEL, err);
}

static void run_add_shared(struct kernel_work *work, const struct kernel_run *run) {
    const struct rows_work *r = work->op;
    struct add_shared_args args = {.x = work->out,
                                   .routed = r->y,
                                   .shared = r->z,
                                   .gate = r->gate,
                                   .n_tokens = run->n_tokens,
                                   .d = D_MODEL};
    run->kernels->add_shared(run->ctx, &args);
}

enum status prepare_add_shared(struct kernel_work *work, struct error *err) {
    TRY(make_rows_work(work, run_add_shared, D_MODEL, err));
    work->warm_bytes = 16.0 * D_MODEL * work->what.n_tokens;
    return work_out(work, D_MODEL, err);
}
