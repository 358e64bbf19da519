/* SPDX-License-Identifier: Apache-2.0 */
/* Log probabilities of raw logits, -infinity meaning "not in the vocabulary". */
#ifndef SHOAL_WORKER_SAMPLING_LOGPROBS_H
#define SHOAL_WORKER_SAMPLING_LOGPROBS_H

#include <stdint.h>

struct token_logprob {
    int32_t id;
    double logprob; /* natural */
};

/* log(sum exp(logits)), in double: 8 fixed parts of the rows, each summed in order, added by the
 * tree ((p0+p1)+(p2+p3)) + ((p4+p5)+(p6+p7)), so that ranks may own parts. */
double logits_log_sum_exp(const float *logits, uint32_t n);

/* The k largest (fewer if fewer are finite), sorted by (larger logit, lower id); returns how many.
 * O(n log k). */
uint32_t logits_top_k(const float *logits, uint32_t n, uint32_t k, struct token_logprob *out);

/* The id of the largest logit, the lowest one on ties. */
int32_t logits_argmax(const float *logits, uint32_t n);

#endif
