/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal plan [MODEL] --workers N`: how a model would be spread, and what each worker would take,
 * without starting any. Each of --nodes is a machine with --node-memory. */
#include "cli/plan.h"

#include "base/size.h"
#include "cli/session.h"
#include "cli/table.h"
#include "worker/comm/exchange.h"
#include "worker/comm/group.h"
#include "worker/forward/shared_expert.h"
#include "worker/memory_probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A context that is not asked for shrinks until it fits, at most to this: as in the engine. */
#define CTX_SIZE_MIN 64

enum status plan_read_capacities(const char *list, struct plan_rank *ranks, uint32_t n_ranks,
                                 struct error *err) {
    uint32_t n = 0;
    for (const char *at = list; *at; n++) {
        char *end;
        double capacity = strtod(at, &end);
        if (end == at || (*end != ',' && *end != '\0'))
            return error_set(err, ERR_INPUT, "--capacity: '%.40s' does not begin with a number",
                             at);
        if (!isfinite(capacity) || capacity <= 0)
            return error_set(err, ERR_INPUT, "--capacity: %g; a speed is above 0", capacity);
        if (n < n_ranks)
            ranks[n].capacity = capacity;
        at = *end ? end + 1 : end;
    }
    if (n != n_ranks)
        return error_set(err, ERR_INPUT, "--capacity: %u numbers for %u workers", n, n_ranks);
    return OK;
}

static enum status read_layout(struct planned_group *p, struct plan_rank *ranks, uint32_t n_ranks,
                               struct error *err) {
    const struct options *o = p->cli->options;
    uint32_t n_nodes = (uint32_t)options_int(o, OPT_NODES);
    const char *capacities = options_string(o, OPT_CAPACITY);
    if (n_nodes == 0)
        n_nodes = 1;
    if (n_nodes > n_ranks)
        return error_set(err, ERR_INPUT, "--nodes %u: there are only %u workers", n_nodes, n_ranks);
    for (uint32_t i = 0; i < n_ranks; i++)
        ranks[i] =
            (struct plan_rank){.node = group_pretended_node(i, n_ranks, n_nodes), .capacity = 1};
    return capacities ? plan_read_capacities(capacities, ranks, n_ranks, err) : OK;
}

static enum status plan_shares(struct planned_group *p, struct plan_rank *ranks, uint32_t n_ranks,
                               struct error *err) {
    uint32_t n_groups = (uint32_t)options_int(p->cli->options, OPT_ATTENTION_GROUPS);
    struct shard_plan_options options = {
        .hp = &p->model.hp, .ranks = ranks, .n_ranks = n_ranks, .n_attention_groups = n_groups};
    TRY(shard_plan_init(&p->shard, &options, &p->arena, err));
    p->ranks = arena_array(&p->arena, n_ranks, sizeof *p->ranks);
    p->node_bytes = arena_array(&p->arena, p->shard.n_nodes, sizeof *p->node_bytes);
    if (!p->ranks || !p->node_bytes)
        return error_set(err, ERR_NOMEM, "no memory to plan %u workers", n_ranks);
    for (uint32_t i = 0; i < n_ranks; i++) {
        p->ranks[i].capacity = ranks[i].capacity;
        TRY(share_size_init(&p->ranks[i].size, &p->model.hp, &p->model.weights, &p->shard.ranks[i],
                            err));
    }
    return OK;
}

/* ---- memory ---- */

/* As the engine asks its network: whether experts read floats, not blocks only. */
static bool experts_read_floats(const struct planned_group *p) {
    if (strcmp(p->engine.kernels, "ref") == 0)
        return true;
    for (uint32_t i = 0; i < p->model.hp.n_layers; i++) {
        const struct ffn_weights *w = &p->model.weights.layers[i].ffn;
        const struct tensor *tensor = w->gate_up_exps.n_dims ? &w->gate_up_exps : &w->gate_exps;
        if (!dtype_is_quantised(tensor->dtype))
            return true;
    }
    return false;
}

/* Memory of a rank for the exchange, shared and its own. `auto` chooses when the group starts, so
 * the largest counts. */
static uint64_t exchange_bytes(const struct planned_group *p, uint32_t rank_idx) {
    const struct engine_options *engine = &p->engine;
    const struct hparams *hp = &p->model.hp;
    uint32_t asked = options_choice(p->cli->options, OPT_EP_EXCHANGE);
    uint64_t most = 0;
    struct group group = {.n_ranks = p->shard.n_ranks, .rank_idx = rank_idx};
    struct exchange_options exchange = {.group = &group,
                                        .plan = &p->shard,
                                        .d_model = hp->d_model,
                                        .n_experts = hp->n_experts,
                                        .top_k = hp->top_k,
                                        .n_columns = hp->n_experts > hp->n_vocab ? hp->n_experts
                                                                                 : hp->n_vocab,
                                        .n_step_tokens = engine->n_step_tokens,
                                        .n_free_rows = SHARED_EXPERT_FEW,
                                        .n_logit_rows = ENGINE_LOGIT_ROWS_DEFAULT,
                                        .whole_rows = experts_read_floats(p)};
    for (uint32_t i = 0; i < EXCHANGE_N; i++) {
        exchange.strategy = (enum exchange_strategy)i;
        uint64_t bytes = exchange_window_bytes(&exchange);
        if (bytes > 0)
            bytes += exchange_own_bytes(&exchange);
        if ((asked == 0 || asked == i + 1) && bytes > most)
            most = bytes;
    }
    return most;
}

static void plan_rank_memory(struct planned_group *p, uint32_t rank_idx) {
    const struct engine_options *engine = &p->engine;
    struct planned_rank *rank = &p->ranks[rank_idx];
    bool in_group = p->shard.n_ranks > 1;
    struct memory_plan_input input = {.hp = &p->model.hp,
                                      .n_kv_heads =
                                          rank->size.kv_heads.end - rank->size.kv_heads.begin,
                                      .n_k_heads = rank->size.n_k_heads,
                                      .in_group = in_group,
                                      .exchange_bytes = in_group ? exchange_bytes(p, rank_idx) : 0,
                                      .weights_bytes = rank->size.bytes,
                                      .tables_bytes = engine->tables_bytes,
                                      .ctx_size = p->ctx_size,
                                      .n_seqs = (uint32_t)div_up(engine->n_seqs, p->shard.n_groups),
                                      .n_step_tokens = engine->n_step_tokens,
                                      .n_logit_rows = ENGINE_LOGIT_ROWS_DEFAULT,
                                      .n_threads = engine->n_threads,
                                      .kv_dtype = engine->kv_dtype};
    memory_plan_compute(&rank->memory, &input);
}

/* Whether every node has room for its ranks, whose embedding is one and the same in its memory. */
static void plan_memory(struct planned_group *p, uint32_t ctx_size) {
    p->ctx_size = ctx_size;
    p->fits = true;
    for (uint32_t n = 0; n < p->shard.n_nodes; n++) {
        struct index_range ranks = p->shard.nodes[n].ranks;
        uint64_t embedding = 0;
        p->node_bytes[n] = 0;
        for (uint32_t i = ranks.begin; i < ranks.end; i++) {
            uint64_t mapped = p->ranks[i].size.embedding_bytes;
            plan_rank_memory(p, i);
            p->node_bytes[n] += p->ranks[i].memory.total_bytes - mapped;
            embedding = mapped > embedding ? mapped : embedding;
        }
        p->node_bytes[n] += embedding;
        if (p->node_bytes[n] > p->node_bytes_max)
            p->fits = false;
    }
}

/* What the engine would make of what is not asked for. */
static void fill_engine_options(struct planned_group *p) {
    const struct index_range first = p->shard.nodes[0].ranks;
    struct engine_options *engine = &p->engine;
    if (engine->n_seqs == 0)
        engine->n_seqs = 1;
    if (engine->n_threads == 0)
        engine->n_threads = cpu_count() / (first.end - first.begin);
    if (engine->n_threads == 0)
        engine->n_threads = 1;
    if (engine->kv_dtype_auto)
        engine->kv_dtype = strcmp(engine->kernels, "ref") == 0 ? DTYPE_F32 : DTYPE_F16;
}

static void fit_memory(struct planned_group *p) {
    const struct options *o = p->cli->options;
    p->node_bytes_max = (uint64_t)options_int(o, OPT_NODE_MEMORY);
    if (p->node_bytes_max == 0)
        p->node_bytes_max = memory_available_bytes();
    uint32_t asked = p->engine.ctx_size;
    plan_memory(p, asked ? asked : p->model.hp.n_ctx_train);
    while (!asked && !p->fits && p->ctx_size > CTX_SIZE_MIN)
        plan_memory(p, (uint32_t)align_up(p->ctx_size / 2, ENGINE_PAGE_TOKENS));
}

/* ---- the command ---- */

static enum status plan_group(struct planned_group *p, struct error *err) {
    struct plan_rank ranks[PLAN_RANKS_MAX];
    uint32_t n_ranks = (uint32_t)options_int(p->cli->options, OPT_WORKERS);
    struct memory_plan alone;
    TRY(read_layout(p, ranks, n_ranks, err));
    /* What the engine refuses alone, it refuses in a group: shapes, a context that is too large. */
    TRY(session_plan_memory(p->cli, &p->model, &alone, err));
    TRY(plan_shares(p, ranks, n_ranks, err));
    p->engine = session_engine_options(p->cli, &p->model);
    fill_engine_options(p);
    fit_memory(p);
    return OK;
}

static enum status write_plan(const struct planned_group *p, struct error *err) {
    return table_format_of(p->cli) == TABLE_JSON ? plan_write_json(p, err)
                                                 : plan_write_table(p, err);
}

int command_plan(struct cli *cli) {
    struct planned_group p = {.cli = cli};
    struct session_model_options options = {0};
    struct error err = {0};
    if (session_open_model(cli, &options, &p.model, &err) != OK)
        return cli_fail(cli, DURING_LOAD, &err);
    int code = CLI_OK;
    if (plan_group(&p, &err) != OK)
        code = cli_fail(cli, err.status == ERR_INPUT ? DURING_USAGE : DURING_LOAD, &err);
    else if (write_plan(&p, &err) != OK)
        code = cli_fail(cli, DURING_WORK, &err);
    else if (!p.fits)
        code = CLI_NO_FIT;
    arena_free(&p.arena);
    model_close(&p.model);
    return code;
}
