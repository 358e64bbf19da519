/* SPDX-License-Identifier: Apache-2.0 */
/* One round of each kind, on each rank that takes part: prepare, meet, exchange, compare. Only the
 * exchange is timed. */
#include "worker/comm/linkbench_state.h"

#include "base/clock.h"
#include "base/size.h"

#include <string.h>

static bool by_messages(const struct group *group, uint32_t rank) {
    return group->ranks[rank].node != group->node_idx;
}

static enum status wait_one(struct group *group, transport_request request, uint64_t *got,
                            struct error *err) {
    return group->transport->ops->wait(group->transport, &request, 1, got, err);
}

static enum status send(struct group *group, uint32_t to, const void *data, uint64_t bytes,
                        struct error *err) {
    struct transport *t = group->transport;
    transport_request request;
    TRY(t->ops->send(t, to, LINKBENCH_TAG_FIRST, data, bytes, &request, err));
    return wait_one(group, request, NULL, err);
}

static enum status receive(struct group *group, uint32_t from, void *data, uint64_t bytes,
                           struct error *err) {
    struct transport *t = group->transport;
    transport_request request;
    uint64_t got = 0;
    TRY(t->ops->receive(t, from, LINKBENCH_TAG_FIRST, data, bytes, &request, err));
    TRY(wait_one(group, request, &got, err));
    return got == bytes ? OK
                        : error_set(err, ERR_COMM, "rank %u sent %llu bytes for %llu", from,
                                    (unsigned long long)got, (unsigned long long)bytes);
}

static void compare(const uint64_t *words, uint64_t bytes, uint64_t key, struct error *wrong) {
    for (uint64_t i = 0; i < bytes / 8 && wrong->status == OK; i++) {
        uint64_t sent = rng_u64(key, i);
        if (words[i] != sent)
            error_set(wrong, ERR_COMM, "byte %llu: %016llx was sent and %016llx arrived",
                      (unsigned long long)i * 8, (unsigned long long)sent,
                      (unsigned long long)words[i]);
    }
}

/* ---- pairs ---- */

struct side {
    struct group *group;
    uint32_t peer;
    uint64_t ranks; /* both, of the node */
    uint32_t set;   /* pairs at work at one time share no rank, so the lower one names the set */
};

static enum status meet(const struct side *side, struct error *err) {
    return window_meet(side->group->window, side->set, side->ranks, err);
}

static enum status ping(struct linkbench *bench, const struct side *side, uint64_t bytes,
                        struct error *err) {
    struct group *group = bench->group;
    if (by_messages(group, side->peer))
        return send(group, side->peer, bench->out, bytes, err);
    memcpy(window_part(group->window, group->rank_idx - group->node_rank_begin), bench->out, bytes);
    return meet(side, err);
}

static enum status pong(struct linkbench *bench, const struct side *side, uint64_t bytes,
                        struct error *err) {
    struct group *group = bench->group;
    if (by_messages(group, side->peer))
        return receive(group, side->peer, bench->in, bytes, err);
    TRY(meet(side, err));
    memcpy(bench->in, window_part(group->window, side->peer - group->node_rank_begin), bytes);
    return OK;
}

/* Both are ready, so that no time is lost to waiting for the peer's pattern. */
static enum status begin_round(const struct side *side, bool is_first, struct error *err) {
    struct group *group = side->group;
    if (!by_messages(group, side->peer))
        return meet(side, err);
    return is_first ? receive(group, side->peer, NULL, 0, err)
                    : send(group, side->peer, NULL, 0, err);
}

enum status linkbench_pair(struct linkbench *bench, const struct linkbench_trial *trial,
                           uint32_t round, double *ns, struct error *wrong, struct error *err) {
    struct group *group = bench->group;
    uint32_t own = group->rank_idx;
    bool is_first = own == trial->first;
    struct side side = {.group = group, .peer = is_first ? trial->last : trial->first};
    if (!by_messages(group, side.peer)) {
        uint32_t low = trial->first - group->node_rank_begin;
        side.ranks = (uint64_t)1 << low | (uint64_t)1 << (trial->last - group->node_rank_begin);
        side.set = 1 + low;
    }
    linkbench_fill(bench->out, trial->bytes, linkbench_key(own, side.peer, trial->bytes, round));
    memset(bench->in, 0, trial->bytes);
    TRY(begin_round(&side, is_first, err));
    uint64_t begin_ns = clock_ns();
    if (is_first)
        TRY(ping(bench, &side, trial->bytes, err));
    TRY(pong(bench, &side, trial->bytes, err));
    if (!is_first)
        TRY(ping(bench, &side, trial->bytes, err));
    *ns = (double)(clock_ns() - begin_ns) / 2;
    compare(bench->in, trial->bytes, linkbench_key(side.peer, own, trial->bytes, round), wrong);
    return OK;
}

/* ---- collectives ---- */

/* Small integers: their sums are exact in any order. */
static float summand(uint32_t rank, uint64_t i, uint32_t round) {
    return (float)((rank * 7 + i * 3 + round) % 16);
}

static void add(float *sum, const float *x, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        sum[i] += x[i];
}

/* A block of a rank of an all-gather of so many bytes. */
static uint64_t block_bytes(const struct linkbench_trial *trial) {
    return align_up(div_up(trial->bytes, trial->last - trial->first + 1), 8);
}

static enum status node_barrier(struct group *group, struct error *err) {
    return window_barrier(group->window, 0, 0, group->n_node_ranks, err);
}

/* What this node's ranks have, at its place in bench->in: their blocks, or their sum. */
static void read_node(struct linkbench *bench, const struct linkbench_trial *trial) {
    struct group *group = bench->group;
    uint64_t block = block_bytes(trial);
    for (uint32_t i = 0; i < group->n_node_ranks; i++) {
        const void *part = window_part(group->window, i);
        uint64_t place = (group->node_rank_begin + i - trial->first) * block;
        if (trial->kind == LINKBENCH_ALL_GATHER)
            memcpy((unsigned char *)bench->in + place, part, block);
        else if (i == 0)
            memcpy(bench->in, part, trial->bytes);
        else
            add((float *)(void *)bench->in, part, trial->bytes / sizeof(float));
    }
}

/* The first rank of the node from begin on: the ranks begin .. end-1 are its node's. */
static uint32_t node_end(const struct group *group, uint32_t begin) {
    uint32_t end = begin;
    while (end < group->n_ranks && group->ranks[end].node == group->ranks[begin].node)
        end++;
    return end;
}

/* First ranks of nodes give each other what their nodes have, and complete bench->in. */
static enum status cross_nodes(struct linkbench *bench, const struct linkbench_trial *trial,
                               struct error *err) {
    struct group *group = bench->group;
    struct transport *t = group->transport;
    transport_request sends[PLAN_RANKS_MAX];
    uint32_t n_sends = 0;
    bool gathers = trial->kind == LINKBENCH_ALL_GATHER;
    uint64_t block = block_bytes(trial);
    uint64_t bytes = gathers ? group->n_node_ranks * block : trial->bytes;
    uint64_t place = gathers ? group->node_rank_begin * block : 0;
    memcpy(bench->out, (unsigned char *)bench->in + place, bytes);
    for (uint32_t to = 0; to < group->n_ranks; to = node_end(group, to)) {
        if (to != group->rank_idx)
            TRY(t->ops->send(t, to, LINKBENCH_TAG_FIRST, bench->out, bytes, &sends[n_sends++],
                             err));
    }
    for (uint32_t from = 0, end; from < group->n_ranks; from = end) {
        end = node_end(group, from);
        if (from == group->rank_idx)
            continue;
        if (gathers) {
            TRY(receive(group, from, (unsigned char *)bench->in + from * block,
                        (end - from) * block, err));
        } else {
            TRY(receive(group, from, bench->other, bytes, err));
            add((float *)(void *)bench->in, (const float *)(const void *)bench->other,
                bytes / sizeof(float));
        }
    }
    return t->ops->wait(t, sends, n_sends, NULL, err);
}

/* bench->out of all ranks becomes bench->in of all. */
static enum status run_collective(struct linkbench *bench, const struct linkbench_trial *trial,
                                  struct error *err) {
    struct group *group = bench->group;
    uint32_t own = group->rank_idx - group->node_rank_begin;
    bool gathers = trial->kind == LINKBENCH_ALL_GATHER;
    uint64_t block = block_bytes(trial);
    uint64_t whole = gathers ? block * (trial->last - trial->first + 1) : trial->bytes;
    bool crosses = trial->last - trial->first + 1 > group->n_node_ranks;
    memcpy(window_part(group->window, own), bench->out, gathers ? block : trial->bytes);
    TRY(node_barrier(group, err));
    if (own == 0 || !crosses)
        read_node(bench, trial);
    if (!crosses)
        return OK;
    if (own == 0) {
        TRY(cross_nodes(bench, trial, err));
        memcpy(window_part(group->window, 0), bench->in, whole);
    }
    TRY(node_barrier(group, err));
    if (own != 0)
        memcpy(bench->in, window_part(group->window, 0), whole);
    return OK;
}

static void compare_all(struct linkbench *bench, const struct linkbench_trial *trial,
                        uint32_t round, struct error *wrong) {
    uint64_t block = block_bytes(trial);
    if (trial->kind == LINKBENCH_ALL_GATHER) {
        for (uint32_t r = trial->first; r <= trial->last && wrong->status == OK; r++) {
            compare(bench->in + (r - trial->first) * block / 8, block,
                    linkbench_key(r, UINT32_MAX, trial->bytes, round), wrong);
            if (wrong->status)
                error_wrap(wrong, "block of rank %u", r);
        }
        return;
    }
    const float *sums = (const float *)(const void *)bench->in;
    for (uint64_t i = 0; i < trial->bytes / sizeof(float) && wrong->status == OK; i++) {
        float expected = 0;
        for (uint32_t r = trial->first; r <= trial->last; r++)
            expected += summand(r, i, round);
        if (sums[i] != expected)
            error_set(wrong, ERR_COMM, "element %llu: the sum is %g, not %g", (unsigned long long)i,
                      (double)sums[i], (double)expected);
    }
}

enum status linkbench_collective(struct linkbench *bench, const struct linkbench_trial *trial,
                                 uint32_t round, double *ns, struct error *wrong,
                                 struct error *err) {
    struct group *group = bench->group;
    uint32_t own = group->rank_idx;
    if (trial->kind == LINKBENCH_ALL_GATHER) {
        linkbench_fill(bench->out, block_bytes(trial),
                       linkbench_key(own, UINT32_MAX, trial->bytes, round));
    } else {
        float *x = (float *)(void *)bench->out;
        for (uint64_t i = 0; i < trial->bytes / sizeof(float); i++)
            x[i] = summand(own, i, round);
    }
    memset(bench->in, 0, trial->bytes);
    bool whole = trial->last - trial->first + 1 == group->n_ranks;
    TRY(whole ? group_barrier(group, err) : node_barrier(group, err));
    uint64_t begin_ns = clock_ns();
    TRY(run_collective(bench, trial, err));
    *ns = (double)(clock_ns() - begin_ns);
    compare_all(bench, trial, round, wrong);
    return OK;
}
