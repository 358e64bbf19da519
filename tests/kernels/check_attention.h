/* SPDX-License-Identifier: Apache-2.0 */
/* Attention runs over several sequences with scattered pages: the same tokens in steps of any
 * size. Pages are filled with NaN first, so that whoever reads a position that was not written,
 * or of another sequence, is found. */
#ifndef SHOAL_TESTS_KERNELS_CHECK_ATTENTION_H
#define SHOAL_TESTS_KERNELS_CHECK_ATTENTION_H

#include "tests/kernels/support_kernels.h"

/* Sequence s has n_tokens - 3 * s tokens, so that they end in different steps. */
struct attention_case {
    uint32_t n_heads, n_kv_heads, d_head;
    enum dtype dtype;
    bool gated;
    uint32_t n_sequences, n_tokens;
    float size; /* of queries and keys; values and gates are of size 1 */
    /* The query heads that a rank holds, with the KV heads that they read; both 0: all. Inputs are
     * those of the same heads of the whole. */
    uint32_t own_begin, own_end;
};

uint32_t attention_case_heads(const struct attention_case *c); /* that it holds */
size_t attention_case_floats(const struct attention_case *c);  /* of the result */

/* The outputs [own heads, d_head] of all tokens, sequence after sequence; every step takes `chunk`
 * tokens of each. */
float *attention_case_run(const struct attention_case *c, const struct kernels *kernels,
                          struct kernel_ctx *k, uint32_t chunk, struct arena *arena);

/* The output of the last token alone, after the keys and values of all tokens of the one sequence
 * were appended. */
float *attention_case_decode(const struct attention_case *c, const struct kernels *kernels,
                             struct kernel_ctx *k, struct arena *arena);

#endif
