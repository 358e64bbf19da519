/* SPDX-License-Identifier: Apache-2.0 */
/* A worker group whose ranks are threads of the test: real windows, one mapping for each pretended
 * node, and messages between nodes by queues. All that a group promises holds, and a tool that
 * watches threads sees every access of one rank to what another wrote.
 *
 * The ranks run a function that reports by status: assertions of cmocka belong to the test's own
 * thread, behind thread_group_run. */
#ifndef SHOAL_TESTS_SUPPORT_THREAD_GROUP_H
#define SHOAL_TESTS_SUPPORT_THREAD_GROUP_H

#include <stdint.h>

#include "base/error.h"
#include "worker/comm/group.h"

#define THREAD_GROUP_RANKS_MAX  64
#define THREAD_GROUP_TIMEOUT_MS 20000

struct thread_group_options {
    uint32_t n_ranks;      /* 1..THREAD_GROUP_RANKS_MAX */
    uint32_t n_nodes;      /* 1..n_ranks, as by group_pretended_node */
    uint32_t timeout_ms;   /* of every wait; 0: THREAD_GROUP_TIMEOUT_MS */
    uint64_t window_bytes; /* of a rank's part at first; group_resize_windows changes it */
};

typedef enum status thread_group_fn(struct group *group, void *user, struct error *err);

/* Runs fn(group of rank i, user) for all ranks at once and returns when all are back. A rank that
 * returns an error ends the waits of all others. The result is the first error that was not a
 * cancellation, else OK; its text names the rank. */
enum status thread_group_run_with(const struct thread_group_options *options, thread_group_fn *fn,
                                  void *user, struct error *err);

static inline enum status thread_group_run(uint32_t n_ranks, uint32_t n_nodes, thread_group_fn *fn,
                                           void *user, struct error *err) {
    struct thread_group_options options = {.n_ranks = n_ranks, .n_nodes = n_nodes};
    return thread_group_run_with(&options, fn, user, err);
}

#endif
