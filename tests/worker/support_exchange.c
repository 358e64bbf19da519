/* SPDX-License-Identifier: Apache-2.0 */
/* The plan is made as a worker makes it; only the model is invented. */
#include "tests/worker/support_exchange.h"

struct exchange_options exchange_rank_options(const struct exchange_rank *rank) {
    const struct exchange_case *c = rank->c;
    return (struct exchange_options){.group = rank->group,
                                     .plan = &rank->plan,
                                     .pool = rank->pool,
                                     .strategy = c->strategy,
                                     .d_model = c->d_model,
                                     .n_experts = c->n_experts,
                                     .top_k = c->top_k,
                                     .n_columns = CASE_VOCAB,
                                     .n_step_tokens = c->n_step_tokens,
                                     .n_logit_rows = CASE_LOGIT_ROWS,
                                     .whole_rows = c->whole_rows};
}

static enum status open_parts(struct exchange_rank *rank, struct error *err) {
    const struct exchange_case *c = rank->c;
    struct hparams *hp = arena_alloc(&rank->arena, sizeof *hp);
    struct plan_rank *ranks = arena_array(&rank->arena, c->n_ranks, sizeof *ranks);
    if (!hp || !ranks)
        return error_set(err, ERR_NOMEM, "no memory");
    *hp = (struct hparams){.d_model = c->d_model,
                           .n_vocab = CASE_VOCAB,
                           .n_attention_layers = 1,
                           .n_heads = c->n_heads,
                           .n_kv_heads = 1,
                           .n_experts = c->n_experts,
                           .top_k = c->top_k,
                           .d_ff_shared = 512};
    for (uint32_t i = 0; i < c->n_ranks; i++)
        ranks[i] = (struct plan_rank){.node = rank->group->ranks[i].node,
                                      .capacity = c->uneven ? 1 + i % 3 : 1};
    TRY(shard_plan_init(
        &rank->plan,
        &(struct shard_plan_options){
            .hp = hp, .ranks = ranks, .n_ranks = c->n_ranks, .n_attention_groups = c->n_groups},
        &rank->arena, err));
    rank->own = &rank->plan.ranks[rank->group->rank_idx];
    struct index_range group = rank->plan.groups[rank->own->group].ranks;
    rank->n_tp = group.end - group.begin;
    TRY(thread_pool_open(&rank->pool, &(struct thread_pool_options){.n_threads = c->n_threads},
                         err));
    struct exchange_options options = exchange_rank_options(rank);
    TRY(group_resize_windows(rank->group, exchange_window_bytes(&options), err));
    return exchange_open(&rank->ex, &options, err);
}

enum status exchange_rank_open(struct exchange_rank *rank, struct group *group,
                               const struct exchange_case *c, struct error *err) {
    *rank = (struct exchange_rank){.c = c, .group = group};
    enum status status = open_parts(rank, err);
    if (status)
        exchange_rank_close(rank);
    return status;
}

void exchange_rank_close(struct exchange_rank *rank) {
    exchange_close(rank->ex);
    thread_pool_close(rank->pool);
    arena_free(&rank->arena);
}
