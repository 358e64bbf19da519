/* SPDX-License-Identifier: Apache-2.0 */
/* What a step lets others see: its intermediate results, and what it read from memory. */
#ifndef SHOAL_WORKER_FORWARD_OBSERVE_H
#define SHOAL_WORKER_FORWARD_OBSERVE_H

#include <stdint.h>

/* One intermediate result, for dumps and comparisons with other implementations. */
struct tap_event {
    const char *name; /* "embedding", "layer 3 output", "final norm" */
    const float *x;   /* [n_tokens, d]; a view for the call only */
    uint32_t n_tokens, d;
};
typedef void activation_tap(void *user, const struct tap_event *event);

/* The experts that the router chose in one layer of one step. A hook may write: the experts then
 * compute what stands there (comparisons of two variants under one routing). */
struct routing_event {
    uint32_t layer; /* the MTP block counts as the layer after the last */
    uint32_t *ids;  /* [n_tokens, top_k], rising per token */
    float *weights; /* [n_tokens, top_k] */
    uint32_t n_tokens, top_k;
};
typedef void routing_hook(void *user, const struct routing_event *event);

struct observer {
    activation_tap *tap;   /* NULL: not wanted */
    routing_hook *routing; /* NULL: not wanted */
    void *user;            /* of both */
};

/* Bytes read by the steps so far on this rank, by purpose. Activations are not counted, they stay
 * in cache. */
struct traffic {
    uint64_t weight_bytes; /* each matrix once per step, experts if somebody chose them */
    uint64_t state_bytes;  /* recurrent states, read and written */
    uint64_t kv_bytes;     /* keys and values */
    uint64_t expert_rows;  /* not bytes: products of a token with an expert of this rank */
};

#endif
