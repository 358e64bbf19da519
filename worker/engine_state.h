/* SPDX-License-Identifier: Apache-2.0 */
/* The engine as its own files see it. */
#ifndef SHOAL_WORKER_ENGINE_STATE_H
#define SHOAL_WORKER_ENGINE_STATE_H

#include "base/arena.h"
#include "worker/engine.h"
#include "worker/forward/forward.h"
#include "worker/step_plan.h"

/* Every rank counts the tokens and pages of all sequences; keys, values and states are only in the
 * ranks of the sequence's attention group. Sequence s belongs to group s / seqs_each and has there
 * slot s % seqs_each. */
struct sequence {
    bool open;
    bool changed; /* opened, closed or cleared since the last step */
    uint32_t n_tokens;
    uint32_t *pages; /* [ctx_size / KV_PAGE_TOKENS]; NULL: of another group */
    uint32_t n_pages;
    uint32_t step_mark; /* the last step it stood in: finds duplicates */
};

/* A row of logits: token `token_idx` of `rows[rows_idx]` of the step. */
struct output {
    uint32_t rows_idx, token_idx;
    uint32_t group;
};

/* What an attention group's sequences have taken. */
struct group_use {
    uint32_t n_open, n_pages;
    uint32_t n_pages_wanted; /* by the step that is checked */
};

struct engine {
    struct engine_options options; /* with the defaults filled in */
    uint32_t n_groups, own_group;  /* attention groups; 1, 0 alone */
    uint32_t seqs_each;            /* sequences of one */
    struct arena arena;
    struct memory_plan memory;
    struct thread_pool *pool;
    struct kernel_ctx ctx;
    struct kernels kernels;
    struct kv_cache kv;
    struct state_cache states;
    void *activations;
    size_t activations_bytes;
    struct forward forward;
    struct weights_load weights; /* empty if the kernels read the file */
    struct sequence *seqs;       /* [n_groups * seqs_each] */
    struct group_use *use;       /* [n_groups] */
    struct forward_seq *in_step; /* [seqs_each] own rows of the last step */
    uint32_t n_in_step, n_step_rows;
    uint32_t *row_begin;     /* [n_groups * seqs_each] first own row of rows[i] of the last step */
    uint32_t *output_rows;   /* [n_logit_rows] of the step, to be turned into logits */
    struct output *outputs;  /* [n_logit_rows] whose they are */
    uint32_t *group_outputs; /* [n_groups] how many of them are a group's */
    uint32_t step_counter;
    uint64_t run_ns;                    /* in steps */
    struct engine_rank_report *reports; /* [ranks] as of the last park */

    /* in a group */
    struct exchange *exchange;
    struct step_plan plan;       /* of the present step */
    struct step_rows *plan_rows; /* [n_groups * seqs_each] views of it */
    bool is_parked;              /* the other ranks do not wait for a plan */
};

static inline bool engine_in_group(const struct engine *e) {
    return e->options.group != NULL;
}
static inline bool engine_is_leader(const struct engine *e) {
    return !e->options.group || e->options.group->rank_idx == 0;
}
static inline uint32_t engine_n_seqs(const struct engine *e) {
    return e->n_groups * e->seqs_each;
}
static inline uint32_t seq_group(const struct engine *e, uint32_t seq) {
    return seq / e->seqs_each;
}

/* Makes a sequence empty, and open or not; its state is cleared if it is open here. */
void engine_seq_reset(struct engine *e, uint32_t seq, bool open);

#endif
