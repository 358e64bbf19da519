/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing, meeting and counting; what is exchanged is in exchange_*.c. */
#include "worker/comm/exchange.h"

#include "worker/comm/exchange_state.h"
#include "worker/fault.h"

#include <assert.h>
#include <stdlib.h>

_Static_assert(EXPERT_BUCKETS == PLAN_EXPERT_LEAVES, "the plan's leaves are the kernels' buckets");

const char *exchange_name(enum exchange_strategy strategy) {
    static const char *const names[EXCHANGE_N] = {"replicated", "gather", "alltoall"};
    return names[strategy];
}

/* ---- opening ---- */

static enum status find_parts(struct exchange *ex, struct error *err) {
    struct window *window = ex->options.group->window;
    uint32_t n = ex->node_ranks.end - ex->node_ranks.begin;
    uint64_t bytes = ex->limits.places.bytes;
    ex->parts = arena_array(&ex->arena, n, sizeof *ex->parts);
    if (!ex->parts)
        return error_set(err, ERR_NOMEM, "no memory for the exchange");
    if (!window) {
        assert(n == 1);
        ex->parts[0] = arena_alloc(&ex->arena, bytes);
        return ex->parts[0] ? OK
                            : error_set(err, ERR_NOMEM, "no memory for %llu bytes of exchange",
                                        (unsigned long long)bytes);
    }
    assert(window_bytes_each(window) >= bytes);
    for (uint32_t i = 0; i < n; i++)
        ex->parts[i] = window_part(window, i);
    return OK;
}

/* In one call a rank sends to every other node and receives from its senders, or receives from
 * every group. */
static enum status take_requests(struct exchange *ex, struct error *err) {
    const struct shard_plan *plan = ex->options.plan;
    uint32_t n_dispatch = plan->n_nodes + exchange_senders(plan, ex->options.group->rank_idx, NULL);
    uint32_t n = n_dispatch > plan->n_groups ? n_dispatch : plan->n_groups;
    bool ok = (ex->requests = arena_array(&ex->arena, n, sizeof *ex->requests)) &&
              (ex->peers = arena_array(&ex->arena, n, sizeof *ex->peers)) &&
              (ex->expected = arena_array(&ex->arena, n, sizeof *ex->expected)) &&
              (ex->got = arena_array(&ex->arena, n, sizeof *ex->got));
    return ok ? OK : error_set(err, ERR_NOMEM, "no memory for the exchange");
}

static void find_owners(struct exchange *ex) {
    const struct shard_plan *plan = ex->options.plan;
    for (uint32_t id = 0; id < ex->options.n_experts; id++)
        ex->bucket_of[id] = (uint8_t)((uint64_t)id * EXPERT_BUCKETS / ex->options.n_experts);
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        for (uint32_t b = plan->ranks[i].buckets.begin; b < plan->ranks[i].buckets.end; b++)
            ex->owner_of[b] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < plan->n_nodes; i++)
        ex->node_buckets[i] =
            (struct leaf_range){.begin = plan->ranks[plan->nodes[i].ranks.begin].buckets.begin,
                                .end = plan->ranks[plan->nodes[i].ranks.end - 1].buckets.end};
}

/* Where the rows of the node will lie: of each rank those it carries, then those it receives. */
static enum status find_sources(struct exchange *ex, struct error *err) {
    const struct exchange_limits *limits = &ex->limits;
    const struct shard_plan *plan = ex->options.plan;
    uint32_t n_ranks = ex->node_ranks.end - ex->node_ranks.begin;
    ex->n_senders = exchange_senders(plan, ex->options.group->rank_idx, NULL);
    ex->senders = arena_array(&ex->arena, ex->n_senders, sizeof *ex->senders);
    ex->sources =
        arena_array(&ex->arena, (size_t)n_ranks * (1 + limits->n_slots), sizeof *ex->sources);
    if (!ex->senders || !ex->sources)
        return error_set(err, ERR_NOMEM, "no memory for the exchange");
    exchange_senders(plan, ex->options.group->rank_idx, ex->senders);
    for (uint32_t i = ex->node_ranks.begin; i < ex->node_ranks.end; i++)
        ex->sources[ex->n_sources++].message = exchange_place(ex, i, limits->places.rows);
    for (uint32_t i = ex->node_ranks.begin; i < ex->node_ranks.end; i++) {
        const unsigned char *received = exchange_place(ex, i, limits->places.received);
        if (i == ex->options.group->rank_idx)
            ex->own_source_begin = ex->n_sources;
        uint32_t n_slots = exchange_senders(plan, i, NULL);
        for (uint32_t k = 0; k < n_slots; k++)
            ex->sources[ex->n_sources++].message = received + k * limits->message_bytes;
    }
    return OK;
}

/* Tables of experts' owners; what is made for other nodes; the rows of this rank's experts. */
static enum status take_expert_memory(struct exchange *ex, struct error *err) {
    const struct exchange_options *o = &ex->options;
    const struct exchange_limits *limits = &ex->limits;
    struct arena *arena = &ex->arena;
    uint32_t n_nodes = o->plan->n_nodes, n_rows = o->n_step_tokens;
    bool ok = (ex->bucket_of = arena_array(arena, o->n_experts, sizeof *ex->bucket_of)) &&
              (ex->node_buckets = arena_array(arena, n_nodes, sizeof *ex->node_buckets));
    if (ok && n_nodes > 1)
        ok = (ex->packed = arena_array(arena, n_nodes, limits->message_bytes)) &&
             (ex->sent_roots = arena_array(arena, ex->n_senders, limits->returned_bytes)) &&
             (ex->sent_begin = arena_array(arena, limits->n_carried, sizeof *ex->sent_begin));
    if (ok && !exchange_is_replicated(ex)) {
        uint64_t n_blocks = o->d_model / ACT_BLOCK;
        ok = (ex->work_rows = arena_array(arena, n_rows, sizeof *ex->work_rows)) &&
             (ex->work_blocks = arena_array(arena, n_rows, n_blocks * sizeof *ex->work_blocks)) &&
             (ex->work_ids = arena_array(arena, n_rows, o->top_k * sizeof *ex->work_ids)) &&
             (ex->work_weights = arena_array(arena, n_rows, o->top_k * sizeof(float)));
        if (ok && o->whole_rows)
            ok = (ex->work_x = arena_array(arena, n_rows, o->d_model * sizeof(float)));
    }
    return ok ? OK : error_set(err, ERR_NOMEM, "no memory for the exchange of %u rows", n_rows);
}

enum status exchange_open(struct exchange **out, const struct exchange_options *options,
                          struct error *err) {
    const struct group *group = options->group;
    const struct shard_plan *plan = options->plan;
    assert(plan->n_ranks == group->n_ranks && plan->n_nodes == group->n_nodes);
    struct exchange *ex = calloc(1, sizeof *ex);
    if (!ex)
        return error_set(err, ERR_NOMEM, "no memory for the exchange");
    ex->options = *options;
    ex->own = &plan->ranks[group->rank_idx];
    ex->node_ranks = plan->nodes[ex->own->node].ranks;
    ex->group_ranks = plan->groups[ex->own->group].ranks;
    ex->n_tp = ex->group_ranks.end - ex->group_ranks.begin;
    enum status status = exchange_limits_init(&ex->limits, options, err);
    if (status == OK)
        status = find_parts(ex, err);
    if (status == OK)
        status = take_requests(ex, err);
    if (status == OK && options->n_experts > 0) {
        status = find_sources(ex, err);
        if (status == OK)
            status = take_expert_memory(ex, err);
        if (status == OK)
            find_owners(ex);
    }
    if (status) {
        exchange_close(ex);
        return status;
    }
    ex->counts.row_bytes = ex->limits.row.bytes;
    *out = ex;
    return OK;
}

void exchange_close(struct exchange *ex) {
    if (!ex)
        return;
    arena_free(&ex->arena);
    free(ex);
}

struct exchange_counts exchange_counts(const struct exchange *ex) {
    return ex->counts;
}

/* ---- meeting ---- */

uint64_t exchange_enter(struct exchange *ex) {
    struct group *group = ex->options.group;
    group_set_phase(group, PHASE_EXCHANGE, group_layer(group));
    ex->wait_ns_entered = ex->counts.wait_ns;
    return clock_ns();
}

enum status exchange_leave(struct exchange *ex, enum status status, uint64_t begin_ns,
                           uint64_t *total_ns) {
    struct group *group = ex->options.group;
    *total_ns += clock_ns() - begin_ns - (ex->counts.wait_ns - ex->wait_ns_entered);
    if (status == OK)
        group_set_phase(group, PHASE_STEP, group_layer(group));
    return status;
}

static enum status meet(struct exchange *ex, uint32_t set, struct index_range ranks,
                        struct error *err) {
    const struct group *group = ex->options.group;
    TRY(fault_here(group->fault, PHASE_EXCHANGE, group_layer(group), group->rank_idx, err));
    if (ranks.end - ranks.begin == 1)
        return OK;
    uint64_t begin = clock_ns();
    uint32_t first = ex->node_ranks.begin;
    enum status status =
        window_barrier(group->window, set, ranks.begin - first, ranks.end - first, err);
    ex->counts.wait_ns += clock_ns() - begin;
    return status;
}

enum status exchange_meet_group(struct exchange *ex, struct error *err) {
    const struct plan_node *node = &ex->options.plan->nodes[ex->own->node];
    return meet(ex, 1 + ex->own->group - node->groups.begin, ex->group_ranks, err);
}

enum status exchange_meet_node(struct exchange *ex, struct error *err) {
    return meet(ex, 0, ex->node_ranks, err);
}

/* ---- messages ---- */

enum status exchange_send(struct exchange *ex, uint32_t to, uint32_t tag, const void *data,
                          uint64_t bytes, struct error *err) {
    struct transport *transport = ex->options.group->transport;
    uint32_t i = ex->n_posted++;
    ex->peers[i] = to;
    ex->expected[i] = 0;
    return transport->ops->send(transport, to, tag, data, bytes, &ex->requests[i], err);
}

enum status exchange_receive(struct exchange *ex, uint32_t from, uint32_t tag, void *data,
                             uint64_t bytes, struct error *err) {
    struct transport *transport = ex->options.group->transport;
    uint32_t i = ex->n_posted++;
    ex->peers[i] = from;
    ex->expected[i] = tag == EXCHANGE_TAG_ROWS ? UINT64_MAX : bytes;
    return transport->ops->receive(transport, from, tag, data, bytes, &ex->requests[i], err);
}

enum status exchange_wait(struct exchange *ex, struct error *err) {
    struct transport *transport = ex->options.group->transport;
    uint32_t n = ex->n_posted;
    ex->n_posted = 0;
    if (n == 0)
        return OK;
    uint64_t begin = clock_ns();
    enum status status = transport->ops->wait(transport, ex->requests, n, ex->got, err);
    ex->counts.wait_ns += clock_ns() - begin;
    for (uint32_t i = 0; i < n && status == OK; i++) {
        if (ex->expected[i] != UINT64_MAX && ex->got[i] != ex->expected[i])
            status = error_set(
                err, ERR_COMM, "rank %u sent %llu bytes instead of %llu: it is out of step",
                ex->peers[i], (unsigned long long)ex->got[i], (unsigned long long)ex->expected[i]);
    }
    return status;
}
