/* SPDX-License-Identifier: Apache-2.0 */
/* The largest logit does not depend on the order of looking; the sum of exponentials does, and so
 * has fixed parts. */
#include "worker/sampling/logprobs.h"

#include <math.h>

#define PARTS 8

int32_t logits_argmax(const float *logits, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > logits[best])
            best = i;
    }
    return (int32_t)best;
}

double logits_log_sum_exp(const float *logits, uint32_t n) {
    double max = logits[logits_argmax(logits, n)];
    double sum[PARTS];
    for (uint32_t p = 0; p < PARTS; p++) {
        uint32_t begin = (uint32_t)((uint64_t)n * p / PARTS);
        uint32_t end = (uint32_t)((uint64_t)n * (p + 1) / PARTS);
        sum[p] = 0;
        for (uint32_t i = begin; i < end; i++)
            sum[p] += exp(logits[i] - max);
    }
    double total =
        ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    return max + log(total);
}

/* Whether a comes before b: larger logit, then lower id. */
static int before(const float *logits, int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* Restores "the worst is at the root" below i. */
static void sift_down(const float *logits, struct token_logprob *heap, uint32_t n, uint32_t i) {
    for (;;) {
        uint32_t worst = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++) {
            if (before(logits, heap[worst].id, heap[child].id))
                worst = child;
        }
        if (worst == i)
            return;
        struct token_logprob swap = heap[i];
        heap[i] = heap[worst];
        heap[worst] = swap;
        i = worst;
    }
}

uint32_t logits_top_k(const float *logits, uint32_t n, uint32_t k, struct token_logprob *out) {
    double log_sum = logits_log_sum_exp(logits, n);
    uint32_t n_out = 0;
    for (uint32_t id = 0; id < n && k > 0; id++) {
        if (!(logits[id] > -INFINITY))
            continue;
        if (n_out < k) {
            out[n_out++].id = (int32_t)id;
            for (uint32_t i = n_out / 2; n_out == k && i-- > 0;)
                sift_down(logits, out, n_out, i);
        } else if (before(logits, (int32_t)id, out[0].id)) {
            out[0].id = (int32_t)id;
            sift_down(logits, out, n_out, 0);
        }
    }
    /* Heap sort: the worst goes to the end. */
    for (uint32_t i = n_out / 2; i-- > 0;)
        sift_down(logits, out, n_out, i);
    for (uint32_t end = n_out; end > 1; end--) {
        struct token_logprob swap = out[0];
        out[0] = out[end - 1];
        out[end - 1] = swap;
        sift_down(logits, out, end - 1, 0);
    }
    for (uint32_t i = 0; i < n_out; i++)
        out[i].logprob = logits[out[i].id] - log_sum;
    return n_out;
}
