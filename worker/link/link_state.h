/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share.
 *
 *     link.c       the engine thread's calls
 *     loop.c       the link thread: ticks, signals, the end of a lost group
 *     leader.c     the leader's part: ranks are let in, heard and watched
 *     follower.c   the other ranks' part: the leader is found, heard and watched
 *
 * The engine thread leaves its wishes in `shared` and wakes the loop; what it waits for appears
 * there as well. Everything else belongs to the link thread from its start to its end. */
#ifndef SHOAL_WORKER_LINK_LINK_STATE_H
#define SHOAL_WORKER_LINK_LINK_STATE_H

#include <pthread.h>

#include "base/clock.h"
#include "worker/link/connection.h"
#include "worker/link/link.h"
#include "worker/link/watch.h"

#include <uv.h>

/* A rank as people know it. */
struct rank_name {
    uint32_t rank_idx, node_idx, pid; /* pid 0: it has never been heard */
    char host[FRAME_HOST_MAX + 1];
};

/* The leader's and the other ranks' part of a link; all on the link thread. What only a leader does
 * is NULL for the others. */
struct link_role {
    void (*tick)(struct link *link, bool heartbeat); /* heartbeat: it is time for one */
    void (*resume)(struct link *link);               /* leader */
    void (*fail)(struct link *link, const struct error *why);
    void (*leave)(struct link *link); /* the engine thread is at link_close, the group not lost */
    void (*lost)(struct link *link, const char *line); /* tells the others */
    bool (*may_end)(struct link *link); /* after leave or lost: whether all has been said */
    void (*late)(struct link *link);    /* leader: not all ranks have left in time */
};

struct leader;
struct follower;

struct link {
    struct link_options options; /* with defaults; `leader` is not kept */
    struct rank_name self;
    const struct link_role *role;
    struct leader *leader;       /* NULL: a rank */
    struct follower *follower;   /* NULL: the leader */
    struct link_address address; /* rank: its token */

    pthread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t tick;
    uv_signal_t sigterm;
    struct watch_clock clock;
    uint32_t n_ticks;
    bool leaving;           /* the engine thread is at link_close */
    bool is_lost;           /* the same as shared.lost, for this thread */
    uint64_t end_by_ns;     /* real time; from leaving: when to end in any case */
    uint64_t leave_by_ns;   /* real time; from the loss: when to call expire; 0: never */
    uint64_t cancel_by_ns;  /* real time; from a link_fail without a reason of its own: when the
                               loss behind it should be known here; 0: there was none */
    uint64_t sigterm_by_ns; /* real time; from a SIGTERM: when to give up; 0: there was none */
    struct frame_memory memory;

    /* Guards `shared`; held for a few instructions, never with another lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        /* from the link thread */
        bool open_done; /* rank: let in, or open_error */
        struct error open_error;
        bool lost;
        struct error error; /* why */
        uint32_t n_missing; /* leader: ranks that have not come, and which (the first of them) */
        char missing[64];
        uint32_t n_resumes; /* rank: not yet taken */
        bool stop;          /* rank: the leader ends the group in order */
        /* from the engine thread */
        uint32_t resumes_wanted;
        bool fail_wanted, close_wanted;
        struct error why; /* of fail_wanted */
    } shared;
};

/* The real time, as clock_ns, in so many milliseconds. */
static inline uint64_t link_in_ms(uint64_t ms) {
    return clock_ns() + ms * 1000000u;
}

/* ---- loop.c ---- */

enum status link_loop_init(struct link *link, struct error *err);
/* Closes all handles and runs the loop until they are; where no thread runs. */
void link_loop_free(struct link *link);
void *link_loop_run(void *link); /* the thread */

/* The group is lost because of `who`, which `what` ("was killed or crashed"); `why` may be NULL.
 * `tell`: nobody else has told the person. Only the first loss counts. */
struct loss {
    const struct rank_name *who;
    const struct watched *last; /* what was heard of it; what is known better comes from memory */
    const char *what, *why;
    bool tell;
};
void link_lose(struct link *link, const struct loss *loss);
/* Likewise, told by somebody else or by nobody: only a text. */
void link_lose_quietly(struct link *link, const char *text);

/* The engine thread is at link_close: ends the loop if nothing is left to be said or heard. */
void link_end_if_done(struct link *link);

/* This rank's hello and heartbeat, and the numbers of a phase on the wire. */
bool link_send_hello(struct link *link, struct connection *c);
bool link_send_heartbeat(struct link *link, struct connection *c);
struct rank_report link_report(const Control__V1__Heartbeat *heartbeat);
void link_rank_name(struct rank_name *name, const Control__V1__Hello *hello);

/* ---- leader.c, follower.c ---- */

enum status leader_open(struct link *link, struct error *err);
void leader_free(struct link *link); /* once the loop has ended */

enum status follower_open(struct link *link, const struct link_address *leader, struct error *err);
void follower_free(struct link *link);

#endif
