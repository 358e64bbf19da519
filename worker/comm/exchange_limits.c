/* SPDX-License-Identifier: Apache-2.0 */
/* How large everything can get, and where it lies. Computed from options that are the same on all
 * ranks, so that each knows the places in the others' parts. */
#include "worker/comm/exchange_state.h"

#include "base/size.h"

#include <assert.h>

#define LINE 64 /* areas begin on cache lines of their own */

static uint32_t length(struct index_range range) {
    return range.end - range.begin;
}

static uint64_t max_of(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Roots of a range in which every leaf has a term: no choice of terms has more. */
static uint32_t most_roots(uint32_t n_leaves, struct leaf_range own) {
    struct tree_term terms[EXPERT_BUCKETS];
    struct tree_add adds[EXPERT_BUCKETS];
    uint32_t n = 0;
    for (uint32_t leaf = own.begin; leaf < own.end; leaf++)
        terms[n++].leaf = leaf;
    return tree_fold(n_leaves, own, terms, n, adds);
}

uint32_t exchange_gateway(const struct shard_plan *plan, uint32_t rank, uint32_t node) {
    uint32_t place = rank - plan->nodes[plan->ranks[rank].node].ranks.begin;
    return plan->nodes[node].ranks.begin + place % length(plan->nodes[node].ranks);
}

uint32_t exchange_senders(const struct shard_plan *plan, uint32_t rank, uint32_t *senders) {
    uint32_t node = plan->ranks[rank].node, n = 0;
    for (uint32_t from = 0; from < plan->n_ranks; from++) {
        if (plan->ranks[from].node == node || exchange_gateway(plan, from, node) != rank)
            continue;
        if (senders)
            senders[n] = from;
        n++;
    }
    return n;
}

static struct exchange_row row_of(const struct exchange_options *o) {
    uint64_t blocks = (uint64_t)(o->d_model / ACT_BLOCK) * sizeof(struct act_block);
    uint64_t floats = o->whole_rows ? (uint64_t)o->d_model * sizeof(float) : 0;
    uint64_t choices = (uint64_t)o->top_k * sizeof(uint32_t);
    return (struct exchange_row){.x = (uint32_t)blocks,
                                 .ids = (uint32_t)(blocks + floats),
                                 .weights = (uint32_t)(blocks + floats + choices),
                                 .bytes = (uint32_t)(blocks + floats + 2 * choices)};
}

static void count_sums(struct exchange_limits *limits, const struct exchange_options *o) {
    limits->n_column_floats = o->n_columns;
    for (uint32_t i = 0; i < o->plan->n_ranks; i++) {
        const struct rank_share *share = &o->plan->ranks[i];
        const struct leaf_range *parts[] = {&share->attention, &share->gdn, &share->ffn};
        for (uint32_t k = 0; k < 3; k++)
            limits->n_sum_roots =
                (uint32_t)max_of(limits->n_sum_roots, most_roots(KSPLIT_PARTS, *parts[k]));
        uint64_t router = (uint64_t)length(share->router) * o->n_step_tokens;
        uint64_t vocab = (uint64_t)length(share->vocab) * o->n_logit_rows;
        limits->n_column_floats = max_of(limits->n_column_floats, max_of(router, vocab));
    }
}

/* A run of 1 .. 6 of 8 parts has most roots: 1, 2 and 3, 4 and 5, 6. */
static void count_free_sums(struct exchange_limits *limits, const struct exchange_options *o) {
    uint64_t n_free = o->n_free_rows < o->n_step_tokens ? o->n_free_rows : o->n_step_tokens;
    uint64_t n_most = most_roots(KSPLIT_PARTS, (struct leaf_range){1, KSPLIT_PARTS - 1});
    limits->n_root_rows = max_of((uint64_t)o->n_step_tokens * limits->n_sum_roots, n_free * n_most);
}

static struct leaf_range buckets_of_node(const struct shard_plan *plan, uint32_t node) {
    struct index_range ranks = plan->nodes[node].ranks;
    return (struct leaf_range){.begin = plan->ranks[ranks.begin].buckets.begin,
                               .end = plan->ranks[ranks.end - 1].buckets.end};
}

static uint32_t most_expert_roots(const struct exchange_options *o, struct leaf_range buckets) {
    uint32_t n = most_roots(EXPERT_BUCKETS, buckets);
    return n < o->top_k ? n : o->top_k;
}

static void count_experts(struct exchange_limits *limits, const struct exchange_options *o) {
    const struct shard_plan *plan = o->plan;
    limits->row = row_of(o);
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        limits->n_rank_roots =
            (uint32_t)max_of(limits->n_rank_roots, most_expert_roots(o, plan->ranks[i].buckets));
        limits->n_slots = (uint32_t)max_of(limits->n_slots, exchange_senders(plan, i, NULL));
    }
    for (uint32_t i = 0; i < plan->n_nodes; i++)
        limits->n_node_roots =
            (uint32_t)max_of(limits->n_node_roots, most_expert_roots(o, buckets_of_node(plan, i)));
    for (uint32_t i = 0; i < plan->n_groups; i++)
        limits->n_carried = (uint32_t)max_of(
            limits->n_carried, div_up(o->n_step_tokens, length(plan->groups[i].ranks)));
    limits->message_bytes = align_up(
        sizeof(struct exchange_header) + (uint64_t)limits->n_carried * limits->row.bytes, LINE);
    limits->returned_bytes = align_up(
        (uint64_t)limits->n_carried * limits->n_node_roots * o->d_model * sizeof(float), LINE);
}

static uint64_t take(struct exchange_places *places, uint64_t bytes) {
    uint64_t begin = places->bytes;
    places->bytes += align_up(bytes, LINE);
    return begin;
}

/* Areas in turns; the second is the first again where one suffices. */
static void take_two(struct exchange_places *places, uint64_t at[2], uint64_t bytes,
                     bool take_turns) {
    at[0] = at[1] = take(places, bytes);
    if (take_turns)
        at[1] = take(places, bytes);
}

static void place_experts(struct exchange_limits *limits, const struct exchange_options *o) {
    struct exchange_places *places = &limits->places;
    bool is_replicated = o->strategy == EXCHANGE_REPLICATED;
    uint64_t row_bytes = (uint64_t)o->d_model * sizeof(float), n_rows = o->n_step_tokens;
    take_two(places, places->result_begin, n_rows * sizeof(uint32_t), is_replicated);
    take_two(places, places->results, n_rows * limits->n_rank_roots * row_bytes, is_replicated);
    if (is_replicated)
        return;
    places->rows = take(places, limits->message_bytes);
    if (o->plan->n_nodes == 1)
        return;
    uint64_t n_nodes = o->plan->n_nodes;
    places->received = take(places, limits->n_slots * limits->message_bytes);
    places->returned_begin = take(places, n_nodes * limits->n_carried * sizeof(uint32_t));
    places->returned = take(places, n_nodes * limits->returned_bytes);
}

enum status exchange_limits_init(struct exchange_limits *limits, const struct exchange_options *o,
                                 struct error *err) {
    assert(o->d_model % ACT_BLOCK == 0 && o->top_k <= EXPERT_TOP_K_MAX);
    if (o->strategy == EXCHANGE_REPLICATED && o->plan->n_groups > 1)
        return error_set(err, ERR_UNSUPPORTED,
                         "exchange 'replicated' with %u attention groups: only one group has all "
                         "tokens already; choose gather or alltoall",
                         o->plan->n_groups);
    *limits = (struct exchange_limits){0};
    struct exchange_places *places = &limits->places;
    uint64_t row_bytes = (uint64_t)o->d_model * sizeof(float);
    count_sums(limits, o);
    count_free_sums(limits, o);
    take_two(places, places->roots, limits->n_root_rows * row_bytes, true);
    /* A slice is at most a third of the rows: three ranks are the fewest that gain by it. */
    places->share = take(places, div_up(o->n_step_tokens, 3) * row_bytes);
    take_two(places, places->columns, limits->n_column_floats * sizeof(float), true);
    if (o->plan->nodes[0].groups.end > 1)
        take_two(places, places->logits, EXCHANGE_LOGITS_PIECE * sizeof(float), true);
    if (o->n_experts > 0) {
        count_experts(limits, o);
        place_experts(limits, o);
    }
    return OK;
}

uint64_t exchange_window_bytes(const struct exchange_options *options) {
    struct exchange_limits limits;
    return exchange_limits_init(&limits, options, NULL) == OK ? limits.places.bytes : 0;
}

uint64_t exchange_own_bytes(const struct exchange_options *o) {
    struct exchange_limits limits;
    if (o->n_experts == 0 || exchange_limits_init(&limits, o, NULL) != OK)
        return 0;
    uint64_t between_nodes = 0, work = 0;
    if (o->plan->n_nodes > 1)
        between_nodes =
            o->plan->n_nodes * limits.message_bytes + limits.n_slots * limits.returned_bytes;
    if (o->strategy != EXCHANGE_REPLICATED)
        work = (uint64_t)o->n_step_tokens * (limits.row.bytes + sizeof(void *));
    return between_nodes + work;
}
