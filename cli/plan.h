/* SPDX-License-Identifier: Apache-2.0 */
/* What `plan` has found out: who would hold what, and whether that fits. */
#ifndef SHOAL_CLI_PLAN_H
#define SHOAL_CLI_PLAN_H

#include "cli/command.h"
#include "model/model.h"
#include "plan/memory_plan.h"
#include "plan/shard_plan.h"
#include "plan/share_size.h"
#include "worker/engine.h"

struct planned_rank {
    struct share_size size;
    struct memory_plan memory;
    double capacity;
};

struct planned_group {
    struct cli *cli;
    struct model model;
    struct engine_options engine; /* that each worker would open */
    struct arena arena;
    struct shard_plan shard;
    struct planned_rank *ranks; /* [shard.n_ranks] */
    uint64_t *node_bytes;       /* [shard.n_nodes] what the ranks of a node take together */
    uint64_t node_bytes_max;    /* what a node has */
    uint32_t ctx_size;          /* that was asked for, or the largest that fits */
    bool fits;
};

/* --capacity: "30,30,12", one number above 0 for each rank. ERR_INPUT. */
enum status plan_read_capacities(const char *list, struct plan_rank *ranks, uint32_t n_ranks,
                                 struct error *err);

/* Each writes the whole description to cli->out. ERR_NOMEM. */
enum status plan_write_table(const struct planned_group *p, struct error *err);
enum status plan_write_json(const struct planned_group *p, struct error *err);

#endif
