/* SPDX-License-Identifier: Apache-2.0 */
/* A layer of experts: the cases, a run by a variant, and the same result put together from the
 * variant's single operations, one token and one expert at a time. */
#ifndef SHOAL_TESTS_KERNELS_CHECK_EXPERTS_H
#define SHOAL_TESTS_KERNELS_CHECK_EXPERTS_H

#include "tests/kernels/check_matmul.h"

enum routing {
    ROUTING_RANDOM,
    ROUTING_SAME,       /* every token chooses the same experts */
    ROUTING_NEIGHBOURS, /* experts that follow each other, so that they share buckets */
};

struct experts_case {
    enum dtype dtype, down_dtype;
    uint32_t n_experts, top_k, n_tokens, d_model, d_ff;
    enum routing routing;
};

/* A layer, or one rank's share of it. */
struct experts_data {
    struct expert_matrices gate, up, down;
    struct activation x;
    struct ksplit whole, down_split;
    uint32_t *ids;  /* [n_tokens, top_k] */
    float *weights; /* [n_tokens, top_k] */
    uint32_t top_k;
    uint32_t n_experts_all, first_expert;
    struct leaf_range buckets;
    const struct matmul_args *beside;
    uint32_t n_beside;
};

struct experts_data experts_case_data(const struct experts_case *c, struct arena *arena);

/* The same tokens before the experts of some buckets only; borrows from `data`. */
struct experts_data experts_data_share(const struct experts_data *data, struct leaf_range buckets);

/* The call of the operation, its result and scratch in the arena. */
struct experts_args experts_data_args(const struct experts_data *data, struct arena *arena);

/* What a row of y has that no root belongs to. */
#define EXPERTS_UNTOUCHED -7.0f

/* Rows of y that a call may fill at most. */
static inline size_t experts_data_rows(const struct experts_data *data) {
    return (size_t)data->x.n_tokens * data->top_k;
}

/* y [rows, d_model] by a variant. */
float *experts_data_run(const struct experts_data *data, const struct kernels *kernels,
                        struct kernel_ctx *k, struct arena *arena);

/* y [rows, d_model] from the variant's matmul, swiglu and activation_quantise, combined by walking
 * the tree of buckets from its root; `leaves`, if given, receives the first bucket of each row's
 * subtree, [rows], and n_rows [n_tokens] how many rows a token has. */
float *experts_data_compose(const struct experts_data *data, const struct kernels *kernels,
                            struct kernel_ctx *k, uint32_t *leaves, uint32_t *n_rows,
                            struct arena *arena);

#endif
