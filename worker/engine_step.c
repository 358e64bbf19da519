/* SPDX-License-Identifier: Apache-2.0 */
/* A step: check everything, tell the other ranks, take pages, run the trunk, hand out logits. After
 * the checks a step cannot fail but by NaN or the loss of a rank. */
#include "base/clock.h"
#include "base/size.h"
#include "worker/engine_state.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

/* Everything that can be wrong with a step, before anything is touched. */
static enum status check_step(struct engine *e, const struct step *step, struct error *err) {
    uint64_t n_tokens = 0;
    e->step_counter++;
    for (uint32_t g = 0; g < e->n_groups; g++)
        e->use[g].n_pages_wanted = 0;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        assert(rows->seq < engine_n_seqs(e) && e->seqs[rows->seq].open && rows->n_tokens > 0 &&
               rows->n_outputs <= rows->n_tokens);
        struct sequence *s = &e->seqs[rows->seq];
        assert(s->step_mark != e->step_counter);
        s->step_mark = e->step_counter;
        n_tokens += rows->n_tokens;
        if ((uint64_t)s->n_tokens + rows->n_tokens > e->options.ctx_size)
            return error_set(err, ERR_LIMIT,
                             "the context is full: %u tokens are there, %u more do not fit %u",
                             s->n_tokens, rows->n_tokens, e->options.ctx_size);
        e->use[seq_group(e, rows->seq)].n_pages_wanted +=
            (uint32_t)div_up(s->n_tokens + rows->n_tokens, KV_PAGE_TOKENS) - s->n_pages;
        for (uint32_t t = 0; t < rows->n_tokens; t++) {
            if (rows->tokens[t] < 0 || (uint32_t)rows->tokens[t] >= e->options.hp->n_vocab)
                return error_set(err, ERR_INPUT,
                                 "token %" PRId32 " is outside the vocabulary of %u",
                                 rows->tokens[t], e->options.hp->n_vocab);
        }
    }
    if (n_tokens == 0 || n_tokens > e->options.n_step_tokens)
        return error_set(err, ERR_LIMIT, "%" PRIu64 " tokens in a step; 1 to %u are possible",
                         n_tokens, e->options.n_step_tokens);
    for (uint32_t g = 0; g < e->n_groups && e->memory.n_kv_pages > 0; g++) {
        const struct group_use *use = &e->use[g];
        uint32_t n_free = e->memory.n_kv_pages - use->n_pages;
        if (use->n_pages_wanted > n_free)
            return error_set(err, ERR_LIMIT,
                             "the step needs %u more pages of %u tokens, %u of %u are free",
                             use->n_pages_wanted, KV_PAGE_TOKENS, n_free, e->memory.n_kv_pages);
    }
    return OK;
}

static bool is_own(const struct engine *e, const struct step_rows *rows) {
    return seq_group(e, rows->seq) == e->own_group;
}

/* Token ids of own rows in order, into the place the plan gives them. */
static int32_t *gather_ids(struct engine *e, const struct step *step) {
    int32_t *ids = (int32_t *)(void *)(e->forward.memory + e->forward.plan.ids);
    uint32_t row = 0;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        if (!is_own(e, &step->rows[i]))
            continue;
        for (uint32_t t = 0; t < step->rows[i].n_tokens; t++)
            ids[row++] = step->rows[i].tokens[t];
    }
    return ids;
}

/* Pages for the new tokens: check_step has found them free. */
static void take_pages(struct engine *e, struct sequence *s, struct group_use *use) {
    while (s->n_pages * KV_PAGE_TOKENS < s->n_tokens && e->memory.n_kv_pages > 0) {
        if (s->pages)
            s->pages[s->n_pages] = kv_cache_acquire(&e->kv);
        s->n_pages++;
        use->n_pages++;
    }
}

static void place_rows(struct engine *e, const struct step *step) {
    uint32_t row = 0;
    e->n_in_step = 0;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        struct sequence *s = &e->seqs[rows->seq];
        e->row_begin[i] = row;
        if (is_own(e, rows)) {
            e->in_step[e->n_in_step++] = (struct forward_seq){.slot = rows->seq % e->seqs_each,
                                                              .pages = s->pages,
                                                              .row_begin = row,
                                                              .n_rows = rows->n_tokens,
                                                              .pos_begin = s->n_tokens};
            row += rows->n_tokens;
        }
        s->n_tokens += rows->n_tokens;
        take_pages(e, s, &e->use[seq_group(e, rows->seq)]);
    }
    e->n_step_rows = row;
}

static bool all_finite(const float *x, size_t n) {
    /* An exponent of all ones is NaN or infinity; one pass, no branches. */
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= !isfinite(x[i]);
    return bad == 0;
}

static enum status not_finite(const struct engine *e, const struct step_rows *rows,
                              struct error *err) {
    return error_set(err, ERR_DEVICE,
                     "sequence %u, positions up to %u: the network gave NaN or infinity", rows->seq,
                     e->seqs[rows->seq].n_tokens - 1);
}

/* The states that logits are made of, and at least the last of each sequence, are numbers. */
static enum status check_states(const struct engine *e, const struct step *step,
                                const float *states, struct error *err) {
    uint32_t d = e->options.hp->d_model;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        uint32_t n = rows->n_outputs > 0 ? rows->n_outputs : 1;
        uint32_t first = e->row_begin[i] + rows->n_tokens - n;
        if (!all_finite(states + (size_t)first * d, (size_t)n * d))
            return not_finite(e, rows, err);
    }
    return OK;
}

/* One row of logits, [n_vocab], to who wants them. */
static void hand_out_row(struct engine *e, const struct step *step, const struct output *output,
                         float *row) {
    for (uint32_t id = 0; e->options.unused_ids && id < e->options.hp->n_vocab; id++) {
        if (e->options.unused_ids[id])
            row[id] = -INFINITY;
    }
    step->sink(step->user, output->rows_idx, output->token_idx, row);
}

/* The leader's: rows of logits lie group by group, in each in the order of `outputs`. */
static enum status hand_out_logits(struct engine *e, const struct step *step, uint32_t n,
                                   float *logits, struct error *err) {
    uint32_t n_vocab = e->options.hp->n_vocab;
    for (uint32_t g = 0; g < e->n_groups; g++) {
        for (uint32_t i = 0; i < n; i++) {
            const struct output *output = &e->outputs[i];
            if (output->group != g)
                continue;
            if (engine_in_group(e) && !all_finite(logits, n_vocab))
                return not_finite(e, &step->rows[output->rows_idx], err);
            hand_out_row(e, step, output, logits);
            logits += n_vocab;
        }
    }
    return OK;
}

/* The head over the first n rows of `outputs`: each attention group makes the logits of its own
 * rows, and the leader gets all. `failed` becomes the first error of the leader's own: the ranks go
 * through the step together to its end. */
static enum status hand_out_rows(struct engine *e, const struct step *step, const float *states,
                                 uint32_t n, enum status *failed, struct error *err) {
    uint32_t n_own = 0;
    float *logits = NULL;
    for (uint32_t g = 0; g < e->n_groups; g++)
        e->group_outputs[g] = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct output *output = &e->outputs[i];
        e->group_outputs[output->group]++;
        if (output->group == e->own_group)
            e->output_rows[n_own++] = e->row_begin[output->rows_idx] + output->token_idx;
    }
    if (n_own > 0)
        TRY(forward_head(&e->forward, states, e->output_rows, n_own, &logits, err));
    if (e->n_groups > 1) {
        float *all = forward_floats(&e->forward, e->forward.plan.all_logits);
        TRY(exchange_logits(e->exchange,
                            &(struct exchange_logits_args){.own = logits,
                                                           .n_rows = e->group_outputs,
                                                           .n_columns = e->options.hp->n_vocab,
                                                           .out = all},
                            err));
        logits = all;
    }
    if (*failed == OK && engine_is_leader(e))
        *failed = hand_out_logits(e, step, n, logits, err);
    return OK;
}

/* Logits of the wanted rows to the sink, a few at a time and those of several sequences together:
 * the head is the largest matrix of a step and is read once for all of them. */
static enum status hand_out(struct engine *e, const struct step *step, const float *states,
                            enum status *failed, struct error *err) {
    uint32_t n = 0;
    if (!engine_in_group(e))
        TRY(check_states(e, step, states, err));
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        for (uint32_t t = rows->n_tokens - rows->n_outputs; t < rows->n_tokens; t++) {
            e->outputs[n++] =
                (struct output){.rows_idx = i, .token_idx = t, .group = seq_group(e, rows->seq)};
            if (n == e->options.n_logit_rows) {
                TRY(hand_out_rows(e, step, states, n, failed, err));
                n = 0;
            }
        }
    }
    if (n > 0)
        TRY(hand_out_rows(e, step, states, n, failed, err));
    return OK;
}

/* ---- the group ---- */

/* Tells the other ranks what comes, and what became of the sequences since. */
static enum status announce(struct engine *e, enum step_kind kind, const struct step *step,
                            struct error *err) {
    struct step_plan *plan = &e->plan;
    struct step_plan_head head = {.kind = kind, .n_rows = step->n_rows};
    uint32_t n_changes = 0, n_ids = 0;
    for (uint32_t i = 0; i < engine_n_seqs(e); i++)
        head.n_changes += e->seqs[i].changed;
    for (uint32_t i = 0; i < step->n_rows; i++)
        head.n_ids += step->rows[i].n_tokens;
    step_plan_begin(plan, &head);
    for (uint32_t i = 0; i < engine_n_seqs(e); i++) {
        struct sequence *s = &e->seqs[i];
        if (s->changed)
            plan->changes[n_changes++] = (struct step_plan_change){.seq = i, .is_open = s->open};
        s->changed = false;
    }
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        plan->rows[i] = (struct step_plan_rows){rows->seq, rows->n_tokens, rows->n_outputs};
        for (uint32_t t = 0; t < rows->n_tokens; t++)
            plan->ids[n_ids++] = rows->tokens[t];
    }
    if (e->is_parked && e->options.resume)
        TRY(e->options.resume(e->options.resume_user, err));
    e->is_parked = false;
    uint64_t bytes = step_plan_bytes(plan);
    return group_broadcast(e->options.group, plan->message, plan->capacity, &bytes, err);
}

static enum status gather_reports(struct engine *e, struct error *err) {
    struct engine_rank_report own = {.traffic = e->forward.traffic,
                                     .exchange = exchange_counts(e->exchange),
                                     .run_ns = e->run_ns};
    return group_all_gather(e->options.group, &own, sizeof own, e->reports, err);
}

enum status engine_park(struct engine *e, struct error *err) {
    if (!engine_in_group(e) || e->is_parked)
        return OK;
    TRY(announce(e, STEP_PARK, &(struct step){.n_rows = 0}, err));
    e->is_parked = true;
    return gather_reports(e, err);
}

static enum status run_trunk(struct engine *e, enum step_kind kind, const struct step *step,
                             enum status *failed, struct error *err) {
    const int32_t *ids = gather_ids(e, step);
    e->forward.observer = step->observer;
    if (kind == STEP_MTP) {
        TRY(forward_run_mtp(&e->forward, ids, err));
        return hand_out(e, step, forward_mtp_out(&e->forward), failed, err);
    }
    place_rows(e, step);
    TRY(forward_run(&e->forward, e->in_step, e->n_in_step, ids, err));
    return hand_out(e, step, forward_final(&e->forward), failed, err);
}

static enum status run(struct engine *e, enum step_kind kind, const struct step *step,
                       struct error *err) {
    uint64_t begin_ns = clock_ns();
    struct group *group = e->options.group;
    if (group)
        group_begin_step(group);
    enum status failed = OK;
    enum status status = run_trunk(e, kind, step, &failed, err);
    e->run_ns += clock_ns() - begin_ns;
    if (!group)
        return status ? status : failed;
    if (status == OK) {
        group_set_phase(group, PHASE_IDLE, 0);
        return failed;
    }
    /* The phase stays, to be told: this rank has left a step that the others are in. */
    if (err && status != ERR_CANCELLED)
        err->status = ERR_COMM;
    return status != ERR_CANCELLED ? ERR_COMM : status;
}

/* The step of a plan: views into it. */
static enum status read_step(struct engine *e, struct step *step, struct error *err) {
    const struct step_plan *plan = &e->plan;
    const int32_t *ids = plan->ids;
    for (uint32_t i = 0; i < plan->head->n_changes; i++)
        engine_seq_reset(e, plan->changes[i].seq, plan->changes[i].is_open);
    for (uint32_t i = 0; i < plan->head->n_rows; i++) {
        const struct step_plan_rows *rows = &plan->rows[i];
        if (!e->seqs[rows->seq].open)
            return error_set(err, ERR_COMM, "the leader's step has sequence %u, which is not open",
                             rows->seq);
        e->plan_rows[i] = (struct step_rows){.seq = rows->seq,
                                             .tokens = ids,
                                             .n_tokens = rows->n_tokens,
                                             .n_outputs = rows->n_outputs};
        ids += rows->n_tokens;
    }
    *step = (struct step){.rows = e->plan_rows, .n_rows = plan->head->n_rows};
    return OK;
}

enum status engine_follow(struct engine *e, struct error *err) {
    struct step_plan *plan = &e->plan;
    assert(!engine_is_leader(e));
    for (;;) {
        struct step step;
        uint64_t bytes;
        TRY(group_broadcast(e->options.group, plan->message, plan->capacity, &bytes, err));
        TRY(step_plan_read(plan, bytes, err));
        TRY(read_step(e, &step, err));
        if (plan->head->kind == STEP_PARK)
            return gather_reports(e, err);
        if (plan->head->kind == STEP_RUN)
            TRY(check_step(e, &step, err));
        TRY(run(e, plan->head->kind, &step, err));
    }
}

/* ---- the leader's ---- */

enum status engine_step(struct engine *e, const struct step *step, struct error *err) {
    TRY(check_step(e, step, err));
    if (engine_in_group(e))
        TRY(announce(e, STEP_RUN, step, err));
    return run(e, STEP_RUN, step, err);
}

enum status engine_mtp_step(struct engine *e, const struct step *step, struct error *err) {
    if (!e->forward.mtp)
        return error_set(err, ERR_UNSUPPORTED, "the multi-token block is not loaded");
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        for (uint32_t t = 0; t < rows->n_tokens; t++) {
            if (rows->tokens[t] < 0 || (uint32_t)rows->tokens[t] >= e->options.hp->n_vocab)
                return error_set(err, ERR_INPUT,
                                 "token %" PRId32 " is outside the vocabulary of %u",
                                 rows->tokens[t], e->options.hp->n_vocab);
        }
    }
    if (engine_in_group(e))
        TRY(announce(e, STEP_MTP, step, err));
    return run(e, STEP_MTP, step, err);
}
