/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a batcher over the demonstration model of which it is known what they must get: their
 * tokens were computed alone, by a plain loop over an engine of its own. */
#ifndef SHOAL_TESTS_WORKER_SUPPORT_TALK_H
#define SHOAL_TESTS_WORKER_SUPPORT_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/worker/support_demo.h"
#include "worker/batcher.h"

#define N_KINDS   24
#define N_GROWING 12 /* the first of them: short questions, long answers */

/* Prompts of 1 to 640 tokens, answers of 1 to 112; a third of them greedy, a third drawn, a third
 * drawn with penalties. */
struct kind {
    int32_t *ids; /* [n_prompt + n_new] prompt and tokens */
    uint32_t n_prompt, n_new;
    struct sampler_params sampling;
};

void kinds_make(struct kind kinds[N_KINDS], const struct demo *demo);
void kinds_free(struct kind kinds[N_KINDS]);

/* One request on its way. */
struct talk {
    const struct kind *kind; /* NULL: nobody talks here */
    uint32_t seq;
    int32_t *ids;
    uint32_t n_heard, stops_after; /* tokens; 0: not by us */
    uint64_t deadline;             /* step by which the first token must come */
    bool ended;
    struct batcher_result result;
    struct error err; /* of the result */
};

/* Makes a talk and its request; begin also submits it. Its callbacks check that what they are told
 * is in order. */
struct batcher_request talk_prepare(struct talk *talk, const struct kind *kind);
void talk_begin(struct talk *talk, const struct kind *kind, struct batcher *batcher);
/* What was heard is what is heard alone. */
void talk_expect_same(const struct talk *talk);
void talk_end(struct talk *talk);

/* Contexts of 1024 tokens; n_kv_pages 0: all that they can need. */
struct engine *talk_engine(const struct demo *demo, uint32_t n_seqs, uint32_t n_kv_pages,
                           uint32_t n_step_tokens);
struct batcher *talk_batcher(const struct demo *demo, struct engine *engine, uint32_t n_seqs_max);
void talk_step(struct batcher *batcher);
void talk_expect_all_free(const struct engine *engine);

#endif
