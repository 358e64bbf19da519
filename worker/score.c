/* SPDX-License-Identifier: Apache-2.0 */
/* A small scheduler for offline work: round-robin chunks within the engine's token budget. */
#include "worker/score.h"

#include "base/arena.h"

#include <assert.h>
#include <xxhash.h>

struct scored { /* one request on its way */
    uint32_t seq;
    uint32_t n_read;    /* tokens of the prompt already in the engine */
    uint32_t n_written; /* greedy tokens found so far */
    bool open;
};

struct scorer {
    struct engine *engine;
    const struct score_options *options;
    struct score_request *requests;
    struct scored *states; /* [n_requests] */
    uint32_t n_requests;
    struct step_rows *rows;   /* [n_requests] of the present step */
    uint32_t *request_of_row; /* [n_requests] */
    uint32_t n_rows;
    int32_t *next_ids; /* [n_step_tokens], input of the MTP block */
};

static uint64_t hash_real(const struct score_options *o, const float *logits) {
    XXH3_state_t *state = XXH3_createState();
    assert(state);
    XXH3_64bits_reset(state);
    for (uint32_t begin = 0; begin < o->n_vocab;) {
        uint32_t end = begin;
        while (end < o->n_vocab && !(o->unused_ids && o->unused_ids[end]))
            end++;
        XXH3_64bits_update(state, logits + begin, (end - begin) * sizeof *logits);
        begin = end + 1;
    }
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* logits_sink of the trunk: `token_idx` counts within the rows of this step. */
static void take_logits(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits) {
    struct scorer *s = user;
    const struct score_options *o = s->options;
    uint32_t idx = s->request_of_row[rows_idx];
    struct scored *state = &s->states[idx];
    struct score_request *r = &s->requests[idx];
    uint32_t position = state->n_read + token_idx; /* of the row, while the prompt is read */
    bool in_prompt = state->n_read < r->n_ids;
    if (in_prompt && o->logits)
        o->logits(o->user, idx, position, logits);
    if (in_prompt && position + 1 < r->n_ids) {
        r->logprob_sum += logits[r->ids[position + 1]] - logits_log_sum_exp(logits, o->n_vocab);
        return;
    }
    if (in_prompt) {
        r->n_top_found = logits_top_k(logits, o->n_vocab, r->n_top, r->top);
        r->logits_hash = hash_real(o, logits);
    }
    if (state->n_written < r->n_greedy)
        r->greedy[state->n_written++] = logits_argmax(logits, o->n_vocab);
}

static void take_mtp_logits(void *user, uint32_t rows_idx, uint32_t token_idx,
                            const float *logits) {
    struct scorer *s = user;
    uint32_t idx = s->request_of_row[rows_idx];
    s->options->mtp_logits(s->options->user, idx, s->states[idx].n_read + token_idx, logits);
}

/* Chooses the rows of the next step; none: everything is done. */
static void plan_step(struct scorer *s) {
    uint32_t budget = engine_n_step_tokens(s->engine);
    s->n_rows = 0;
    for (uint32_t i = 0; i < s->n_requests && budget > 0; i++) {
        struct scored *state = &s->states[i];
        const struct score_request *r = &s->requests[i];
        struct step_rows rows = {.seq = state->seq};
        if (state->n_read < r->n_ids) {
            rows.tokens = r->ids + state->n_read;
            rows.n_tokens = r->n_ids - state->n_read;
            if (s->options->chunk_tokens && rows.n_tokens > s->options->chunk_tokens)
                rows.n_tokens = s->options->chunk_tokens;
            if (rows.n_tokens > budget)
                rows.n_tokens = budget;
            rows.n_outputs = rows.n_tokens;
        } else if (state->n_written > 0 && state->n_written < r->n_greedy) {
            rows.tokens = &r->greedy[state->n_written - 1];
            rows.n_tokens = rows.n_outputs = 1;
        } else {
            continue;
        }
        budget -= rows.n_tokens;
        s->request_of_row[s->n_rows] = i;
        s->rows[s->n_rows++] = rows;
    }
}

/* The MTP block over the prompt rows just run: each row's input is the token that follows it, for
 * the last one the trunk's best choice. */
static enum status run_mtp(struct scorer *s, struct error *err) {
    const struct score_request *r = &s->requests[0];
    uint32_t n_read = s->states[0].n_read;
    for (uint32_t t = 0; t < s->rows[0].n_tokens; t++) {
        uint32_t after = n_read + t + 1;
        s->next_ids[t] = after < r->n_ids ? r->ids[after] : r->top[0].id;
    }
    struct step_rows rows = s->rows[0];
    rows.tokens = s->next_ids;
    struct step step = {.rows = &rows,
                        .n_rows = 1,
                        .sink = take_mtp_logits,
                        .user = s,
                        .observer = s->options->observer};
    return engine_mtp_step(s->engine, &step, err);
}

static enum status run_steps(struct scorer *s, struct error *err) {
    for (;;) {
        plan_step(s);
        if (s->n_rows == 0)
            return OK;
        struct step step = {.rows = s->rows,
                            .n_rows = s->n_rows,
                            .sink = take_logits,
                            .user = s,
                            .observer = s->options->observer};
        TRY(engine_step(s->engine, &step, err));
        bool reads =
            s->states[s->request_of_row[0]].n_read < s->requests[s->request_of_row[0]].n_ids;
        if (s->options->with_mtp && reads)
            TRY(run_mtp(s, err));
        for (uint32_t i = 0; i < s->n_rows; i++)
            s->states[s->request_of_row[i]].n_read += s->rows[i].n_tokens;
    }
}

enum status score_run(struct engine *engine, const struct score_options *options,
                      struct score_request *requests, uint32_t n_requests, struct error *err) {
    struct arena arena = {0};
    struct scorer s = {
        .engine = engine, .options = options, .requests = requests, .n_requests = n_requests};
    enum status status = OK;
    assert(!options->with_mtp || (n_requests == 1 && requests[0].n_top > 0));
    s.states = arena_array(&arena, n_requests, sizeof *s.states);
    s.rows = arena_array(&arena, n_requests, sizeof *s.rows);
    s.request_of_row = arena_array(&arena, n_requests, sizeof *s.request_of_row);
    s.next_ids = arena_array(&arena, engine_n_step_tokens(engine), sizeof *s.next_ids);
    if (!s.states || !s.rows || !s.request_of_row || !s.next_ids) {
        status = error_set(err, ERR_NOMEM, "no memory to score %u texts", n_requests);
        goto done;
    }
    for (uint32_t i = 0; i < n_requests; i++) {
        struct score_request *r = &requests[i];
        assert(r->n_ids > 0 && r->n_top <= SCORE_TOP_MAX);
        r->logprob_sum = 0;
        r->n_top_found = 0;
        if ((uint64_t)r->n_ids + r->n_greedy > (uint64_t)engine_ctx_size(engine) + 1) {
            status = error_set(err, ERR_LIMIT, "ids: %u tokens and %u to come do not fit %u",
                               r->n_ids, r->n_greedy, engine_ctx_size(engine));
            goto done;
        }
        status = engine_seq_open(engine, &s.states[i].seq, err);
        if (status != OK)
            goto done;
        s.states[i].open = true;
    }
    status = run_steps(&s, err);
done:
    for (uint32_t i = 0; s.states && i < n_requests; i++) {
        if (s.states[i].open)
            engine_seq_close(engine, s.states[i].seq);
    }
    arena_free(&arena);
    return status;
}
