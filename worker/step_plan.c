/* SPDX-License-Identifier: Apache-2.0 */
/* All numbers are of 32 bits, so that one part after the other is aligned. */
#include "worker/step_plan.h"

#include "worker/comm/group.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>

static uint64_t bytes_of(const struct step_plan_head *head) {
    return sizeof *head + head->n_changes * (uint64_t)sizeof(struct step_plan_change) +
           head->n_rows * (uint64_t)sizeof(struct step_plan_rows) +
           head->n_ids * (uint64_t)sizeof(int32_t);
}

static void set_views(struct step_plan *plan) {
    plan->head = (struct step_plan_head *)(void *)plan->message;
    plan->changes = (struct step_plan_change *)(void *)(plan->head + 1);
    plan->rows = (struct step_plan_rows *)(void *)(plan->changes + plan->head->n_changes);
    plan->ids = (int32_t *)(void *)(plan->rows + plan->head->n_rows);
}

enum status step_plan_init(struct step_plan *plan, const struct step_plan_limits *limits,
                           struct arena *arena, struct error *err) {
    const struct step_plan_head largest = {
        .n_changes = limits->n_seqs, .n_rows = limits->n_seqs, .n_ids = limits->n_step_tokens};
    *plan = (struct step_plan){.limits = *limits, .capacity = bytes_of(&largest)};
    if (plan->capacity > GROUP_BROADCAST_MAX)
        return error_set(err, ERR_LIMIT,
                         "%u sequences and %u tokens in a step make a plan of %" PRIu64
                         " bytes; a group can tell %u",
                         limits->n_seqs, limits->n_step_tokens, plan->capacity,
                         GROUP_BROADCAST_MAX);
    plan->message = arena_alloc(arena, plan->capacity);
    if (!plan->message)
        return error_set(err, ERR_NOMEM, "no memory for the plan of a step");
    set_views(plan);
    return OK;
}

void step_plan_begin(struct step_plan *plan, const struct step_plan_head *head) {
    assert(bytes_of(head) <= plan->capacity);
    *plan->head = *head;
    set_views(plan);
}

uint64_t step_plan_bytes(const struct step_plan *plan) {
    return bytes_of(plan->head);
}

static enum status bad_plan(struct error *err, const char *what) {
    return error_set(err, ERR_COMM, "the leader's plan of a step is damaged: %s", what);
}

static enum status check_rows(const struct step_plan *plan, struct error *err) {
    uint64_t n_tokens = 0;
    for (uint32_t i = 0; i < plan->head->n_rows; i++) {
        const struct step_plan_rows *rows = &plan->rows[i];
        if (rows->seq >= plan->limits.n_seqs || rows->n_tokens == 0 ||
            rows->n_outputs > rows->n_tokens)
            return bad_plan(err, "rows of a sequence");
        n_tokens += rows->n_tokens;
    }
    if (n_tokens != plan->head->n_ids)
        return bad_plan(err, "number of tokens");
    for (uint32_t i = 0; i < plan->head->n_ids; i++) {
        if (plan->ids[i] < 0 || (uint32_t)plan->ids[i] >= plan->limits.n_vocab)
            return bad_plan(err, "token");
    }
    return OK;
}

enum status step_plan_read(struct step_plan *plan, uint64_t bytes, struct error *err) {
    const struct step_plan_limits *limits = &plan->limits;
    if (bytes < sizeof *plan->head)
        return bad_plan(err, "length");
    const struct step_plan_head *head = (const struct step_plan_head *)(void *)plan->message;
    bool within = head->kind >= STEP_RUN && head->kind <= STEP_PARK &&
                  head->n_changes <= limits->n_seqs && head->n_rows <= limits->n_seqs &&
                  head->n_ids <= limits->n_step_tokens;
    if (!within)
        return bad_plan(err, "counts");
    if (bytes != bytes_of(head))
        return bad_plan(err, "length");
    set_views(plan);
    for (uint32_t i = 0; i < head->n_changes; i++) {
        if (plan->changes[i].seq >= limits->n_seqs)
            return bad_plan(err, "sequence");
    }
    return check_rows(plan, err);
}
