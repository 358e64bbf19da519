/* SPDX-License-Identifier: Apache-2.0 */
/* Opening is a list of parts, each with its memory from the plan. In a group every rank goes
 * through the same list and none leaves it alone: what can fail on one rank ends in an agreement.
 */
#include "base/size.h"
#include "worker/cache/mapping.h"
#include "worker/engine_state.h"
#include "worker/forward/shared_expert.h"
#include "worker/memory_probe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(ENGINE_PAGE_TOKENS == KV_PAGE_TOKENS, "pages as the attention kernels read them");

static enum status check_options(struct engine_options *o, struct error *err) {
    if (o->n_threads == 0)
        o->n_threads = cpu_count();
    if (o->n_seqs == 0)
        o->n_seqs = 1;
    if (o->n_step_tokens == 0)
        o->n_step_tokens = ENGINE_STEP_TOKENS_DEFAULT;
    if (o->n_logit_rows == 0)
        o->n_logit_rows = ENGINE_LOGIT_ROWS_DEFAULT;
    if (o->n_seqs > ENGINE_SEQS_MAX)
        return error_set(err, ERR_LIMIT, "%u sequences at once; at most %u are possible", o->n_seqs,
                         ENGINE_SEQS_MAX);
    if (o->n_step_tokens > ENGINE_STEP_TOKENS_MAX)
        return error_set(err, ERR_LIMIT, "%u tokens per step; at most %u are possible",
                         o->n_step_tokens, ENGINE_STEP_TOKENS_MAX);
    if (o->ctx_size > o->hp->n_ctx_train)
        return error_set(err, ERR_LIMIT, "context of %u tokens: this model allows at most %u",
                         o->ctx_size, o->hp->n_ctx_train);
    return OK;
}

/* Everybody's error if it is one rank's. */
static enum status agree(struct engine *e, enum status status, struct error *err) {
    return engine_in_group(e) ? group_agree(e->options.group, status, err) : status;
}

/* One kind of device is one set of kernels: what all ranks have, best first. */
static enum status agree_on_kernels(struct engine *e, struct error *err) {
    struct group *group = e->options.group;
    static const char *const names[] = {"ref", "avx2", "avx512"};
    uint8_t own = 0, all[PLAN_RANKS_MAX], least = UINT8_MAX;
    for (uint8_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(e->kernels.name, names[i]) == 0)
            own = i;
    }
    TRY(group_all_gather(group, &own, sizeof own, all, err));
    for (uint32_t i = 0; i < group->n_ranks; i++)
        least = all[i] < least ? all[i] : least;
    return least == own ? OK : kernels_init(&e->kernels, names[least], err);
}

static void place_in_group(struct engine *e) {
    const struct engine_options *o = &e->options;
    e->n_groups = 1;
    if (engine_in_group(e)) {
        e->n_groups = o->shard->n_groups;
        e->own_group = o->shard->ranks[o->group->rank_idx].group;
        e->is_parked = true;
    }
    e->seqs_each = (uint32_t)div_up(o->n_seqs, e->n_groups);
}

/* What is known before any memory is taken: options, kernels, the network. */
static enum status prepare(struct engine *e, struct error *err) {
    struct engine_options *o = &e->options;
    TRY(agree(e, check_options(o, err), err));
    TRY(agree(e, kernels_init(&e->kernels, o->kernels, err), err));
    if (engine_in_group(e))
        TRY(agree_on_kernels(e, err));
    place_in_group(e);
    if (o->kv_dtype_auto)
        o->kv_dtype = e->kernels.exact ? DTYPE_F32 : DTYPE_F16;
    struct forward_options forward = {.hp = o->hp,
                                      .weights = o->weights,
                                      .kernels = &e->kernels,
                                      .ctx = &e->ctx,
                                      .kv = &e->kv,
                                      .states = &e->states,
                                      .group = o->group,
                                      .n_seqs_max = e->seqs_each};
    if (engine_in_group(e))
        forward.share = (struct forward_share){.plan = o->shard, .rank_idx = o->group->rank_idx};
    activation_plan_compute(&forward.plan, o->hp, o->n_step_tokens, o->n_logit_rows,
                            (o->weights->mtp ? ACTIVATION_WITH_MTP : 0) |
                                (engine_in_group(e) ? ACTIVATION_IN_GROUP : 0));
    return agree(e, forward_bind(&e->forward, &forward, &e->arena, err), err);
}

static enum matrix_layout quantised_layout(const struct engine *e) {
    return e->kernels.exact ? MATRIX_ROWS : MATRIX_PANELS;
}

/* Fast kernels read panels of our own, and a rank of a group its share; what else is bound stays in
 * the mapped file, and with the reference alone that is all. */
static uint64_t weights_bytes(struct engine *e) {
    const struct weights *weights = e->options.weights;
    struct weights_load_size size = weights_load_size(&e->forward, quantised_layout(e));
    if (engine_in_group(e))
        return size.memory_bytes + weights->token_embd.bytes;
    if (e->kernels.exact)
        return weights->bytes;
    return weights->bytes - size.file_bytes + size.memory_bytes;
}

static struct exchange_options exchange_options(const struct engine *e) {
    const struct engine_options *o = &e->options;
    uint32_t n_columns = o->hp->n_experts > o->hp->n_vocab ? o->hp->n_experts : o->hp->n_vocab;
    return (struct exchange_options){.group = o->group,
                                     .plan = o->shard,
                                     .pool = e->pool,
                                     .strategy = o->strategy,
                                     .d_model = o->hp->d_model,
                                     .n_experts = o->hp->n_experts,
                                     .top_k = o->hp->top_k,
                                     .n_columns = n_columns,
                                     .n_step_tokens = o->n_step_tokens,
                                     .n_free_rows = SHARED_EXPERT_FEW,
                                     .n_logit_rows = o->n_logit_rows,
                                     .whole_rows = forward_reads_floats(&e->forward)};
}

/* Shared memory and buffers of its own. */
static uint64_t exchange_bytes(const struct engine *e) {
    struct exchange_options options = exchange_options(e);
    if (!engine_in_group(e))
        return 0;
    return exchange_window_bytes(&options) + exchange_own_bytes(&options);
}

static void compute_plan(struct engine *e, uint32_t ctx_size) {
    const struct engine_options *o = &e->options;
    const struct forward *f = &e->forward;
    memory_plan_compute(&e->memory, &(struct memory_plan_input){
                                        .hp = o->hp,
                                        .in_group = engine_in_group(e),
                                        .n_kv_heads = f->kv_heads.end - f->kv_heads.begin,
                                        .n_k_heads = f->n_k_heads_max,
                                        .exchange_bytes = exchange_bytes(e),
                                        .weights_bytes = weights_bytes(e),
                                        .tables_bytes = o->tables_bytes,
                                        .ctx_size = ctx_size,
                                        .n_seqs = e->seqs_each,
                                        .n_kv_pages = (uint32_t)div_up(o->n_kv_pages, e->n_groups),
                                        .n_step_tokens = o->n_step_tokens,
                                        .n_logit_rows = o->n_logit_rows,
                                        .n_threads = o->n_threads,
                                        .kv_dtype = o->kv_dtype,
                                        .with_mtp = o->weights->mtp != NULL});
}

enum status engine_plan(const struct engine_options *options, struct memory_plan *plan,
                        struct error *err) {
    struct engine e = {.options = *options};
    assert(!options->group);
    enum status status = prepare(&e, err);
    if (status == OK) {
        compute_plan(&e, options->ctx_size ? options->ctx_size : options->hp->n_ctx_train);
        *plan = e.memory;
    }
    arena_free(&e.arena);
    return status;
}

/* An asked-for context must fit the machine; the default one shrinks until it does. */
static enum status fit_context(struct engine *e, struct error *err) {
    uint64_t available = memory_available_bytes();
    if (engine_in_group(e))
        available /= e->options.group->n_node_ranks;
    uint32_t ctx = e->options.ctx_size ? e->options.ctx_size : e->options.hp->n_ctx_train;
    compute_plan(e, ctx);
    while (!e->options.ctx_size && e->memory.total_bytes > available && ctx > 2 * KV_PAGE_TOKENS) {
        ctx = (uint32_t)align_up(ctx / 2, KV_PAGE_TOKENS);
        compute_plan(e, ctx);
    }
    if (e->memory.total_bytes > available)
        return error_set(
            err, ERR_LIMIT,
            "%.2f GiB are needed (weights %.2f, kv cache %.2f, states %.2f, buffers "
            "%.2f) for %u sequences of %u tokens, %.2f GiB are free; try a smaller "
            "--ctx-size, --parallel or model file",
            (double)e->memory.total_bytes / 0x1p30, (double)e->memory.weights_bytes / 0x1p30,
            (double)e->memory.kv_bytes / 0x1p30, (double)e->memory.state_bytes / 0x1p30,
            (double)e->memory.buffers_bytes / 0x1p30, e->options.n_seqs, ctx,
            (double)available / 0x1p30);
    e->options.ctx_size = ctx;
    return OK;
}

/* The context that fits all ranks. None takes memory before all have seen how much is free. */
static enum status agree_on_context(struct engine *e, struct error *err) {
    uint32_t own, all[PLAN_RANKS_MAX];
    TRY(agree(e, fit_context(e, err), err));
    if (!engine_in_group(e))
        return OK;
    own = e->options.ctx_size;
    TRY(group_all_gather(e->options.group, &own, sizeof own, all, err));
    for (uint32_t i = 0; i < e->options.group->n_ranks; i++)
        own = all[i] < own ? all[i] : own;
    e->options.ctx_size = own;
    compute_plan(e, own);
    return OK;
}

static enum status open_caches(struct engine *e, struct error *err) {
    const struct hparams *hp = e->options.hp;
    const struct forward *f = &e->forward;
    uint32_t n_v_heads = hp->n_gdn_layers ? f->n_k_heads_max * (hp->n_v_heads / hp->n_k_heads) : 0;
    struct kv_cache_options kv = {.n_pages = e->memory.n_kv_pages,
                                  .n_layers = hp->n_attention_layers +
                                              (e->options.weights->mtp ? hp->n_mtp_layers : 0),
                                  .n_kv_heads = f->kv_heads.end - f->kv_heads.begin,
                                  .d_head = hp->d_head,
                                  .dtype = e->options.kv_dtype};
    TRY(kv_cache_init(&e->kv, &kv, &e->arena, err));
    assert(e->kv.page_bytes == e->memory.kv_page_bytes);
    struct state_cache_options states = {.n_slots = e->seqs_each,
                                         .n_layers = hp->n_gdn_layers,
                                         .conv_dim =
                                             2 * f->n_k_heads_max * hp->d_k + n_v_heads * hp->d_v,
                                         .state_floats = (uint64_t)n_v_heads * hp->d_k * hp->d_v};
    TRY(state_cache_init(&e->states, &states, err));
    assert(e->states.slot_bytes == e->memory.seq_state_bytes);
    return OK;
}

static enum status open_sequences(struct engine *e, struct error *err) {
    uint32_t n = engine_n_seqs(e);
    size_t pages_each = div_up(e->options.ctx_size, KV_PAGE_TOKENS);
    e->seqs = arena_array(&e->arena, n, sizeof *e->seqs);
    e->use = arena_array(&e->arena, e->n_groups, sizeof *e->use);
    e->in_step = arena_array(&e->arena, e->seqs_each, sizeof *e->in_step);
    e->row_begin = arena_array(&e->arena, n, sizeof *e->row_begin);
    e->output_rows = arena_array(&e->arena, e->options.n_logit_rows, sizeof *e->output_rows);
    e->outputs = arena_array(&e->arena, e->options.n_logit_rows, sizeof *e->outputs);
    e->group_outputs = arena_array(&e->arena, e->n_groups, sizeof *e->group_outputs);
    e->reports = arena_array(&e->arena, engine_in_group(e) ? e->options.group->n_ranks : 1,
                             sizeof *e->reports);
    uint32_t *pages = arena_array(&e->arena, e->seqs_each * pages_each, sizeof *pages);
    if (!e->seqs || !e->use || !e->in_step || !e->row_begin || !e->output_rows || !e->outputs ||
        !e->group_outputs || !e->reports || !pages)
        return error_set(err, ERR_NOMEM, "no memory for %u sequences", n);
    for (uint32_t i = 0; i < e->seqs_each; i++)
        e->seqs[e->own_group * e->seqs_each + i].pages = pages + i * pages_each;
    return OK;
}

static enum status load_weights(struct engine *e, struct error *err) {
    struct weights_load_options options = {.pool = e->pool,
                                           .gguf = e->options.weights->gguf,
                                           .quantised = quantised_layout(e),
                                           .progress = e->options.progress,
                                           .user = e->options.progress_user};
    if (e->kernels.exact && !engine_in_group(e))
        return OK;
    return weights_load(&e->weights, &e->forward, &options, err);
}

static enum status open_memory(struct engine *e, struct error *err) {
    struct engine_options *o = &e->options;
    struct thread_pool_options threads = {.n_threads = o->n_threads, .pin = 0};
    TRY(thread_pool_open(&e->pool, &threads, err));
    void *scratch = arena_alloc(&e->arena, (size_t)o->n_threads * KERNEL_SCRATCH_BYTES);
    if (!scratch)
        return error_set(err, ERR_NOMEM, "no memory for the scratch of %u threads", o->n_threads);
    e->ctx = (struct kernel_ctx){.pool = e->pool, .scratch = scratch};
    TRY(open_caches(e, err));
    TRY(open_sequences(e, err));
    e->activations_bytes = e->memory.activations_bytes;
    TRY(mapping_take_huge(&e->activations, e->activations_bytes, "activations", err));
    e->forward.memory = e->activations;
    return OK;
}

static enum status open_exchange(struct engine *e, struct error *err) {
    struct engine_options *o = &e->options;
    struct exchange_options options = exchange_options(e);
    struct step_plan_limits limits = {
        .n_seqs = engine_n_seqs(e), .n_step_tokens = o->n_step_tokens, .n_vocab = o->hp->n_vocab};
    TRY(agree(e, step_plan_init(&e->plan, &limits, &e->arena, err), err));
    e->plan_rows = arena_array(&e->arena, engine_n_seqs(e), sizeof *e->plan_rows);
    if (!e->plan_rows)
        return error_set(err, ERR_NOMEM, "no memory for the rows of a step");
    TRY(group_resize_windows(o->group, exchange_window_bytes(&options), err));
    TRY(agree(e, exchange_open(&e->exchange, &options, err), err));
    e->forward.exchange = e->exchange;
    return OK;
}

static enum status open_parts(struct engine *e, struct error *err) {
    TRY(prepare(e, err));
    TRY(agree_on_context(e, err));
    TRY(agree(e, open_memory(e, err), err));
    if (engine_in_group(e)) {
        TRY(open_exchange(e, err));
        group_set_phase(e->options.group, PHASE_LOAD, 0);
    }
    TRY(agree(e, load_weights(e, err), err));
    if (engine_in_group(e))
        group_set_phase(e->options.group, PHASE_IDLE, 0);
    return OK;
}

enum status engine_open(struct engine **out, const struct engine_options *options,
                        struct error *err) {
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(err, ERR_NOMEM, "no memory for the engine");
    e->options = *options;
    enum status status = open_parts(e, err);
    if (status != OK) {
        engine_close(e);
        return status;
    }
    *out = e;
    return OK;
}

void engine_close(struct engine *e) {
    if (!e)
        return;
    thread_pool_close(e->pool);
    kv_cache_free(&e->kv);
    state_cache_free(&e->states);
    exchange_close(e->exchange);
    mapping_give_back(e->activations, e->activations_bytes);
    weights_load_free(&e->weights);
    arena_free(&e->arena);
    free(e);
}

const char *engine_kernels(const struct engine *e) {
    return e->kernels.name;
}

uint32_t engine_n_threads(const struct engine *e) {
    return e->options.n_threads;
}

uint32_t engine_ctx_size(const struct engine *e) {
    return e->options.ctx_size;
}

uint32_t engine_n_step_tokens(const struct engine *e) {
    return e->options.n_step_tokens;
}

enum dtype engine_kv_dtype(const struct engine *e) {
    return e->options.kv_dtype;
}

const struct engine_rank_report *engine_rank_reports(struct engine *e, uint32_t *n_ranks) {
    *n_ranks = engine_in_group(e) ? e->options.group->n_ranks : 1;
    if (!engine_in_group(e))
        e->reports[0] =
            (struct engine_rank_report){.traffic = e->forward.traffic, .run_ns = e->run_ns};
    return e->reports;
}

struct traffic engine_traffic(struct engine *e) {
    uint32_t n_ranks;
    const struct engine_rank_report *reports = engine_rank_reports(e, &n_ranks);
    struct traffic sum = {0};
    for (uint32_t i = 0; i < n_ranks; i++) {
        sum.weight_bytes += reports[i].traffic.weight_bytes;
        sum.state_bytes += reports[i].traffic.state_bytes;
        sum.kv_bytes += reports[i].traffic.kv_bytes;
        sum.expert_rows += reports[i].traffic.expert_rows;
    }
    return sum;
}

struct thread_pool *engine_pool(struct engine *e) {
    return e->pool;
}
