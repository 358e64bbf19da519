/* SPDX-License-Identifier: Apache-2.0 */
/* Many requests through one engine: continuous batching at work.
 *
 *     submit ... submit -> step -> on_token, on_token, ... on_end -> submit, cancel -> step ...
 *
 * Each step runs what the schedule chose (worker/schedule/schedule.h), draws a token for every
 * sequence that has come to its end of known tokens, and tells the requests' owners. The tokens of
 * a request are those it would get alone, whatever runs beside it, and also when it was preempted:
 * logits do not depend on company, and a draw only on the seed and the position.
 *
 * All sequences of the engine belong to the batcher while it is open. Owned by the engine thread;
 * in a group, by the leader's: the other ranks just follow its engine. */
#ifndef SHOAL_WORKER_BATCHER_H
#define SHOAL_WORKER_BATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "worker/engine.h"
#include "worker/sampling/sampler.h"
#include "worker/schedule/schedule.h"

#define BATCHER_STOP_IDS_MAX 64

struct batcher; /* opaque */

struct batcher_options {
    struct engine *engine;    /* borrowed, outlives the batcher; no sequence of it is open */
    uint32_t n_vocab;         /* of its model */
    uint32_t n_seqs_max;      /* waiting and running, as of schedule_options */
    uint32_t n_prompt_tokens; /* likewise */
};

/* How a request ended. */
struct batcher_result {
    enum schedule_end why;
    uint32_t n_new;          /* tokens behind the prompt, without the stop token */
    int32_t stop_id;         /* the stop token that was drawn; -1: none */
    const struct error *err; /* SEQ_FAILED: a view for the call; else NULL */
};

/* Called within batcher_step, and must not call the batcher. */
typedef bool batcher_on_token(void *user, int32_t id); /* false: the sequence stops behind it */
typedef void batcher_on_end(void *user, const struct batcher_result *result);

struct batcher_request {
    int32_t *ids;                   /* [n_prompt + n_new_max]: the prompt; what is drawn is written
                                       behind it. The caller's, who keeps it until the end */
    uint32_t n_prompt, n_new_max;   /* at least 1 */
    struct sampler_params sampling; /* its biases live until the end */
    const int32_t *stop_ids;        /* [n_stop_ids] likewise; drawing one ends the sequence */
    uint32_t n_stop_ids;
    batcher_on_token *on_token; /* may be NULL */
    batcher_on_end *on_end;
    void *user;
};

/* ERR_LIMIT: more sequences in the engine than tokens in its steps, or n_seqs_max out of range;
 * ERR_NOMEM. */
enum status batcher_open(struct batcher **out, const struct batcher_options *options,
                         struct error *err);
/* NULL is fine. Sequences that live are closed, and nobody is told. */
void batcher_close(struct batcher *batcher);

/* *seq names the request until on_end was called or it was cancelled. ERR_INPUT, ERR_LIMIT: what is
 * wrong with it, or the queue is full. */
enum status batcher_submit(struct batcher *batcher, const struct batcher_request *request,
                           uint32_t *seq, struct error *err);

/* The request is forgotten and what it held is free; on_end is not called. */
void batcher_cancel(struct batcher *batcher, uint32_t seq);

/* One step, or nothing if there is no request. If the network gave no numbers (ERR_DEVICE) the
 * requests of the step end with that error and the others go on, which is OK; after any other error
 * of the engine, which is returned, all requests have ended with it. */
enum status batcher_step(struct batcher *batcher, struct error *err);

/* Lists and counters, for metrics and tests; n_waiting + n_running is 0 when nothing is to do. */
const struct schedule *batcher_schedule(const struct batcher *batcher);

#endif
