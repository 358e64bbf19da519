/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the machines of a group read memory, as the capacities of its ranks (plan/shard_plan.h):
 * weights are what a step reads most, so a share in proportion keeps ranks from waiting.
 *
 * All ranks read at once, as in a step, each with its own threads a buffer of its own; what the
 * ranks of a node read together is divided among them evenly, for they share its memory. Speeds are
 * taken in quarters of the fastest node's: machines of one kind differ by noise, and that should
 * not give every start another layout. Collective; engine thread. */
#ifndef SHOAL_WORKER_CAPACITY_H
#define SHOAL_WORKER_CAPACITY_H

#include <stdint.h>

#include "base/error.h"
#include "plan/shard_plan.h"
#include "worker/comm/group.h"

/* Bytes per second that this rank reads, beside all others. About 50 ms; ERR_NOMEM, ERR_COMM, and
 * an error of one rank is everyone's. */
enum status capacity_measure(struct group *group, uint32_t n_threads, double *bytes_per_s,
                             struct error *err);

/* Gathers what every rank measured into ranks[i].capacity, and the nodes with it; `ranks` is
 * [group->n_ranks]. ERR_COMM. */
enum status capacity_share(struct group *group, double bytes_per_s, struct plan_rank *ranks,
                           struct error *err);

#endif
