/* SPDX-License-Identifier: Apache-2.0 */
/* How likely texts are to the model: log probabilities, best next tokens, greedy continuations.
 *
 * Several sequences go through the engine together: each step takes a chunk of every one that
 * still reads its prompt, and one token of every one that already writes. What comes out for a
 * sequence does not depend on the others. Engine thread only. */
#ifndef SHOAL_WORKER_SCORE_H
#define SHOAL_WORKER_SCORE_H

#include <stdint.h>

#include "base/error.h"
#include "worker/engine.h"
#include "worker/sampling/logprobs.h"

#define SCORE_TOP_MAX 1000u

struct score_request {
    const int32_t *ids; /* [n_ids], at least one */
    uint32_t n_ids;
    uint32_t n_top;    /* of the last position; at most SCORE_TOP_MAX */
    uint32_t n_greedy; /* tokens to continue with; end tokens do not stop it */
    /* results, in memory of the caller: */
    double logprob_sum;        /* of ids 1..n_ids-1, each given those before it */
    struct token_logprob *top; /* [n_top] */
    uint32_t n_top_found;
    uint64_t logits_hash; /* XXH3-64 of the last position's logits, real vocabulary, as stored */
    int32_t *greedy;      /* [n_greedy] */
};

/* Sees every row of logits of the prompts, in order per request (for dumps and KL). May be NULL. */
typedef void score_logits_sink(void *user, uint32_t request_idx, uint32_t token_idx,
                               const float *logits);

struct score_options {
    const uint8_t *unused_ids; /* [n_vocab] as given to the engine */
    uint32_t n_vocab;
    uint32_t chunk_tokens; /* of one sequence's prompt in a step; 0: as many as fit */
    score_logits_sink *logits;
    void *user;                      /* of logits and mtp_logits */
    const struct observer *observer; /* of every step; NULL: none */
    int with_mtp; /* also run the MTP block over the prompt of a single request with n_top
                     of 1 or more; its logits go to mtp_logits */
    score_logits_sink *mtp_logits;
};

/* At most as many requests as the engine has free sequences. ERR_LIMIT: a request does not fit the
 * context; others as engine_step. On error no result is valid. */
enum status score_run(struct engine *engine, const struct score_options *options,
                      struct score_request *requests, uint32_t n_requests, struct error *err);

#endif
