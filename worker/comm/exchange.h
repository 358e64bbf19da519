/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks of a group tell each other within a layer: sums of products cut along K, columns
 * of a product cut by rows, tokens that travel to their experts and results that travel back.
 *
 * A step's tokens ("rows") are owned by attention groups; all ranks of a group hold the residual
 * stream of its rows. Sums have the bits of one rank: everybody sends the roots of the subtrees
 * that are wholly its own (tensor/tree.h), and the tree is finished by the receiver.
 *
 *     strategy     tokens reach their experts                           for
 *     replicated   they are there already: one attention group          one node, small steps
 *     gather       every node gets every token, once                    few nodes
 *     alltoall     a node gets a token, once, if it holds one of its    many nodes
 *                  experts
 *
 * Inside a node tokens and results lie in shared memory, where everybody reads what it needs;
 * between nodes each rank sends one message per other node and layer, and a node adds the results
 * of its ranks before it sends them back.
 *
 * Collective over the group (experts) or the attention group (sums, columns); engine thread. */
#ifndef SHOAL_WORKER_COMM_EXCHANGE_H
#define SHOAL_WORKER_COMM_EXCHANGE_H

#include <stdint.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/quant/activation.h"
#include "plan/shard_plan.h"
#include "tensor/ksplit.h"
#include "tensor/tree.h"
#include "worker/comm/group.h"

enum exchange_strategy {
    EXCHANGE_REPLICATED,
    EXCHANGE_GATHER,
    EXCHANGE_ALLTOALL,
    EXCHANGE_N,
};
const char *exchange_name(enum exchange_strategy strategy); /* "alltoall" */

struct exchange; /* opaque */

struct exchange_options {
    struct group *group;           /* borrowed, outlives the exchange */
    const struct shard_plan *plan; /* likewise */
    struct thread_pool *pool;      /* likewise */
    enum exchange_strategy strategy;
    uint32_t d_model, n_experts, top_k; /* n_experts 0: a dense model */
    uint32_t n_columns;                 /* widest row of exchange_columns: experts, vocabulary */
    uint32_t n_step_tokens;             /* rows of all groups in a step, at most */
    uint32_t n_free_rows; /* of them, so many at most where ranks own any run of parts in a sum,
                             not only those of the plan; 0: never */
    uint32_t n_logit_rows;
    bool whole_rows; /* experts read floats (reference kernels, float weights), not blocks only */
};

/* Bytes of a window part that the exchange needs, the same on all ranks; and what a rank takes
 * beside it. 0: the strategy is not possible. */
uint64_t exchange_window_bytes(const struct exchange_options *options);
uint64_t exchange_own_bytes(const struct exchange_options *options);

/* The strategy for a group, and why: for a line "exchange: <name>, because <reason>". */
struct exchange_choice {
    enum exchange_strategy strategy;
    char reason[160];
};
/* Collective; options->strategy is not read. Where there is something to choose, between nodes, it
 * is measured with random routing, some milliseconds; then the windows' parts are in use and of
 * another size when it returns. */
enum status exchange_choose(const struct exchange_options *options, struct exchange_choice *choice,
                            struct error *err);

/* ERR_UNSUPPORTED: `replicated` with several attention groups; ERR_NOMEM. */
enum status exchange_open(struct exchange **out, const struct exchange_options *options,
                          struct error *err);
void exchange_close(struct exchange *ex); /* NULL is fine */

/* ---- sums within the attention group ---- */

/* How the parts of one product come together: the same on all ranks of a group, made at bind. */
struct exchange_sum_layout {
    uint32_t n_own_roots;                /* products this rank makes, at most KSPLIT_PARTS */
    struct leaf_range own[KSPLIT_PARTS]; /* parts of each of them: a ksplit of its own */
    uint32_t n_terms;                    /* roots of all ranks, in order */
    struct {
        uint32_t tp_idx, root_idx;
    } terms[KSPLIT_PARTS];
    uint32_t n_adds;
    struct tree_add adds[KSPLIT_PARTS]; /* of terms; the sum ends in term 0 */
};
/* `parts[i]`: those that rank i of the group owns (rank_share.attention, .gdn or .ffn). */
void exchange_sum_layout_init(struct exchange_sum_layout *layout, const struct ksplit *split,
                              const struct leaf_range *parts, uint32_t n_ranks, uint32_t tp_idx);

/* Where this rank's roots of the next sum belong: [n_own_roots][n_rows][d_model]. */
float *exchange_roots(struct exchange *ex);

/* The rows of n_rows that this rank finishes: all when there are few, its share when many. */
struct index_range exchange_slice(const struct exchange *ex, uint32_t n_rows);

/* out[row] = the sum, for the rows of this rank's slice; out is [n_rows, d_model]. */
enum status exchange_sum(struct exchange *ex, const struct exchange_sum_layout *layout,
                         uint32_t n_rows, float *out, struct error *err);

/* Completes x [n_rows, d_model] when everybody has finished its slice of the last sum or combine,
 * of as many rows. */
enum status exchange_share(struct exchange *ex, float *x, uint32_t n_rows, struct error *err);

/* ---- columns within the attention group ---- */

/* Each rank made the columns `own` of [n_rows, n_columns] (given compact, [n_rows, own]); `out`
 * receives all of them. `ranges[i]`: those of rank i of the group. */
struct exchange_columns_args {
    float *out;       /* [n_rows, n_columns] */
    const float *own; /* [n_rows, width of ranges[tp_idx]]; must not overlap out */
    const struct index_range *ranges;
    uint32_t n_rows, n_columns;
};
enum status exchange_columns(struct exchange *ex, const struct exchange_columns_args *a,
                             struct error *err);

/* ---- tokens to experts and back ---- */

/* The rows this rank must run its experts for. */
struct exchange_work {
    struct activation x;  /* [n_rows, d_model]; x.x NULL unless whole_rows or own */
    const uint32_t *ids;  /* [n_rows, top_k] of all the row's experts, rising */
    const float *weights; /* [n_rows, top_k] */
};

struct exchange_home {
    const struct activation *x; /* [n_rows, d_model] of this attention group, quantised */
    const uint32_t *ids;        /* [n_rows, top_k] */
    const float *weights;
};
enum status exchange_dispatch(struct exchange *ex, const struct exchange_home *home,
                              struct exchange_work *work, struct error *err);

/* Where this rank's experts' roots belong: rows in order of `work`, of each the roots of the
 * subtrees of buckets that are this rank's own, in order: [number of roots][d_model]. */
float *exchange_expert_roots(struct exchange *ex);

/* out[row] = the experts' sum, for the home rows of this rank's slice. If `shared` is given, the
 * roots of that sum were put at exchange_roots as well, and shared_out receives it. */
struct exchange_combine_args {
    float *out;                               /* [n_rows, d_model] */
    const struct exchange_sum_layout *shared; /* NULL: there is no shared expert */
    float *shared_out;                        /* [n_rows, d_model] */
    uint32_t n_rows;                          /* home rows */
};
enum status exchange_combine(struct exchange *ex, const struct exchange_combine_args *a,
                             struct error *err);

/* ---- logits to the leader ---- */

/* Rank 0 of each attention group sends n_rows[group] rows of [n_columns]; the leader's `out` has
 * them one group after the other. */
struct exchange_logits_args {
    const float *own;       /* [n_rows[own group], n_columns]; only read on tp_idx 0 */
    const uint32_t *n_rows; /* [n_groups] */
    uint32_t n_columns;
    float *out; /* leader only: [sum of n_rows, n_columns] */
};
enum status exchange_logits(struct exchange *ex, const struct exchange_logits_args *a,
                            struct error *err);

/* What this rank sent since open, and its time, for benchmarks and tests. Always
 * node_bytes == node_rows * row_bytes + header_bytes. */
struct exchange_counts {
    uint64_t node_rows;    /* rows sent to other nodes, each once per node */
    uint64_t node_bytes;   /* of all messages with rows to other nodes */
    uint64_t header_bytes; /* of those, not rows */
    uint64_t row_bytes;    /* of one row */
    uint64_t return_rows;  /* rows of other nodes for which results were sent back */
    uint64_t return_bytes; /* of all messages with results */
    /* Time by kind without what is waited in it; sum: with share and columns. */
    uint64_t sum_ns, dispatch_ns, combine_ns, logits_ns;
    uint64_t wait_ns; /* for ranks that are later, and for messages on their way */
};
struct exchange_counts exchange_counts(const struct exchange *ex);

#endif
