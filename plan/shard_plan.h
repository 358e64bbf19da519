/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds what: a model spread over the ranks of a worker group.
 *
 *     ranks      0 1 2 3 | 4 5 6 7          in order of nodes; rank 0 is the leader
 *     nodes      0       | 1
 *     attention  0 0 1 1 | 2 2 3 3          groups of ranks of one node that share a sequence's
 *     groups                                attention, delta nets, shared expert, head (TP)
 *     experts    every rank a run of whole buckets of experts (EP)
 *
 * A row-parallel product (out- and down-projections) is cut along K into KSPLIT_PARTS parts that do
 * not depend on the layout (tensor/ksplit.h); a rank of an attention group owns a run of parts, and
 * with them the heads, key-head groups or runs of an FFN that the parts are made of. Experts are
 * owned by runs of the EXPERT_BUCKETS buckets in which their results are added. So every sum has
 * the same bits on every layout (architecture, "The same bits everywhere").
 *
 * Shares follow the ranks' capacities; a count that does not divide gives one rank more, or leaves
 * a rank without: nothing is refused but more ranks than experts and parts can use at all.
 * Plain arithmetic; any thread. */
#ifndef SHOAL_PLAN_SHARD_PLAN_H
#define SHOAL_PLAN_SHARD_PLAN_H

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/hparams.h"
#include "tensor/tree.h"

#define PLAN_RANKS_MAX     1024
#define PLAN_EXPERT_LEAVES 64  /* EXPERT_BUCKETS (asserted in worker/) */
#define PLAN_FFN_RUN       256 /* columns of a unit of a feed forward, as worker/forward binds it */

/* Of rows, experts, vocabulary: begin .. end-1. */
struct index_range {
    uint32_t begin, end;
};

struct plan_rank {
    uint32_t node;   /* 0, 1, ... rising with the rank's index */
    double capacity; /* bytes per second it reads, or any other measure; above 0 */
};

struct shard_plan_options {
    const struct hparams *hp;
    const struct plan_rank *ranks; /* [n_ranks] */
    uint32_t n_ranks;              /* 1..PLAN_RANKS_MAX */
    uint32_t n_attention_groups;   /* 0: one per node; else at least one per node, at most one per
                                      rank, spread over nodes in proportion to their ranks */
};

/* What one rank holds. */
struct rank_share {
    uint32_t node, group;
    uint32_t tp_idx; /* its place in its attention group */
    /* Parts of K it owns in its group; none of layers that the model lacks. */
    struct leaf_range attention, gdn, ffn; /* ffn: dense, or of the shared
                                              expert when there is much to do */
    struct index_range vocab;              /* rows of the head, in its group; whole panels of 16 */
    struct index_range router;             /* rows of the router (experts), likewise */
    struct leaf_range buckets;             /* of experts, in all ranks */
    struct index_range experts;            /* those of its buckets */
};

struct plan_node {
    struct index_range ranks, groups;
};

struct plan_group {
    uint32_t node;
    struct index_range ranks;
};

struct shard_plan {
    uint32_t n_ranks, n_nodes, n_groups;
    struct rank_share *ranks;  /* [n_ranks] */
    struct plan_node *nodes;   /* [n_nodes] */
    struct plan_group *groups; /* [n_groups] */
};

/* All arrays in `arena`. The same options give the same plan on every rank. ERR_INPUT: ranks, nodes
 * or groups that cannot be (the text says what was found and what is allowed); ERR_LIMIT: more
 * ranks than can be used; ERR_NOMEM. */
enum status shard_plan_init(struct shard_plan *plan, const struct shard_plan_options *options,
                            struct arena *arena, struct error *err);

/* First expert of a bucket; bucket PLAN_EXPERT_LEAVES gives n_experts. Inverse of
 * bucket = id * EXPERT_BUCKETS / n_experts. */
uint32_t shard_plan_bucket_begin(uint32_t bucket, uint32_t n_experts);

#endif
