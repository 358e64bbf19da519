/* SPDX-License-Identifier: Apache-2.0 */
/* Each stage shortens a list of candidates. Only what top-p and the draw need is sorted: with a
 * vocabulary of 248,320 a full sort would cost more than a small model's step. */
#include "worker/sampling/sampler.h"

#include "base/rng.h"
#include "worker/sampling/logprobs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ranges of the OpenAI interface and its usual extensions. */
static enum status check_range(const char *name, double value, double min, double max,
                               struct error *err) {
    if (!(value >= min && value <= max))
        return error_set(err, ERR_INPUT, "%s: %g is not in %g..%g", name, value, min, max);
    return OK;
}

enum status sampler_params_check(const struct sampler_params *p, uint32_t n_vocab,
                                 struct error *err) {
    TRY(check_range("temperature", p->temperature, 0, 100, err));
    TRY(check_range("top_p", p->top_p, 0, 1, err));
    TRY(check_range("min_p", p->min_p, 0, 1, err));
    TRY(check_range("repeat_penalty", p->repeat_penalty, 0.01, 100, err));
    TRY(check_range("presence_penalty", p->presence_penalty, -10, 10, err));
    TRY(check_range("frequency_penalty", p->frequency_penalty, -10, 10, err));
    if (p->n_bias > SAMPLER_BIASES_MAX)
        return error_set(err, ERR_LIMIT, "logit_bias: %u entries, at most %u are taken", p->n_bias,
                         SAMPLER_BIASES_MAX);
    for (uint32_t i = 0; i < p->n_bias; i++) {
        if (p->bias[i].id < 0 || (uint32_t)p->bias[i].id >= n_vocab)
            return error_set(err, ERR_INPUT, "logit_bias: token %d is outside the vocabulary of %u",
                             p->bias[i].id, n_vocab);
        if (isnan(p->bias[i].bias))
            return error_set(err, ERR_INPUT, "logit_bias: the bias of token %d is not a number",
                             p->bias[i].id);
    }
    return OK;
}

enum status sampler_init(struct sampler *s, const struct sampler_params *params, uint32_t n_vocab,
                         struct arena *arena, struct error *err) {
    TRY(sampler_params_check(params, n_vocab, err));
    *s = (struct sampler){.params = *params, .n_vocab = n_vocab};
    s->n_in_answer = arena_array(arena, n_vocab, sizeof *s->n_in_answer);
    s->in_prompt = arena_array(arena, n_vocab, sizeof *s->in_prompt);
    s->candidates = arena_array(arena, n_vocab, sizeof *s->candidates);
    s->adjusted = arena_array(arena, n_vocab, sizeof *s->adjusted);
    if (!s->n_in_answer || !s->in_prompt || !s->candidates || !s->adjusted)
        return error_set(err, ERR_NOMEM, "no memory to sample from %u tokens", n_vocab);
    return OK;
}

void sampler_reset(struct sampler *s, const struct sampler_params *params) {
    s->params = *params;
    memset(s->n_in_answer, 0, s->n_vocab * sizeof *s->n_in_answer);
    memset(s->in_prompt, 0, s->n_vocab * sizeof *s->in_prompt);
}

void sampler_saw_prompt(struct sampler *s, const int32_t *ids, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        s->in_prompt[ids[i]] = 1;
}

void sampler_accept(struct sampler *s, int32_t id) {
    s->n_in_answer[id]++;
}

void sampler_forget(struct sampler *s, const int32_t *ids, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        s->n_in_answer[ids[i]] = 0;
        s->in_prompt[ids[i]] = 0;
    }
}

/* Penalties and biases; the copy is what later stages read. */
static void adjust(struct sampler *s, const float *logits) {
    const struct sampler_params *p = &s->params;
    memcpy(s->adjusted, logits, s->n_vocab * sizeof *logits);
    bool penalties = sampler_penalises(p);
    for (uint32_t id = 0; penalties && id < s->n_vocab; id++) {
        uint32_t n = s->n_in_answer[id];
        float x = s->adjusted[id];
        if (n > 0 || s->in_prompt[id])
            x = x > 0 ? x / p->repeat_penalty : x * p->repeat_penalty;
        if (n > 0)
            x -= p->presence_penalty + (float)n * p->frequency_penalty;
        s->adjusted[id] = x;
    }
    for (uint32_t i = 0; i < p->n_bias; i++)
        s->adjusted[p->bias[i].id] += p->bias[i].bias;
}

/* qsort has no user argument in C17; the array to compare by travels with glibc's qsort_r. */
static int compare(const void *a, const void *b, void *logits) {
    const float *l = logits;
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (l[i] != l[j])
        return l[i] > l[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

/* All ids whose adjusted logit is at least `limit`, sorted. */
static uint32_t collect_sorted(struct sampler *s, float limit) {
    uint32_t n = 0;
    for (uint32_t id = 0; id < s->n_vocab; id++) {
        if (s->adjusted[id] >= limit && s->adjusted[id] > -INFINITY)
            s->candidates[n++] = (int32_t)id;
    }
    qsort_r(s->candidates, n, sizeof *s->candidates, compare, s->adjusted);
    return n;
}

/* The k best, sorted: a window below the maximum that is widened until it holds enough. */
static uint32_t collect_top_k(struct sampler *s, uint32_t k, float max) {
    for (float width = 4.0f; width < 1024.0f; width *= 4.0f) {
        uint32_t n = collect_sorted(s, max - width);
        if (n >= k)
            return k;
    }
    uint32_t n = collect_sorted(s, -INFINITY);
    return n < k ? n : k;
}

/* The smallest sorted prefix that holds `share` of all probability (every candidate counts). */
static uint32_t collect_top_p(struct sampler *s, double share, float max, double temperature) {
    double total = 0;
    for (uint32_t id = 0; id < s->n_vocab; id++)
        total += exp((s->adjusted[id] - (double)max) / temperature);
    for (double width = 4.0;; width *= 4.0) {
        bool everything = width >= 4096.0;
        uint32_t n = collect_sorted(s, everything ? -INFINITY : (float)(max - width * temperature));
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            sum += exp((s->adjusted[s->candidates[i]] - (double)max) / temperature);
            if (sum >= share * total)
                return i + 1;
        }
        if (everything)
            return n;
    }
}

/* Cuts a sorted list of n candidates to the prefix that holds `share` of its probability. */
static uint32_t cut_top_p(const struct sampler *s, uint32_t n, double share, double temperature) {
    double max = s->adjusted[s->candidates[0]], total = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        total += exp((s->adjusted[s->candidates[i]] - max) / temperature);
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((s->adjusted[s->candidates[i]] - max) / temperature);
        if (sum >= share * total)
            return i + 1;
    }
    return n;
}

int32_t sampler_pick(struct sampler *s, const float *logits, uint64_t position) {
    const struct sampler_params *p = &s->params;
    adjust(s, logits);
    int32_t best = logits_argmax(s->adjusted, s->n_vocab);
    double temperature = p->temperature;
    float max = s->adjusted[best];
    if (temperature == 0 || p->top_k == 1 || isinf(max))
        return best;

    uint32_t n;
    if (p->top_k > 0) {
        n = collect_top_k(s, p->top_k < s->n_vocab ? p->top_k : s->n_vocab, max);
        if (p->top_p < 1.0f)
            n = cut_top_p(s, n, p->top_p, temperature);
    } else if (p->top_p < 1.0f) {
        n = collect_top_p(s, p->top_p, max, temperature);
    } else {
        /* Below this a candidate's share is 0 in double: e^-746 has no double. */
        n = collect_sorted(s, (float)(max - 746.0 * temperature));
    }
    double total = 0, keep = p->min_p;
    uint32_t n_kept = 0;
    for (; n_kept < n; n_kept++) {
        double share = exp((s->adjusted[s->candidates[n_kept]] - (double)max) / temperature);
        if (share < keep && n_kept > 0)
            break;
        total += share;
    }
    uint64_t key = rng_mix(p->seed) ^ p->choice;
    double draw = rng_double(key, position) * total, sum = 0;
    for (uint32_t i = 0; i < n_kept; i++) {
        sum += exp((s->adjusted[s->candidates[i]] - (double)max) / temperature);
        if (draw < sum)
            return s->candidates[i];
    }
    return s->candidates[n_kept - 1];
}
