/* SPDX-License-Identifier: Apache-2.0 */
/* Which tokens run in the next step: continuous batching as plain arithmetic over counts.
 *
 *     submit -> waiting --admitted--> running --done--> forgotten
 *                  ^                    |
 *                  +---- preempted -----+             cancel: from either, between two steps
 *
 * A step takes, in this order: one row of every sequence that has a single token to run (decode);
 * then the first waiting sequences, as slots and pages allow; then chunks of all prompts, which
 * share what is left of the step evenly. What always holds:
 *
 *  1. Waiting and running sequences stand in order of arrival, and only the first of those that
 *     wait is admitted: nobody is overtaken.
 *  2. A running sequence owns the pages of all tokens it knows; a prompt gets them on admission. So
 *     only a decode row can lack a page, and pages in use never exceed the pool.
 *  3. A group without a page for a decode row takes those of its youngest sequence, which waits
 *     again, at its place in the order of arrival, with its tokens so far as its prompt. The oldest
 *     of all is never preempted: what could outgrow an empty group is not let into it.
 *  4. Slots are at most as many as a step's tokens, and the oldest prompt gets a token before
 *     others do. With 3: the oldest sequence moves on in every step, so everybody's turn comes.
 *
 * Each attention group owns its slots and pages; a sequence lives in one of them until it ends or
 * is preempted. Nothing is allocated after init. A plan costs 0.5 us with 64 sequences and 25 us
 * with 4096 (one core of a Xeon server), so it is made when the results of the last step are known
 * and not ahead of them, when it could only guess who stops. One owner: the leader's engine
 * thread. */
#ifndef SHOAL_WORKER_SCHEDULE_SCHEDULE_H
#define SHOAL_WORKER_SCHEDULE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

#define SCHEDULE_GROUPS_MAX 1024
#define SCHEDULE_SEQS_MAX   65536 /* waiting and running */

/* What an attention group has, and what of it is free. */
struct schedule_group {
    uint32_t n_slots, n_slots_free;
    uint32_t n_pages, n_pages_free;
};

struct schedule_options {
    const struct schedule_group *groups; /* [n_groups], everything free */
    uint32_t n_groups;                   /* 1..SCHEDULE_GROUPS_MAX */
    uint32_t page_tokens;                /* of a page; 0: sequences need no pages */
    uint32_t ctx_size;                   /* tokens of a sequence at most */
    uint32_t n_step_tokens;              /* of all rows of a step; at least all slots */
    uint32_t n_prompt_tokens;            /* of prompts in a step in which others decode, so that
                                            these do not wait for long; 0: all that is left */
    uint32_t n_seqs_max;                 /* waiting and running; 1..SCHEDULE_SEQS_MAX */
};

enum schedule_state {
    SEQ_FREE,
    SEQ_WAITING,
    SEQ_RUNNING,
};

struct schedule_seq {
    enum schedule_state state;
    uint64_t arrival;      /* number in the order of submits */
    uint32_t n_tokens;     /* known: prompt and produced */
    uint32_t n_done;       /* of them in the caches of its group */
    uint32_t n_tokens_max; /* it ends with so many; the last of them is never run */
    uint32_t group;        /* while running */
    uint32_t n_pages;      /* it owns */
    bool in_step;          /* has a row in the present step */
    uint64_t waits_since;  /* step */
};

/* Tokens begin .. begin + n_tokens - 1 of a sequence. */
struct schedule_row {
    uint32_t seq;
    uint32_t begin, n_tokens;
    bool output; /* they end with the last known token: the next one is to be drawn */
};

/* First take the preempted out of their groups, then put the admitted into theirs, then run. */
struct schedule_step {
    const struct schedule_row *rows; /* decode rows first; none: nothing is to be done */
    uint32_t n_rows;
    const uint32_t *preempted, *admitted; /* sequences */
    uint32_t n_preempted, n_admitted;
};

enum schedule_end {
    SEQ_GOES_ON,
    SEQ_STOPPED, /* the caller's decision: a stop token, say */
    SEQ_LENGTH,  /* it has as many tokens as it was allowed, or as fit */
    SEQ_FAILED,  /* the step went wrong; it may have any row */
};

/* Since init. */
struct schedule_counts {
    uint64_t n_submitted, n_finished, n_cancelled, n_preempted;
    uint64_t n_steps;
    uint64_t n_decode_tokens, n_prompt_tokens; /* rows run */
    uint64_t n_lost_tokens;  /* had been run and are run again after a preemption */
    uint64_t wait_steps_max; /* of a sequence at a stretch */
};

struct schedule {
    struct schedule_options options;
    struct schedule_group *groups; /* [n_groups] */
    struct schedule_seq *seqs;     /* [n_seqs_max] */
    uint32_t *free_seqs;           /* [n_seqs_max] a stack */
    uint32_t n_free_seqs;
    uint32_t *waiting, *running; /* [n_seqs_max], [all slots] in order of arrival */
    uint32_t n_waiting, n_running;
    struct schedule_row *rows;      /* [all slots] of the present step */
    uint32_t *preempted, *admitted; /* [all slots] likewise */
    struct schedule_step step;
    bool planned; /* between plan and done */
    struct schedule_counts counts;
};

/* Memory comes from the arena. ERR_LIMIT, ERR_INPUT: an option out of range; ERR_NOMEM. */
enum status schedule_init(struct schedule *s, const struct schedule_options *options,
                          struct arena *arena, struct error *err);

/* A sequence with a prompt of n_prompt tokens, which ends after n_new_max more or when the context
 * or the pool of pages is full. *seq is its number until it ends or is cancelled. ERR_INPUT: no
 * prompt, or nothing to produce; ERR_LIMIT: the prompt can never run, or n_seqs_max are here. */
enum status schedule_submit(struct schedule *s, uint32_t n_prompt, uint32_t n_new_max,
                            uint32_t *seq, struct error *err);

/* Forgets a sequence, waiting or running. Not between plan and done. */
void schedule_cancel(struct schedule *s, uint32_t seq);

/* The next step; a view until the next plan. If it has rows, schedule_done must follow. */
const struct schedule_step *schedule_plan(struct schedule *s);

/* The step was run. ends[i] tells whether the sequence of row i stops here; where it goes on but
 * may not become longer it is set to SEQ_LENGTH. Those that ended are forgotten. */
void schedule_done(struct schedule *s, enum schedule_end *ends);

#endif
