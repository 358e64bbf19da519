/* SPDX-License-Identifier: Apache-2.0 */
/* Everything goes through the windows' common areas, and between nodes from and to the first rank
 * of each. An area has two halves that take turns (and behind them what every rank is doing):
 *
 *     write half i -> node's barrier -> read half i -> write half i+1 -> node's barrier -> ...
 *
 * Who writes half i again (turn i+2) has passed the barrier of turn i+1, and everybody comes to
 * that one only when it has read half i: one barrier per turn is enough. */
#include "worker/comm/group.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

enum tag { TAG_SPREAD, TAG_GATHER }; /* below TRANSPORT_TAG_FREE */

struct half {
    uint64_t bytes;
    _Alignas(64) unsigned char data[GROUP_BROADCAST_MAX];
};
_Static_assert(2 * sizeof(struct half) + WINDOW_RANKS_MAX * sizeof(struct group_progress) ==
                   GROUP_COMMON_BYTES,
               "the common area is two halves and every rank's progress");
_Static_assert((uint64_t)PLAN_RANKS_MAX *GROUP_GATHER_MAX <= GROUP_BROADCAST_MAX,
               "what all ranks gather fits a half");

const char *group_phase_name(enum group_phase phase) {
    static const char *const names[] = {
        [PHASE_START] = "start", [PHASE_SELF_TEST] = "self-test", [PHASE_LOAD] = "load",
        [PHASE_IDLE] = "idle",   [PHASE_STEP] = "step",           [PHASE_EXCHANGE] = "exchange",
        [PHASE_END] = "end",
    };
    return (size_t)phase < sizeof names / sizeof names[0] ? names[phase] : "unknown";
}

static struct group_progress *node_progress(const struct group *group) {
    struct half *halves = window_common(group->window);
    return (struct group_progress *)(void *)(halves + 2);
}

void group_place_progress(struct group *group) {
    group->progress = node_progress(group) + (group->rank_idx - group->node_rank_begin);
}

const struct group_progress *group_rank_progress(const struct group *group, uint32_t rank_idx) {
    uint32_t place = rank_idx - group->node_rank_begin;
    return rank_idx >= group->node_rank_begin && place < group->n_node_ranks
               ? node_progress(group) + place
               : NULL;
}

static struct half *next_half(struct group *group) {
    struct half *halves = window_common(group->window);
    return &halves[group->n_turns++ % 2];
}

static enum status node_barrier(struct group *group, struct error *err) {
    return window_barrier(group->window, 0, 0, group->n_node_ranks, err);
}

static bool is_node_first(const struct group *group) {
    return group->rank_idx == group->node_rank_begin;
}

/* The first ranks of the other nodes, one after the other, seen from the leader; begin with 0. */
static uint32_t next_node_first(const struct group *group, uint32_t rank) {
    uint32_t node = group->ranks[rank].node;
    while (rank < group->n_ranks && group->ranks[rank].node == node)
        rank++;
    return rank;
}

static enum status wait_all(const struct group *group, const transport_request *requests,
                            uint32_t n, uint64_t *got, struct error *err) {
    return n ? group->transport->ops->wait(group->transport, requests, n, got, err) : OK;
}

/* The leader's half reaches the same half on all other nodes, and is there for all to read. */
static enum status spread(struct group *group, struct half *half, struct error *err) {
    struct transport *t = group->transport;
    transport_request requests[PLAN_RANKS_MAX];
    uint32_t n_requests = 0;
    if (group->rank_idx == 0) {
        for (uint32_t to = next_node_first(group, 0); to < group->n_ranks;
             to = next_node_first(group, to))
            TRY(t->ops->send(t, to, TAG_SPREAD, half->data, half->bytes, &requests[n_requests++],
                             err));
    } else if (is_node_first(group)) {
        TRY(t->ops->receive(t, 0, TAG_SPREAD, half->data, sizeof half->data, requests, err));
        TRY(wait_all(group, requests, 1, &half->bytes, err));
    }
    TRY(node_barrier(group, err));
    return wait_all(group, requests, n_requests, NULL, err);
}

/* Everybody's `own`, in order of ranks, in a half that may be read until the next call. */
static enum status gather(struct group *group, const void *own, uint64_t bytes_each,
                          const unsigned char **all, struct error *err) {
    struct transport *t = group->transport;
    struct half *node = next_half(group);
    if (bytes_each > 0)
        memcpy(node->data + (group->rank_idx - group->node_rank_begin) * bytes_each, own,
               bytes_each);
    *all = node->data;
    TRY(node_barrier(group, err));
    if (group->n_nodes == 1)
        return OK;
    struct half *whole = next_half(group);
    transport_request requests[PLAN_RANKS_MAX];
    uint64_t got[PLAN_RANKS_MAX];
    uint32_t n_requests = 0;
    if (group->rank_idx == 0) {
        whole->bytes = group->n_ranks * bytes_each;
        memcpy(whole->data, node->data, group->n_node_ranks * bytes_each);
        for (uint32_t from = next_node_first(group, 0), next; from < group->n_ranks; from = next) {
            next = next_node_first(group, from);
            TRY(t->ops->receive(t, from, TAG_GATHER, whole->data + from * bytes_each,
                                (next - from) * bytes_each, &requests[n_requests++], err));
        }
    } else if (is_node_first(group)) {
        TRY(t->ops->send(t, 0, TAG_GATHER, node->data, group->n_node_ranks * bytes_each,
                         &requests[n_requests++], err));
    }
    TRY(wait_all(group, requests, n_requests, got, err));
    *all = whole->data;
    return spread(group, whole, err);
}

enum status group_barrier(struct group *group, struct error *err) {
    const unsigned char *nothing;
    return group->n_ranks > 1 ? gather(group, NULL, 0, &nothing, err) : OK;
}

enum status group_broadcast(struct group *group, void *data, uint64_t capacity, uint64_t *bytes,
                            struct error *err) {
    bool leads = group->rank_idx == 0;
    uint64_t limit = capacity < GROUP_BROADCAST_MAX ? capacity : GROUP_BROADCAST_MAX;
    if (leads && *bytes > limit)
        return error_set(err, ERR_LIMIT, "a message of %llu bytes for all ranks: at most %llu",
                         (unsigned long long)*bytes, (unsigned long long)limit);
    if (group->n_ranks == 1)
        return OK;
    struct half *half = next_half(group);
    if (leads) {
        half->bytes = *bytes;
        memcpy(half->data, data, *bytes);
    }
    TRY(spread(group, half, err));
    if (leads)
        return OK;
    if (half->bytes > limit)
        return error_set(err, ERR_LIMIT, "rank 0 sent %llu bytes to all ranks: at most %llu",
                         (unsigned long long)half->bytes, (unsigned long long)limit);
    *bytes = half->bytes;
    memcpy(data, half->data, half->bytes);
    return OK;
}

enum status group_all_gather(struct group *group, const void *own, uint64_t bytes_each, void *all,
                             struct error *err) {
    const unsigned char *gathered = own;
    assert(bytes_each > 0 && bytes_each <= GROUP_GATHER_MAX);
    if (group->n_ranks > 1)
        TRY(gather(group, own, bytes_each, &gathered, err));
    memcpy(all, gathered, group->n_ranks * bytes_each);
    return OK;
}

static const char *phase_of(const struct group *group) {
    return group_phase_name((enum group_phase)atomic_load(&group->progress->phase));
}

/* The text travels only when somebody failed: usually four bytes per rank are all. */
enum status group_agree(struct group *group, enum status status, struct error *err) {
    if (group->n_ranks == 1)
        return status;
    struct error comm = {.status = OK, .text = ""};
    const unsigned char *all;
    uint32_t own = (uint32_t)status, theirs = OK, failed = 0;
    enum status talked = gather(group, &own, sizeof own, &all, &comm);
    if (talked == OK) {
        for (; failed < group->n_ranks; failed++) {
            memcpy(&theirs, all + failed * sizeof theirs, sizeof theirs);
            if (theirs != OK)
                break;
        }
        if (failed == group->n_ranks)
            return OK;
        struct error told = {.status = status, .text = ""};
        if (status && err) {
            told = *err;
            error_wrap(&told, "phase %s, layer %u", phase_of(group), group_layer(group));
        }
        talked = gather(group, &told, sizeof told, &all, &comm);
    }
    if (status)
        return status;
    if (talked)
        return error_set(err, talked, "%s", comm.text);
    struct error first;
    memcpy(&first, all + failed * sizeof first, sizeof first);
    return error_set(err, (enum status)theirs, "rank %u: %s", failed, first.text);
}

enum status group_resize_windows(struct group *group, uint64_t bytes_each, struct error *err) {
    if (group->n_ranks == 1 && !group->window)
        return OK;
    return group_agree(group, window_resize(group->window, bytes_each, err), err);
}

void group_set_timeout(struct group *group, uint32_t timeout_ms) {
    group->timeout_ms = timeout_ms;
    if (group->window)
        window_set_timeout(group->window, timeout_ms);
    if (group->transport)
        group->transport->timeout_ms = timeout_ms;
}

void group_abort(struct group *group) {
    atomic_store(&group->aborted, true);
    if (group->window)
        window_abort(group->window);
    if (group->transport)
        group->transport->ops->abort(group->transport);
}

bool group_is_aborted(const struct group *group) {
    return atomic_load(&group->aborted) || (group->window && window_is_aborted(group->window));
}
