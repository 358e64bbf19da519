/* SPDX-License-Identifier: Apache-2.0 */
/* The control connections of a worker group: how a leader wakes its ranks, and how everybody learns
 * that somebody is gone.
 *
 *     leader:  link_open -> link_address (to the ranks, over MPI) -> link_wait_ranks
 *              -> { link_resume_all -> steps, by collectives -> PARK, by a collective } ...
 *              -> link_close
 *     rank:    link_open(address) -> { link_wait_resume -> steps until PARK } ... -> link_close
 *
 * A thread of its own (libuv) holds one TCP connection between every rank and the leader, sends
 * heartbeats with what the engine thread is doing, and watches the other side. The calls below are
 * the engine thread's; none but link_wait_resume waits without a deadline, and that one ends with
 * the group.
 *
 * Who is lost                       is noticed by     after
 *     died (connection closed)      leader, ranks     at once
 *     stopped, or machine gone      leader, ranks     silence_ms without a heartbeat
 *     hangs while a step runs       leader            stall_ms without progress
 *     says so (link_fail)           leader            at once
 * The time that a watcher itself could not run does not count. A group is lost as a whole: one line
 * on the log names rank, host, what happened, phase, layer and step, all ranks are told, `abort`
 * ends the waits of this rank's engine thread, and link_is_lost says so from then on: whoever sees
 * it must leave without a message of his own. Where the engine thread has not come to link_close
 * after LINK_LEAVE_MS, `expire` is called, which is meant to end the process.
 *
 * Of a leader that dies the lowest rank tells: rank 1 at once, the others of its node in turn
 * unless the group is aborted by then, other nodes last. */
#ifndef SHOAL_WORKER_LINK_LINK_H
#define SHOAL_WORKER_LINK_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "proto/frame.h"
#include "worker/comm/group.h"

#define LINK_HOSTS_MAX    8  /* addresses of a leader */
#define LINK_HOST_BYTES   46 /* of a numeric IPv6 address, terminated */
#define LINK_LEAVE_MS     2000
#define LINK_HEARTBEAT_MS 250
#define LINK_SILENCE_MS   3000
#define LINK_STALL_MS     30000
#define LINK_CONNECT_MS   20000
#define LINK_SIGTERM_MS   300  /* to find the reason of a SIGTERM, see take_sigterm */
#define LINK_CLOSE_MS     5000 /* for all ranks to leave after a leader's link_close */

/* Where the leader listens and what lets a rank in; plain bytes, to be broadcast as they are. */
struct link_address {
    uint8_t token[FRAME_TOKEN_BYTES]; /* secret of the job */
    uint16_t port;
    uint8_t n_hosts;
    char hosts[LINK_HOSTS_MAX][LINK_HOST_BYTES]; /* numeric, tried in order */
};

/* A zero in a time stands for the default above. */
struct link_options {
    uint32_t n_ranks, rank_idx, node_idx;
    uint32_t rank1_node;               /* node of rank 1, which tells of a dead leader first */
    uint64_t model_hash;               /* the same on all ranks; 0: not known yet */
    bool one_machine;                  /* leader: all ranks are here, so listen on loopback only */
    const struct link_address *leader; /* rank: borrowed for the call */
    const struct group_progress *progress; /* of this rank's engine thread; outlives the link */
    /* [n_ranks] what the ranks do whose memory is shared with this one, exact at the moment of a
     * death, where a heartbeat is up to heartbeat_ms old. NULL, or NULL for a rank: by heartbeats.
     */
    const struct group_progress *const *shared_progress;
    const struct log *log; /* of the one line; outlives the link */
    /* mpirun sends SIGTERM to all ranks when one has died, often before the death is seen here. The
     * link then looks for LINK_SIGTERM_MS who it was before it gives the group up. One link of a
     * process at most. */
    bool take_sigterm;
    uint32_t heartbeat_ms, silence_ms, stall_ms, connect_ms;
    /* On the link's thread; must not wait. */
    void (*abort)(void *user);      /* group_abort */
    bool (*is_aborted)(void *user); /* group_is_aborted: by any rank of this node */
    void (*expire)(void *user);     /* _exit */
    void *user;
};

struct link; /* opaque: owns a thread and sockets */

/* Leader: listens. Rank: connects, and is let in. ERR_COMM: refused (says why), or nobody answered
 * within connect_ms; ERR_IO: no socket or thread; ERR_NOMEM. */
enum status link_open(struct link **out, const struct link_options *options, struct error *err);

/* Leader: for the ranks' options. */
void link_address(const struct link *link, struct link_address *out);

/* Leader: until all ranks are connected. ERR_COMM: after connect_ms names those that are missing,
 * or the group is lost. */
enum status link_wait_ranks(struct link *link, struct error *err);

/* Leader: ranks leave link_wait_resume. ERR_COMM: the group is lost. */
enum status link_resume_all(struct link *link, struct error *err);

/* Rank: until the leader resumes (OK, *stop false) or ends the group in order (OK, *stop true).
 * ERR_COMM: the group is lost. */
enum status link_wait_resume(struct link *link, bool *stop, struct error *err);

/* This rank cannot go on: the person is told once, the group is lost. Returns when it is. With
 * ERR_CANCELLED another link of this node has ended the waits, because it knows of a loss and tells
 * of it: this one is about to know as well, and is silent. */
void link_fail(struct link *link, const struct error *why);

/* Whether the group is lost, and by what: the line. Any thread. */
bool link_is_lost(struct link *link, struct error *err);

/* Leader: ends the group in order, waits until all ranks have left. Rank: leaves. Of a lost group:
 * just closes. NULL is fine. ERR_COMM: lost, before or now. */
enum status link_close(struct link *link, struct error *err);

#endif
