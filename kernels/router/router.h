/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax over all experts, the k largest, renormalised.
 *
 *     p = softmax(logits);  chosen = k largest p, ties to the lower index;  weight = p / sum chosen p
 * which is a softmax over the chosen logits only, and is computed so. `ids` come in rising order
 * of expert id, because that is the order in which results are added. */
#ifndef SHOAL_KERNELS_ROUTER_ROUTER_H
#define SHOAL_KERNELS_ROUTER_ROUTER_H

#include "kernels/device/context.h"

#define ROUTER_TOP_K_MAX   32
#define ROUTER_EXPERTS_MAX 4096

struct router_args {
    uint32_t *ids;       /* [n_tokens, top_k] */
    float *weights;      /* [n_tokens, top_k] */
    const float *logits; /* [n_tokens, n_experts] */
    uint32_t n_tokens, n_experts, top_k; /* top_k <= n_experts, ROUTER_TOP_K_MAX */
};
typedef void router_fn(struct kernel_ctx *k, const struct router_args *a);
router_fn router_ref;

#endif
