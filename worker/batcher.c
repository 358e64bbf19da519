/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule counts, the engine computes; here are the tokens. One sampler serves all sequences
 * in turn: its tables are as long as the vocabulary, so that one per sequence would take more
 * memory than the sequences' own. */
#include "worker/batcher.h"

#include "base/arena.h"

#include <assert.h>
#include <stdlib.h>

struct live {
    struct batcher_request request;
    uint32_t n_new;
    uint32_t engine_seq;
    bool placed; /* engine_seq is open */
};

struct batcher {
    struct batcher_options options;
    struct arena arena;
    struct schedule schedule;
    struct sampler sampler;
    struct live *lives;      /* [n_seqs_max] by the schedule's numbers */
    struct step_rows *rows;  /* [all slots] of the present step */
    int32_t *drawn;          /* [all slots] likewise, of rows with output */
    enum schedule_end *ends; /* [all slots] likewise */
};

static enum status open_parts(struct batcher *b, struct error *err) {
    const struct batcher_options *o = &b->options;
    uint32_t n_groups = engine_n_groups(o->engine);
    uint64_t n_slots = 0;
    struct schedule_group *groups = arena_array(&b->arena, n_groups, sizeof *groups);
    if (!groups)
        return error_set(err, ERR_NOMEM, "no memory for %u attention groups", n_groups);
    for (uint32_t g = 0; g < n_groups; g++) {
        struct engine_room room = engine_room(o->engine, g);
        assert(room.n_seqs_free == room.n_seqs);
        groups[g] = (struct schedule_group){.n_slots = room.n_seqs,
                                            .n_slots_free = room.n_seqs,
                                            .n_pages = room.n_pages,
                                            .n_pages_free = room.n_pages};
        n_slots += room.n_seqs;
    }
    struct schedule_options schedule = {.groups = groups,
                                        .n_groups = n_groups,
                                        .page_tokens = groups[0].n_pages ? ENGINE_PAGE_TOKENS : 0,
                                        .ctx_size = engine_ctx_size(o->engine),
                                        .n_step_tokens = engine_n_step_tokens(o->engine),
                                        .n_prompt_tokens = o->n_prompt_tokens,
                                        .n_seqs_max = o->n_seqs_max};
    struct sampler_params greedy = {.top_p = 1, .repeat_penalty = 1};
    TRY(schedule_init(&b->schedule, &schedule, &b->arena, err));
    TRY(sampler_init(&b->sampler, &greedy, o->n_vocab, &b->arena, err));
    b->lives = arena_array(&b->arena, o->n_seqs_max, sizeof *b->lives);
    b->rows = arena_array(&b->arena, n_slots, sizeof *b->rows);
    b->drawn = arena_array(&b->arena, n_slots, sizeof *b->drawn);
    b->ends = arena_array(&b->arena, n_slots, sizeof *b->ends);
    if (!b->lives || !b->rows || !b->drawn || !b->ends)
        return error_set(err, ERR_NOMEM, "no memory for %u requests", o->n_seqs_max);
    return OK;
}

enum status batcher_open(struct batcher **out, const struct batcher_options *options,
                         struct error *err) {
    struct batcher *b = calloc(1, sizeof *b);
    if (!b)
        return error_set(err, ERR_NOMEM, "no memory for the batcher");
    b->options = *options;
    enum status status = open_parts(b, err);
    if (status != OK) {
        batcher_close(b);
        return status;
    }
    *out = b;
    return OK;
}

void batcher_close(struct batcher *b) {
    if (!b)
        return;
    for (uint32_t i = 0; b->lives && i < b->options.n_seqs_max; i++) {
        if (b->lives[i].placed)
            engine_seq_close(b->options.engine, b->lives[i].engine_seq);
    }
    arena_free(&b->arena);
    free(b);
}

static enum status check_request(const struct batcher *b, const struct batcher_request *r,
                                 struct error *err) {
    if (r->n_stop_ids > BATCHER_STOP_IDS_MAX)
        return error_set(err, ERR_LIMIT, "%u stop tokens, at most %u are taken", r->n_stop_ids,
                         BATCHER_STOP_IDS_MAX);
    for (uint32_t i = 0; i < r->n_prompt; i++) {
        if (r->ids[i] < 0 || (uint32_t)r->ids[i] >= b->options.n_vocab)
            return error_set(err, ERR_INPUT,
                             "prompt: token %d at %u is outside the vocabulary of %u", r->ids[i], i,
                             b->options.n_vocab);
    }
    return sampler_params_check(&r->sampling, b->options.n_vocab, err);
}

enum status batcher_submit(struct batcher *b, const struct batcher_request *request, uint32_t *seq,
                           struct error *err) {
    TRY(check_request(b, request, err));
    TRY(schedule_submit(&b->schedule, request->n_prompt, request->n_new_max, seq, err));
    b->lives[*seq] = (struct live){.request = *request};
    return OK;
}

static void displace(struct batcher *b, struct live *live) {
    if (live->placed)
        engine_seq_close(b->options.engine, live->engine_seq);
    live->placed = false;
}

void batcher_cancel(struct batcher *b, uint32_t seq) {
    schedule_cancel(&b->schedule, seq);
    displace(b, &b->lives[seq]);
}

static void draw(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits) {
    (void)token_idx;
    struct batcher *b = user;
    const struct live *live = &b->lives[b->schedule.step.rows[rows_idx].seq];
    const struct batcher_request *r = &live->request;
    uint32_t n_tokens = r->n_prompt + live->n_new;
    bool penalises = sampler_penalises(&r->sampling);
    b->sampler.params = r->sampling;
    if (penalises) {
        sampler_saw_prompt(&b->sampler, r->ids, r->n_prompt);
        for (uint32_t i = r->n_prompt; i < n_tokens; i++)
            sampler_accept(&b->sampler, r->ids[i]);
    }
    b->drawn[rows_idx] = sampler_pick(&b->sampler, logits, n_tokens);
    if (penalises)
        sampler_forget(&b->sampler, r->ids, n_tokens);
}

static bool is_stop(const struct batcher_request *r, int32_t id) {
    for (uint32_t i = 0; i < r->n_stop_ids; i++) {
        if (r->stop_ids[i] == id)
            return true;
    }
    return false;
}

static enum schedule_end take_token(struct live *live, int32_t id) {
    const struct batcher_request *r = &live->request;
    if (is_stop(r, id))
        return SEQ_STOPPED;
    r->ids[r->n_prompt + live->n_new++] = id;
    return r->on_token && !r->on_token(r->user, id) ? SEQ_STOPPED : SEQ_GOES_ON;
}

/* Puts the sequences of the step where the schedule has them, and their tokens into rows. */
static void place_rows(struct batcher *b, const struct schedule_step *step) {
    for (uint32_t i = 0; i < step->n_preempted; i++)
        displace(b, &b->lives[step->preempted[i]]);
    for (uint32_t i = 0; i < step->n_admitted; i++) {
        struct live *live = &b->lives[step->admitted[i]];
        uint32_t group = b->schedule.seqs[step->admitted[i]].group;
        enum status status = engine_seq_open_in(b->options.engine, group, &live->engine_seq, NULL);
        assert(status == OK); /* the schedule counts what the engine has, and is its only user */
        live->placed = status == OK;
    }
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct schedule_row *row = &step->rows[i];
        const struct live *live = &b->lives[row->seq];
        b->rows[i] = (struct step_rows){.seq = live->engine_seq,
                                        .tokens = live->request.ids + row->begin,
                                        .n_tokens = row->n_tokens,
                                        .n_outputs = row->output};
        b->ends[i] = SEQ_GOES_ON;
    }
}

static void end_request(struct batcher *b, uint32_t seq, struct batcher_result result) {
    struct live *live = &b->lives[seq];
    displace(b, live);
    result.n_new = live->n_new;
    live->request.on_end(live->request.user, &result);
}

/* The group is lost, or the engine refused what must be right: nobody can be served. */
static void fail_all(struct batcher *b, const struct error *err) {
    struct schedule *s = &b->schedule;
    while (s->n_running + s->n_waiting > 0) {
        uint32_t seq = s->n_running > 0 ? s->running[0] : s->waiting[0];
        schedule_cancel(s, seq);
        end_request(b, seq, (struct batcher_result){.why = SEQ_FAILED, .stop_id = -1, .err = err});
    }
}

enum status batcher_step(struct batcher *b, struct error *err) {
    const struct schedule_step *plan = schedule_plan(&b->schedule);
    struct error own;
    if (plan->n_rows == 0)
        return OK;
    place_rows(b, plan);
    struct step step = {.rows = b->rows, .n_rows = plan->n_rows, .sink = draw, .user = b};
    enum status status = engine_step(b->options.engine, &step, &own);
    for (uint32_t i = 0; i < plan->n_rows; i++) {
        if (status != OK)
            b->ends[i] = SEQ_FAILED;
        else if (plan->rows[i].output)
            b->ends[i] = take_token(&b->lives[plan->rows[i].seq], b->drawn[i]);
    }
    schedule_done(&b->schedule, b->ends);
    for (uint32_t i = 0; i < plan->n_rows; i++) {
        const struct batcher_request *r = &b->lives[plan->rows[i].seq].request;
        bool by_token = b->ends[i] == SEQ_STOPPED && is_stop(r, b->drawn[i]);
        if (b->ends[i] != SEQ_GOES_ON)
            end_request(b, plan->rows[i].seq,
                        (struct batcher_result){.why = b->ends[i],
                                                .stop_id = by_token ? b->drawn[i] : -1,
                                                .err = status != OK ? &own : NULL});
    }
    if (status == OK || status == ERR_DEVICE)
        return OK;
    fail_all(b, &own);
    if (err)
        *err = own;
    return status;
}

const struct schedule *batcher_schedule(const struct batcher *b) {
    return &b->schedule;
}
