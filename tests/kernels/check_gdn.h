/* SPDX-License-Identifier: Apache-2.0 */
/* Delta net runs over several sequences: the same tokens in steps of any size. */
#ifndef SHOAL_TESTS_KERNELS_CHECK_GDN_H
#define SHOAL_TESTS_KERNELS_CHECK_GDN_H

#include "tests/kernels/support_kernels.h"

/* Sequence s has n_tokens - s tokens, so that they end in different steps. */
struct gdn_case {
    uint32_t n_k_heads, n_v_heads, d_k, d_v;
    enum gdn_head_order order;
    uint32_t n_sequences, n_tokens;
    float size;       /* of the inputs */
    float state_size; /* of the states before the first token */
};

/* Everything that comes out, sequence after sequence. */
struct gdn_result {
    float *conv_out;   /* [all tokens, conv_dim] */
    float *step_out;   /* [all tokens, n_v_heads, d_v] */
    float *conv_state; /* [n_sequences, 3, conv_dim] */
    float *state;      /* [n_sequences, n_v_heads, d_k * d_v in strips] */
    size_t n_conv_out, n_step_out, n_conv_state, n_state;
};

uint32_t gdn_case_conv_dim(const struct gdn_case *c);

/* Convolution and step over all sequences side by side, `chunk` tokens of each per step. */
struct gdn_result gdn_case_run(const struct gdn_case *c, const struct kernels *kernels,
                               struct kernel_ctx *k, uint32_t chunk, struct arena *arena);

bool gdn_results_same(const struct gdn_result *a, const struct gdn_result *b);

#endif
