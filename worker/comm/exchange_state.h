/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the exchange share: who reads what where, and in which order.
 *
 * Every rank of a node has the same areas at the same places of its part of the window. A rank
 * writes only its own part, everybody reads all parts, and a barrier lies between. What keeps a
 * reader of one round from the writer of the next:
 *
 *  1. Areas that one barrier guards are two and take turns (roots, columns, logits; results of
 *     `replicated`). Who writes the first of them again has passed the barrier of the second,
 *     and at that one all readers of the first arrive when they have read.
 *  2. With `gather` and `alltoall` a layer has barriers behind the writing of rows (A), of results
 *     (B), and of results from other nodes (C, if there are any). Rows are written before A and
 *     read between A and B; results and the table of their places are written between A and B and
 *     read behind B; what other nodes sent is written between B and C and read behind C. So no two
 *     neighbours in time touch the same area without a barrier between them, and one of each
 *     suffices.
 *
 *  3. Between two calls of exchange_share lies a sum with its barrier: one area suffices.
 *
 * The rows of a node are counted in one order: those of its ranks in order of ranks, then those
 * that came from other nodes, in order of the ranks that received them and, of each, of senders. */
#ifndef SHOAL_WORKER_COMM_EXCHANGE_STATE_H
#define SHOAL_WORKER_COMM_EXCHANGE_STATE_H

#include "worker/comm/exchange.h"

#include "base/arena.h"
#include "base/clock.h"
#include "kernels/experts/experts.h"

#define EXCHANGE_TAG_ROWS   (TRANSPORT_TAG_FREE + 0)
#define EXCHANGE_TAG_ROOTS  (TRANSPORT_TAG_FREE + 1)
#define EXCHANGE_TAG_LOGITS (TRANSPORT_TAG_FREE + 2)

/* Floats of logits that a rank leaves at a time for the leader of its node. */
#define EXCHANGE_LOGITS_PIECE (256u * 1024u)

/* Before the rows of one rank, in memory and in a message between nodes. */
struct exchange_header {
    uint64_t n_dispatches; /* of the sender so far: a rank that is out of step shows here */
    uint32_t n_rows;
    uint32_t row_bytes;
};

/* A row that travels: blocks, floats if they are wanted, ids, weights; whole words throughout. */
struct exchange_row {
    uint32_t x, ids, weights; /* offsets; the blocks are at 0 */
    uint32_t bytes;
};

/* Offsets in every rank's part of the window. */
struct exchange_places {
    uint64_t roots[2], columns[2], logits[2];
    uint64_t share;           /* the finished slice */
    uint64_t rows;            /* header and rows that this rank carries */
    uint64_t received;        /* [n_slots] header and rows from other nodes */
    uint64_t result_begin[2]; /* [rows of the node] first result of a row; uint32_t */
    uint64_t results[2];      /* roots of the experts' sums of own buckets, compact */
    uint64_t returned_begin;  /* [n_nodes][n_carried] first of a carried row; uint32_t */
    uint64_t returned;        /* [n_nodes] roots that came back for the rows carried, compact */
    uint64_t bytes;
};

/* Largest counts over all ranks, so that places are everywhere the same. */
struct exchange_limits {
    uint32_t n_sum_roots;     /* of one rank and sum, of parts of the plan */
    uint64_t n_root_rows;     /* rows of all roots of one rank and sum, however parts are owned */
    uint32_t n_rank_roots;    /* of one rank and row of experts */
    uint32_t n_node_roots;    /* of one node and row of experts */
    uint32_t n_carried;       /* rows of a carrier */
    uint32_t n_slots;         /* senders of other nodes to one rank */
    uint64_t n_column_floats; /* of one rank's columns */
    uint64_t message_bytes;   /* header and n_carried rows, in whole cache lines */
    uint64_t returned_bytes;  /* roots of n_carried rows, in whole cache lines */
    struct exchange_row row;
    struct exchange_places places;
};

/* Rows of the node that one rank carries or received from one sender. */
struct exchange_source {
    const unsigned char *message; /* header and rows */
    uint32_t row_begin;           /* number of its first row among those of the node */
    uint32_t n_rows;
};

struct exchange {
    struct exchange_options options;
    struct exchange_limits limits;
    const struct rank_share *own; /* of the plan */
    struct index_range node_ranks, group_ranks;
    uint32_t n_tp;         /* ranks of the attention group */
    unsigned char **parts; /* [ranks of the node] of the window */
    struct arena arena;

    /* Messages on their way: n_posted of each. */
    transport_request *requests;
    uint32_t *peers;
    uint64_t *expected; /* bytes to be received, 0 for a send; UINT64_MAX: any number */
    uint64_t *got;
    uint32_t n_posted;

    /* Which of two areas is next. */
    uint32_t roots_turn, columns_turn, logits_turn, results_turn;

    /* Experts. */
    uint8_t *bucket_of;                /* [n_experts] */
    uint16_t owner_of[EXPERT_BUCKETS]; /* rank */
    struct leaf_range *node_buckets;   /* [n_nodes] */
    uint32_t *senders;                 /* [n_senders] ranks that send to this one */
    uint32_t n_senders;                /* slots in use */
    struct exchange_source *sources;   /* [n_sources] in order of the node's rows */
    uint32_t n_sources;                /* ranks of the node + all their slots */
    uint32_t own_source_begin;         /* of this rank's slots */
    unsigned char *packed;             /* [n_nodes][message_bytes], alltoall */
    unsigned char *sent_roots;         /* [n_senders][returned_bytes] */
    uint32_t *sent_begin;              /* [n_carried] first root of each row of a sender */
    const unsigned char **work_rows;   /* [n_step_tokens] where they lie */
    float *work_x, *work_weights;      /* [n_step_tokens, ..] the rows of this rank's experts */
    struct act_block *work_blocks;
    uint32_t *work_ids;
    const uint32_t *home_ids; /* [n_home_rows, top_k] of the present layer */
    uint32_t n_home_rows;
    uint64_t n_dispatches;

    struct exchange_counts counts;
    uint64_t wait_ns_entered; /* counts.wait_ns at the last exchange_enter */
};

/* Who sends to a rank of another node: the ranks with the same place on theirs, modulo. Fills
 * `senders` unless it is NULL; returns how many. */
uint32_t exchange_senders(const struct shard_plan *plan, uint32_t rank, uint32_t *senders);
/* The rank of `node` to which `rank` sends. */
uint32_t exchange_gateway(const struct shard_plan *plan, uint32_t rank, uint32_t node);

enum status exchange_limits_init(struct exchange_limits *limits,
                                 const struct exchange_options *options, struct error *err);

/* Of a rank of this node. */
static inline void *exchange_place(const struct exchange *ex, uint32_t rank, uint64_t place) {
    return ex->parts[rank - ex->node_ranks.begin] + place;
}
static inline void *exchange_own_place(const struct exchange *ex, uint64_t place) {
    return exchange_place(ex, ex->options.group->rank_idx, place);
}

static inline bool exchange_is_replicated(const struct exchange *ex) {
    return ex->options.strategy == EXCHANGE_REPLICATED;
}

/* Begin and end of everything that talks to others: the phase for heartbeats and errors (which
 * stays after an error), the time, of which `total_ns` receives what was not waiting. */
uint64_t exchange_enter(struct exchange *ex);
enum status exchange_leave(struct exchange *ex, enum status status, uint64_t begin_ns,
                           uint64_t *total_ns);

/* Meetings of the attention group and of the node. */
enum status exchange_meet_group(struct exchange *ex, struct error *err);
enum status exchange_meet_node(struct exchange *ex, struct error *err);

/* Messages are posted and then waited for together; got[i] is of the i-th that was posted. Rows
 * come in any number that fits `bytes`, everything else in exactly so many. ERR_COMM: a message
 * was not as long as expected. */
enum status exchange_send(struct exchange *ex, uint32_t to, uint32_t tag, const void *data,
                          uint64_t bytes, struct error *err);
enum status exchange_receive(struct exchange *ex, uint32_t from, uint32_t tag, void *data,
                             uint64_t bytes, struct error *err);
enum status exchange_wait(struct exchange *ex, struct error *err);

/* The sum of roots that lie at the present turn of `roots`, into the rows of this rank's slice. */
void exchange_add_roots(struct exchange *ex, const struct exchange_sum_layout *layout,
                        uint32_t n_rows, float *out);

#endif
