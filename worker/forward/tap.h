/* SPDX-License-Identifier: Apache-2.0 */
/* An intermediate result of a step, for dumps and comparisons with other implementations. */
#ifndef SHOAL_WORKER_FORWARD_TAP_H
#define SHOAL_WORKER_FORWARD_TAP_H

#include <stdint.h>

struct tap_event {
    const char *name; /* "embedding", "layer 3 output", "final norm" */
    const float *x;   /* [n_tokens, d]; a view for the call only */
    uint32_t n_tokens, d;
};
typedef void activation_tap(void *user, const struct tap_event *event);

#endif
