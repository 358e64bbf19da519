/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the ranks of one node share: every rank has a part it writes and all may read.
 *
 *     common | part of rank 0 | part of rank 1 | ...        each bytes_each, on its own pages
 *
 * It has no name in any file system: the first rank makes it (memfd) and hands it to the others
 * over a socket of the abstract namespace, so that nothing is left behind however a rank ends.
 * Waiting spins for some microseconds when every rank has a core of its own, then sleeps on a
 * futex; where ranks share cores it sleeps at once. Memory written before a barrier is seen by all
 * behind it. */
#ifndef SHOAL_WORKER_COMM_WINDOW_H
#define SHOAL_WORKER_COMM_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define WINDOW_RANKS_MAX    64 /* of a node */
#define WINDOW_BARRIERS_MAX 65 /* sets of ranks that meet apart from others: node, TP groups */
#define WINDOW_NAME_MAX     64

struct window; /* opaque */

struct window_options {
    const char *name;      /* unique to the job and node: "shoal-<job>-<node>" */
    uint32_t n_ranks;      /* 1..WINDOW_RANKS_MAX */
    uint32_t rank_idx;     /* on the node */
    uint32_t first_rank;   /* number in the group of the node's first rank, for errors */
    uint64_t bytes_each;   /* of a part at first; see window_resize */
    uint64_t common_bytes; /* of the area that belongs to no rank */
    uint32_t timeout_ms;   /* of opening and of every wait */
    bool spin;             /* each rank's threads have cores of their own */
};

/* Collective. ERR_COMM: a rank did not come (named), or came with other options; ERR_NOMEM. */
enum status window_open(struct window **out, const struct window_options *options,
                        struct error *err);
/* The windows of all ranks of a node that are threads of this process, made by one of them before
 * the others run; rank_idx is not read. One mapping serves all, so that tools that watch threads
 * see what the ranks do to each other's memory. Each is closed by its rank. */
enum status window_open_threads(struct window **out, const struct window_options *options,
                                struct error *err);
void window_close(struct window *window); /* NULL is fine; not collective */

/* The part of a rank (of the node), 4096-byte aligned, zero at first; NULL if parts have no bytes.
 * Moves in window_resize. */
void *window_part(const struct window *window, uint32_t rank_idx);
uint64_t window_bytes_each(const struct window *window);
/* The area that all may write, zero at first; it never moves. 64-byte aligned. */
void *window_common(const struct window *window);

/* Collective over the node: all parts have now `bytes_each`, and are zero. All of it is in memory
 * when this returns. ERR_NOMEM; ERR_COMM; after an error there are no parts. */
enum status window_resize(struct window *window, uint64_t bytes_each, struct error *err);

/* Meets the ranks begin .. end-1 of the node. `set` names the meeting place, the same for all who
 * meet and no other set's at that time (0: the node; 1 + tp group). ERR_COMM names the missing
 * ranks after timeout_ms; ERR_CANCELLED: aborted. */
enum status window_barrier(struct window *window, uint32_t set, uint32_t begin, uint32_t end,
                           struct error *err);

/* The same for any ranks of the node, this one among them: bit i is rank i. */
enum status window_meet(struct window *window, uint32_t set, uint64_t ranks, struct error *err);

/* Of this rank's waits from now on. */
void window_set_timeout(struct window *window, uint32_t timeout_ms);

/* Ends all waits of all ranks of the node, now and later. Any thread. */
void window_abort(struct window *window);
bool window_is_aborted(const struct window *window);

#endif
