/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products of any type and shape: the cases, a run by a variant, and the sums that
 * matmul.h promises of the fast variants in plain steps. */
#ifndef SHOAL_TESTS_KERNELS_CHECK_MATMUL_H
#define SHOAL_TESTS_KERNELS_CHECK_MATMUL_H

#include "tensor/tree.h"
#include "tests/kernels/support_kernels.h"
#include "tests/kernels/support_weights.h"

enum split_kind {
    SPLIT_WHOLE, /* one part */
    SPLIT_RUNS,  /* 8 parts of runs of 256: an FFN width, attention heads */
    SPLIT_DELTA, /* 8 parts of d_in / 256 units of twice 128 columns: a delta net */
};

struct matmul_case {
    enum dtype dtype;
    uint32_t d_out, d_in, n_tokens;
    enum split_kind split;
};

struct matmul_data {
    struct matrix w;
    struct activation x; /* blocks by definition, whoever runs */
    struct ksplit split;
};

/* Random weights and activations of the case; a failure fails the test. */
struct matmul_data matmul_case_data(const struct matmul_case *c, struct arena *arena);

struct ksplit split_of(enum split_kind kind, uint32_t d_in, enum dtype dtype, struct arena *arena);

/* The parts of `own` only, as a rank has them; views into `split`. */
struct ksplit split_parts(const struct ksplit *split, struct leaf_range own);

/* y [n_tokens, d_out] by a variant. */
float *matmul_data_run(const struct matmul_data *data, const struct kernels *kernels,
                       struct kernel_ctx *k, struct arena *arena);

/* y [n_tokens, d_out] of the fast variants by definition. */
float *matmul_data_define(const struct matmul_data *data, struct arena *arena);

#endif
