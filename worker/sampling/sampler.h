/* SPDX-License-Identifier: Apache-2.0 */
/* From logits to a token.
 *
 * Order: penalties, logit bias, temperature, top-k, top-p, min-p, draw. The draw is a pure
 * function of (seed, choice, position), so a replay of a sequence makes the same choices. All
 * arithmetic is double over candidates sorted by (larger logit, lower id): no dependence on the
 * batch or on threads. One sampler belongs to one sequence at a time. */
#ifndef SHOAL_WORKER_SAMPLING_SAMPLER_H
#define SHOAL_WORKER_SAMPLING_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

#define SAMPLER_BIASES_MAX   1024
#define SAMPLER_LOGPROBS_MAX 64

struct logit_bias {
    int32_t id;
    float bias;
};

struct sampler_params {
    float temperature;       /* 0: greedy */
    uint32_t top_k;          /* 0: off */
    float top_p;             /* 1: off */
    float min_p;             /* 0: off */
    float repeat_penalty;    /* 1: off; divides positive and multiplies negative logits of every
                                token of the prompt and of the answer (Keskar et al. 2019) */
    float presence_penalty;  /* subtracted once per distinct token of the answer */
    float frequency_penalty; /* subtracted once per occurrence in the answer */
    uint64_t seed;
    uint32_t choice;               /* which of several answers to one request */
    const struct logit_bias *bias; /* borrowed, outlives the sampler */
    uint32_t n_bias;
};

/* Every field within its range? ERR_INPUT names the field, what was found and what is allowed. */
enum status sampler_params_check(const struct sampler_params *params, uint32_t n_vocab,
                                 struct error *err);

/* Does a pick depend on the tokens before it? */
static inline bool sampler_penalises(const struct sampler_params *params) {
    return params->repeat_penalty != 1.0f || params->presence_penalty != 0.0f ||
           params->frequency_penalty != 0.0f;
}

struct sampler {
    struct sampler_params params;
    uint32_t n_vocab;
    uint32_t *n_in_answer; /* [n_vocab] occurrences among accepted tokens */
    uint8_t *in_prompt;    /* [n_vocab] */
    int32_t *candidates;   /* [n_vocab] scratch */
    float *adjusted;       /* [n_vocab] scratch */
};

/* Memory comes from the arena. ERR_NOMEM, ERR_INPUT. */
enum status sampler_init(struct sampler *s, const struct sampler_params *params, uint32_t n_vocab,
                         struct arena *arena, struct error *err);

/* Forgets prompt and answer; new parameters (checked by the caller). */
void sampler_reset(struct sampler *s, const struct sampler_params *params);

/* Tokens of the prompt count for repeat_penalty; tokens of the answer for all penalties. */
void sampler_saw_prompt(struct sampler *s, const int32_t *ids, uint32_t n);
void sampler_accept(struct sampler *s, int32_t id);
/* Forgets all that was said of these tokens: a sampler that serves many sequences in turn is told a
 * sequence's tokens and forgets them again, at their cost and not that of the vocabulary. */
void sampler_forget(struct sampler *s, const int32_t *ids, uint32_t n);

/* The token for `position` (number of tokens before it in the sequence). Logits of -infinity are
 * never chosen. */
int32_t sampler_pick(struct sampler *s, const float *logits, uint64_t position);

#endif
