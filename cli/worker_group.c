/* SPDX-License-Identifier: Apache-2.0 */
/* Orders and their execution. What is collective stands in functions that all ranks run alike. */
#include "cli/worker_group.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum order_kind {
    ORDER_OPEN = 1, /* a model and an engine, as described */
    ORDER_STEPS,    /* follow the engine's steps until it parks */
    ORDER_CLOSE,    /* the engine and its model */
    ORDER_LINKS,    /* measure the links; no engine is open */
};

/* One program runs on all ranks (the link's Hello refuses others), so an order travels as it lies
 * in memory; what is in it is checked by the calls that take it. */
struct order {
    uint32_t kind; /* enum order_kind */
    uint32_t n_threads, ctx_size, n_seqs, n_kv_pages, n_step_tokens, n_logit_rows;
    uint32_t kv_dtype_auto, kv_dtype;
    uint32_t with_mtp;
    uint32_t n_attention_groups;
    uint32_t chooses_strategy, strategy;
    uint64_t header_hash; /* of the model file */
    char kernels[16];
    char path[WORKER_PATH_MAX];
};

/* ---- all ranks ---- */

/* Measured with the sizes that the engine will have. */
static enum status choose_strategy(const struct worker_group *g, const struct order *order,
                                   const struct engine_options *options,
                                   enum exchange_strategy *strategy, struct error *err) {
    const struct hparams *hp = options->hp;
    struct thread_pool *pool = NULL;
    struct thread_pool_options threads = {.n_threads = options->n_threads};
    if (order->strategy >= EXCHANGE_N)
        return error_set(err, ERR_COMM, "an order with the exchange %u", order->strategy);
    *strategy = (enum exchange_strategy)order->strategy;
    if (!order->chooses_strategy)
        return OK;
    enum status status = group_agree(g->group, thread_pool_open(&pool, &threads, err), err);
    struct exchange_options exchange = {
        .group = g->group,
        .plan = &g->shard,
        .pool = pool,
        .d_model = hp->d_model,
        .n_experts = hp->n_experts,
        .top_k = hp->top_k,
        .n_columns = hp->n_experts > hp->n_vocab ? hp->n_experts : hp->n_vocab,
        .n_step_tokens =
            options->n_step_tokens ? options->n_step_tokens : ENGINE_STEP_TOKENS_DEFAULT,
        .n_logit_rows = options->n_logit_rows ? options->n_logit_rows : ENGINE_LOGIT_ROWS_DEFAULT};
    struct exchange_choice choice;
    if (status == OK)
        status = exchange_choose(&exchange, &choice, err);
    thread_pool_close(pool);
    if (status != OK)
        return status;
    *strategy = choice.strategy;
    log_debug(g->log, "exchange: %s, because %s", exchange_name(choice.strategy), choice.reason);
    return OK;
}

static void tell_shares(const struct worker_group *g) {
    for (uint32_t i = 0; i < g->shard.n_ranks; i++) {
        const struct rank_share *s = &g->shard.ranks[i];
        log_debug(
            g->log,
            "rank %u: node %u, attention group %u; parts of attention %u-%u, delta net %u-%u, "
            "feed forward %u-%u; experts %u-%u; vocabulary %u-%u",
            i, s->node, s->group, s->attention.begin, s->attention.end, s->gdn.begin, s->gdn.end,
            s->ffn.begin, s->ffn.end, s->experts.begin, s->experts.end, s->vocab.begin,
            s->vocab.end);
    }
}

/* Loading goes on, for the link that watches; `inner` is the command's own interest. */
struct load_watch {
    struct group *group;
    load_progress *inner; /* NULL: none */
    void *user;
};

static bool loading_goes_on(void *user, uint64_t bytes_done, uint64_t bytes_all) {
    const struct load_watch *watch = user;
    group_set_phase(watch->group, PHASE_LOAD, 0);
    return !watch->inner || watch->inner(watch->user, bytes_done, bytes_all);
}

/* The engine of this rank, as all ranks open theirs. `options` has what is this rank's own. */
static enum status open_engine(struct worker_group *g, const struct order *order,
                               struct engine_options *options, struct engine **out,
                               struct error *err) {
    struct shard_plan_options plan = {.hp = options->hp,
                                      .ranks = g->group->ranks,
                                      .n_ranks = g->group->n_ranks,
                                      .n_attention_groups = order->n_attention_groups};
    group_set_phase(g->group, PHASE_LOAD, 0);
    arena_free(&g->arena);
    if (options->n_threads == 0)
        options->n_threads = g->n_threads;
    options->group = g->group;
    options->shard = &g->shard;
    enum status status = shard_plan_init(&g->shard, &plan, &g->arena, err);
    if (status == OK)
        status = fault_here(g->group->fault, PHASE_LOAD, 0, g->group->rank_idx, err);
    TRY(group_agree(g->group, status, err));
    tell_shares(g);
    TRY(choose_strategy(g, order, options, &options->strategy, err));
    struct load_watch watch = {
        .group = g->group, .inner = options->progress, .user = options->progress_user};
    options->progress = loading_goes_on;
    options->progress_user = &watch;
    TRY(engine_open(out, options, err));
    group_set_phase(g->group, PHASE_IDLE, 0);
    return OK;
}

/* ---- rank 0 ---- */

/* The others are parked: calls them and says what is to be done. */
static enum status give_order(struct worker_group *g, struct order *order, struct error *err) {
    uint64_t bytes = sizeof *order;
    TRY(link_resume_all(g->link, err));
    return group_broadcast(g->group, order, sizeof *order, &bytes, err);
}

static enum status resume_steps(void *user, struct error *err) {
    struct order order = {.kind = ORDER_STEPS};
    return give_order(user, &order, err);
}

/* The others may stand in another folder. */
static enum status absolute_path(const char *path, char out[WORKER_PATH_MAX], struct error *err) {
    char folder[WORKER_PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(folder, sizeof folder))
        return error_set(err, ERR_IO, "%s: the working directory has no name", path);
    int n = snprintf(out, WORKER_PATH_MAX, "%s%s%s", folder, folder[0] ? "/" : "", path);
    if (n < 0 || n >= WORKER_PATH_MAX)
        return error_set(err, ERR_LIMIT, "%s: the path has more than %d bytes", path,
                         WORKER_PATH_MAX - 1);
    return OK;
}

static enum status describe(const struct worker_group *g, const struct worker_model *what,
                            const struct engine_options *o, struct order *order,
                            struct error *err) {
    *order = (struct order){.kind = ORDER_OPEN,
                            .n_threads = o->n_threads,
                            .ctx_size = o->ctx_size,
                            .n_seqs = o->n_seqs,
                            .n_kv_pages = o->n_kv_pages,
                            .n_step_tokens = o->n_step_tokens,
                            .n_logit_rows = o->n_logit_rows,
                            .kv_dtype_auto = o->kv_dtype_auto,
                            .kv_dtype = o->kv_dtype,
                            .with_mtp = what->model->weights.mtp != NULL,
                            .n_attention_groups = g->n_attention_groups,
                            .chooses_strategy = g->chooses_strategy,
                            .strategy = g->strategy,
                            .header_hash = gguf_header_hash(&what->model->gguf)};
    snprintf(order->kernels, sizeof order->kernels, "%s", o->kernels);
    return absolute_path(what->path, order->path, err);
}

enum status worker_group_open_engine(struct worker_group *g, const struct worker_model *what,
                                     const struct engine_options *options, struct engine **out,
                                     struct error *err) {
    struct engine_options own = *options;
    struct order *order = calloc(1, sizeof *order);
    if (!order)
        return error_set(err, ERR_NOMEM, "no memory");
    enum status status = describe(g, what, options, order, err);
    if (status == OK)
        status = give_order(g, order, err);
    if (status == OK)
        status = group_agree(g->group, OK, err); /* they have the model */
    if (status == OK) {
        own.resume = resume_steps;
        own.resume_user = g;
        status = open_engine(g, order, &own, out, err);
    }
    free(order);
    return status;
}

void worker_group_close_engine(struct worker_group *g, struct engine *engine) {
    struct error err;
    struct order order = {.kind = ORDER_CLOSE};
    if (engine && engine_park(engine, &err) == OK)
        give_order(g, &order, &err); /* if the group is lost, the link has said so */
    engine_close(engine);
    arena_free(&g->arena);
}

static enum status measure_links(struct worker_group *g, struct linkbench_results *results,
                                 struct error *err) {
    struct linkbench_options options = linkbench_full();
    return linkbench_run(g->group, &options, results, err);
}

enum status worker_group_measure_links(struct worker_group *g, struct linkbench_results *results,
                                       struct error *err) {
    struct order order = {.kind = ORDER_LINKS};
    TRY(give_order(g, &order, err));
    return measure_links(g, results, err);
}

/* ---- the other ranks ---- */

/* What an order opened here. */
struct opened {
    struct model model;
    struct engine *engine;
};

static void close_all(struct opened *opened) {
    engine_close(opened->engine);
    model_close(&opened->model);
    *opened = (struct opened){0};
}

static enum status open_model(const struct order *order, struct model *model, struct error *err) {
    struct model_options options = {
        .path = order->path, .with_weights = true, .with_mtp = order->with_mtp};
    TRY(model_open(model, &options, err));
    uint64_t hash = gguf_header_hash(&model->gguf);
    if (hash == order->header_hash)
        return OK;
    model_close(model);
    return error_set(err, ERR_INPUT, "%s: this is not the file of rank 0, their headers differ",
                     order->path);
}

/* The group stays whole if any rank fails: rank 0 tells of it. */
static enum status obey_open(struct worker_group *g, struct order *order, struct opened *opened,
                             struct error *err) {
    order->path[WORKER_PATH_MAX - 1] = '\0';
    order->kernels[sizeof order->kernels - 1] = '\0';
    close_all(opened);
    enum status status = open_model(order, &opened->model, err);
    TRY(group_agree(g->group, status, err));
    struct engine_options options = {.hp = &opened->model.hp,
                                     .weights = &opened->model.weights,
                                     .unused_ids = opened->model.unused_ids,
                                     .kernels = order->kernels,
                                     .n_threads = order->n_threads,
                                     .ctx_size = order->ctx_size,
                                     .n_seqs = order->n_seqs,
                                     .n_kv_pages = order->n_kv_pages,
                                     .n_step_tokens = order->n_step_tokens,
                                     .n_logit_rows = order->n_logit_rows,
                                     .kv_dtype_auto = order->kv_dtype_auto,
                                     .kv_dtype = (enum dtype)order->kv_dtype};
    return open_engine(g, order, &options, &opened->engine, err);
}

static enum status obey(struct worker_group *g, struct order *order, struct opened *opened,
                        struct error *err) {
    switch (order->kind) {
    case ORDER_OPEN:
        /* A model that cannot be opened is rank 0's to tell; what ended the group is not. */
        if (obey_open(g, order, opened, err) != OK && group_is_aborted(g->group))
            return err->status;
        return OK;
    case ORDER_STEPS:
        if (opened->engine)
            return engine_follow(opened->engine, err);
        break;
    case ORDER_CLOSE:
        close_all(opened);
        return OK;
    case ORDER_LINKS: {
        struct linkbench_results results = {0};
        enum status status = measure_links(g, &results, err);
        linkbench_results_free(&results);
        return status;
    }
    default:
        break;
    }
    return error_set(err, ERR_COMM, "rank 0 gave an order that is none now (%u)", order->kind);
}

static enum status receive_order(struct worker_group *g, struct order *order, struct error *err) {
    uint64_t bytes = 0;
    TRY(group_broadcast(g->group, order, sizeof *order, &bytes, err));
    if (bytes != sizeof *order)
        return error_set(err, ERR_COMM, "an order of %llu bytes, %zu are right",
                         (unsigned long long)bytes, sizeof *order);
    return OK;
}

enum status worker_group_follow(struct worker_group *g, struct error *err) {
    struct opened opened = {0};
    struct order *order = calloc(1, sizeof *order);
    if (!order)
        return error_set(err, ERR_NOMEM, "no memory");
    enum status status;
    for (;;) {
        bool stop = false;
        group_set_phase(g->group, PHASE_IDLE, 0);
        status = link_wait_resume(g->link, &stop, err);
        if (status != OK || stop)
            break;
        status = receive_order(g, order, err);
        if (status == OK)
            status = obey(g, order, &opened, err);
        if (status != OK)
            break;
    }
    close_all(&opened);
    arena_free(&g->arena);
    free(order);
    return status;
}

/* ---- any ---- */

bool worker_group_lost(const struct worker_group *g, const struct error *err) {
    struct error aborted;
    if (!g)
        return false;
    if (link_is_lost(g->link, NULL))
        return true;
    if (group_is_aborted(g->group)) /* the link knows it in a moment, and why */
        error_set(&aborted, ERR_CANCELLED, "the group was ended");
    else if (!err || err->status != ERR_COMM)
        return false;
    link_fail(g->link, group_is_aborted(g->group) ? &aborted : err);
    return true;
}
