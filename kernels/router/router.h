/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax over all experts, the k largest, renormalised.
 *
 *     p = softmax(logits);  chosen: the k largest p, ties to the lower index
 *     weight = p / (sum of the chosen p)
 *
 * which is a softmax over the chosen logits only, and is computed so, in double, rounded once.
 * `ids` come in rising order of expert id, because that is the order in which results are added.
 * A NaN counts as the smallest logit: ids are always top_k different experts. */
#ifndef SHOAL_KERNELS_ROUTER_ROUTER_H
#define SHOAL_KERNELS_ROUTER_ROUTER_H

#include "kernels/device/context.h"

#define ROUTER_TOP_K_MAX   32
#define ROUTER_EXPERTS_MAX 4096

struct router_args {
    uint32_t *ids;       /* [n_tokens, top_k] */
    float *weights;      /* [n_tokens, top_k] */
    const float *logits; /* [n_tokens, n_experts] */
    uint32_t n_tokens;
    uint32_t n_experts; /* at most ROUTER_EXPERTS_MAX */
    uint32_t top_k;     /* 1 .. n_experts, at most ROUTER_TOP_K_MAX */
};
typedef void router_fn(struct kernel_ctx *k, const struct router_args *a);
router_fn router_ref;

#endif
