/* SPDX-License-Identifier: Apache-2.0 */
/* What the leader tells the ranks of its group before each step: one small message.
 *
 *     head | changes [n_changes] | rows [n_rows] | ids [n_ids] of all rows, in order
 *
 * All ranks run one program on one kind of machine, so numbers travel as they lie in memory; still
 * everything is checked when it is read, for a rank must not trust another with its memory. */
#ifndef SHOAL_WORKER_STEP_PLAN_H
#define SHOAL_WORKER_STEP_PLAN_H

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum step_kind {
    STEP_RUN = 1, /* the trunk over the rows */
    STEP_MTP,     /* the multi-token block over the rows of the last step; ids follow them */
    STEP_PARK,    /* no step follows soon: wait outside of the group */
};

struct step_plan_head {
    uint32_t kind; /* enum step_kind */
    uint32_t n_changes, n_rows, n_ids;
};

/* A sequence that lost its tokens since the last step, and whether it is open now. */
struct step_plan_change {
    uint32_t seq, is_open;
};

struct step_plan_rows {
    uint32_t seq, n_tokens, n_outputs;
};

struct step_plan_limits {
    uint32_t n_seqs, n_step_tokens, n_vocab;
};

/* One message, to be filled in or just received; the arrays are views into it. */
struct step_plan {
    struct step_plan_limits limits;
    unsigned char *message;
    uint64_t capacity;
    struct step_plan_head *head;
    struct step_plan_change *changes; /* [limits.n_seqs] */
    struct step_plan_rows *rows;      /* [limits.n_seqs] */
    int32_t *ids;                     /* [limits.n_step_tokens] */
};

/* An empty message for the largest step. ERR_LIMIT: it would be larger than a broadcast may be;
 * ERR_NOMEM. */
enum status step_plan_init(struct step_plan *plan, const struct step_plan_limits *limits,
                           struct arena *arena, struct error *err);
/* Leader: room for these numbers; sets head and views. */
void step_plan_begin(struct step_plan *plan, const struct step_plan_head *head);
uint64_t step_plan_bytes(const struct step_plan *plan);
/* Other ranks: sets the views after `bytes` were received. ERR_COMM: it is no plan within the
 * limits. */
enum status step_plan_read(struct step_plan *plan, uint64_t bytes, struct error *err);

#endif
