/* SPDX-License-Identifier: Apache-2.0 */
/* One variant serves all: the exponentials are taken in double and a choice of experts has only
 * one right answer. Tokens are divided among the threads. */
#include "kernels/router/router.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

/* Whether a logit goes before another that has a lower index: NaN counts as the smallest, so that
 * a broken token still gets top_k different experts (and NaN weights, which show it). */
static bool goes_before(float logit, float earlier) {
    return logit > earlier || (isnan(earlier) && !isnan(logit));
}

/* The k largest of n logits, best first, into `best`. */
static void choose(uint32_t *best, const float *logits, uint32_t n, uint32_t top_k) {
    uint32_t n_best = 0;
    for (uint32_t e = 0; e < n; e++) {
        uint32_t at = n_best;
        while (at > 0 && goes_before(logits[e], logits[best[at - 1]]))
            at--;
        if (at == top_k)
            continue;
        if (n_best < top_k)
            n_best++;
        for (uint32_t i = n_best - 1; i > at; i--)
            best[i] = best[i - 1];
        best[at] = e;
    }
}

static void sort_rising(uint32_t *ids, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) {
        uint32_t id = ids[i], at = i;
        for (; at > 0 && ids[at - 1] > id; at--)
            ids[at] = ids[at - 1];
        ids[at] = id;
    }
}

static void route_token(const struct router_args *a, uint32_t token) {
    const float *logits = a->logits + (uint64_t)token * a->n_experts;
    uint32_t *ids = a->ids + (uint64_t)token * a->top_k;
    float *weights = a->weights + (uint64_t)token * a->top_k;
    double p[ROUTER_TOP_K_MAX];
    choose(ids, logits, a->n_experts, a->top_k);
    double largest = (double)logits[ids[0]];
    sort_rising(ids, a->top_k);
    double sum = 0;
    for (uint32_t i = 0; i < a->top_k; i++) {
        p[i] = exp((double)logits[ids[i]] - largest);
        sum += p[i];
    }
    for (uint32_t i = 0; i < a->top_k; i++)
        weights[i] = (float)(p[i] / sum);
}

static void router_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct router_args *a = arg;
    uint64_t begin, end;
    thread_range(a->n_tokens, thread_idx, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++)
        route_token(a, (uint32_t)t);
}

void router_ref(struct kernel_ctx *k, const struct router_args *a) {
    assert(a->top_k >= 1 && a->top_k <= ROUTER_TOP_K_MAX && a->top_k <= a->n_experts);
    struct router_args args = *a;
    if (a->n_tokens == 1)
        router_task(&args, 0, 1);
    else
        thread_pool_run(k->pool, router_task, &args);
}
