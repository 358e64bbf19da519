/* SPDX-License-Identifier: Apache-2.0 */
/* A command in a worker group: rank 0 runs it, the other ranks do what it orders.
 *
 *     rank 0:  session_open_engine -> steps ... -> session_close_engine        (cli/session.h)
 *                 | order: open          | order: steps      | order: close
 *     others:  worker_group_follow: waits outside of the group until it is resumed, receives one
 *              order, obeys; until rank 0 closes the link
 *
 * Orders say everything that matters (file, context, batch, kernels): the others look at their own
 * options for nothing that could differ. Before each order, and before the first step after a
 * pause, the parked ranks are resumed over the link. Engine thread only. */
#ifndef SHOAL_CLI_WORKER_GROUP_H
#define SHOAL_CLI_WORKER_GROUP_H

#include "base/arena.h"
#include "base/log.h"
#include "model/model.h"
#include "plan/shard_plan.h"
#include "worker/comm/group.h"
#include "worker/comm/linkbench.h"
#include "worker/engine.h"
#include "worker/fault.h"
#include "worker/link/link.h"

#define WORKER_PATH_MAX 4096

struct worker_group {
    struct group *group;             /* borrowed, as all of these: outlives this struct */
    struct link *link;               /* its control connections */
    const struct log *log;           /* NULL: another rank tells */
    uint32_t n_threads;              /* of a rank that is not told otherwise */
    uint32_t n_attention_groups;     /* 0: one per node */
    bool chooses_strategy;           /* by measuring */
    enum exchange_strategy strategy; /* otherwise */
    /* of the open engine */
    struct arena arena;
    struct shard_plan shard;
};

/* ---- rank 0 ---- */

/* Opens the engine on all ranks; `options` as for engine_open, without what concerns the group. The
 * others open `path` with the same header. Errors as of engine_open, whichever rank has them; and
 * ERR_COMM. Where the group stays whole, another open may follow. */
struct worker_model {
    const char *path;
    const struct model *model;
};
enum status worker_group_open_engine(struct worker_group *g, const struct worker_model *what,
                                     const struct engine_options *options, struct engine **out,
                                     struct error *err);
void worker_group_close_engine(struct worker_group *g, struct engine *engine);

/* Measures the links between all ranks, at length. The results are to be freed. ERR_COMM. */
enum status worker_group_measure_links(struct worker_group *g, struct linkbench_results *results,
                                       struct error *err);

/* ---- the other ranks ---- */

/* Until rank 0 ends the group in order (OK). ERR_COMM, ERR_CANCELLED: the group is lost. */
enum status worker_group_follow(struct worker_group *g, struct error *err);

/* ---- any ---- */

/* Whether the group is lost, by this error or before (`err` NULL: no error of ours is known): then
 * the link has told the person, and nobody says more. */
bool worker_group_lost(const struct worker_group *g, const struct error *err);

#endif
