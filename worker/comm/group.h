/* SPDX-License-Identifier: Apache-2.0 */
/* The worker group as one rank sees it: who is where, and how to reach them.
 *
 * Ranks of one node share memory (window.h); nodes reach each other by a transport (transport.h:
 * MPI, or threads' queues in tests). Ranks are numbered in order of nodes, the leader is 0; the
 * numbers of MPI may differ, and only the transport knows them.
 *
 * Every wait has a deadline and ends early when the group was aborted. No rank leaves between two
 * collectives: a phase that can fail locally ends in group_agree. Calls are collective and made by
 * the engine thread of each rank, except group_abort and the progress, which any thread may use. */
#ifndef SHOAL_WORKER_COMM_GROUP_H
#define SHOAL_WORKER_COMM_GROUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "plan/shard_plan.h"
#include "worker/comm/transport.h"
#include "worker/comm/window.h"

/* What a rank is doing, for heartbeats and for the text of errors. */
enum group_phase {
    PHASE_START,
    PHASE_SELF_TEST,
    PHASE_LOAD,
    PHASE_IDLE,
    PHASE_STEP,
    PHASE_EXCHANGE,
    PHASE_END,
};
const char *group_phase_name(enum group_phase phase); /* "exchange" */

/* Written by the rank, read by anybody; on a cache line of its own. */
struct group_progress {
    _Alignas(64) _Atomic uint32_t phase; /* enum group_phase */
    _Atomic uint32_t layer;
    _Atomic uint64_t counter; /* grows whenever something was done */
    _Atomic uint64_t step;    /* steps that were begun */
};

struct fault;

struct group {
    uint32_t n_ranks, rank_idx;
    uint32_t n_nodes, node_idx;
    const struct plan_rank *ranks;          /* [n_ranks] node and capacity; owned by who opened */
    uint32_t node_rank_begin, n_node_ranks; /* the ranks of this node */
    struct window *window;                  /* of this node; NULL: a group of one */
    struct transport *transport;            /* NULL: there is one node */
    uint32_t timeout_ms;                    /* of every wait */
    struct group_progress *progress;        /* of this rank, in the window; set by
                                               group_place_progress */
    const struct fault *fault;              /* NULL, or what a test lets happen (worker/fault.h) */
    _Atomic bool aborted;
    uint32_t n_turns; /* of the two halves of the common area, so far; group.c only */
};

#define GROUP_BROADCAST_MAX (1u << 20)
#define GROUP_GATHER_MAX    1024 /* bytes of one rank */
/* common_bytes of a window that serves a group. */
#define GROUP_COMMON_BYTES                                                                         \
    (2u * (64 + GROUP_BROADCAST_MAX) + WINDOW_RANKS_MAX * sizeof(struct group_progress))

/* One machine as several nodes: runs of ranks, as equal as they can be. n_nodes <= n_ranks. */
static inline uint32_t group_pretended_node(uint32_t rank, uint32_t n_ranks, uint32_t n_nodes) {
    return (uint32_t)((uint64_t)rank * n_nodes / n_ranks);
}

/* Waits until all ranks are here. ERR_COMM names those that are missing; ERR_CANCELLED: aborted. */
enum status group_barrier(struct group *group, struct error *err);

/* Makes the worst status everyone's: a rank with an error gets its own back, the others one that
 * names the first rank that failed, its phase and layer, with its text. */
enum status group_agree(struct group *group, enum status status, struct error *err);

/* The leader's bytes reach everybody: on the leader `data` holds *bytes of them, on the others it
 * takes them. ERR_LIMIT: more than `capacity` or GROUP_BROADCAST_MAX; ERR_COMM;
 * ERR_CANCELLED. */
enum status group_broadcast(struct group *group, void *data, uint64_t capacity, uint64_t *bytes,
                            struct error *err);

/* Everybody's `own` (bytes_each, at most GROUP_GATHER_MAX, the same on all ranks) reaches
 * everybody: `all` is [n_ranks][bytes_each]. For small facts: capacities, versions, outcomes. */
enum status group_all_gather(struct group *group, const void *own, uint64_t bytes_each, void *all,
                             struct error *err);

/* The ranks' parts of the windows, on all nodes, have now `bytes_each` and are zero. Whoever reads
 * parts must ask window_part again. */
enum status group_resize_windows(struct group *group, uint64_t bytes_each, struct error *err);

/* Of every wait of this rank from now on: long where a link watches the group, which notices much
 * sooner who is lost, and knows who only takes long. */
void group_set_timeout(struct group *group, uint32_t timeout_ms);

/* Wakes and ends every wait on this node, now and later. Any thread. */
void group_abort(struct group *group);
bool group_is_aborted(const struct group *group);

/* Once the group has its window: what a rank is doing stands there, so that the others of its node
 * can tell it of one that has died. */
void group_place_progress(struct group *group);
/* NULL: the rank is on another node. */
const struct group_progress *group_rank_progress(const struct group *group, uint32_t rank_idx);

static inline void group_begin_step(struct group *group) {
    atomic_fetch_add_explicit(&group->progress->step, 1, memory_order_relaxed);
}

static inline uint32_t group_layer(const struct group *group) {
    return atomic_load_explicit(&group->progress->layer, memory_order_relaxed);
}

static inline void group_set_phase(struct group *group, enum group_phase phase, uint32_t layer) {
    atomic_store_explicit(&group->progress->phase, phase, memory_order_relaxed);
    atomic_store_explicit(&group->progress->layer, layer, memory_order_relaxed);
    atomic_fetch_add_explicit(&group->progress->counter, 1, memory_order_relaxed);
}

#endif
