/* SPDX-License-Identifier: Apache-2.0 */
/* Gated DeltaNet: a recurrent mixer with a fixed state per sequence.
 * Source: Yang, Kautz, Hatamizadeh 2024, arXiv:2412.06464.
 *
 * Three operations per layer, each over all tokens of the step in the order of their sequences,
 * and gdn_mix, which is all three and quantises the result:
 *
 *   gdn_conv   c_t[ch] = silu( sum_j w[ch][j] u_{t-3+j}[ch] )           j = 0..3
 *              u = the projection before convolution; the 3 columns before the first token come
 *              from the state, which then receives the last 3 columns.
 *   gdn_step   q, k = L2-normalised heads of c (x / sqrt(sum x^2 + 1e-6)), q also / sqrt(d_k)
 *              beta = sigmoid(b);   decay = exp(a_coef * softplus(a + dt_bias))
 *              S <- decay S;  e = beta (v - S^T k);  S <- S + k e^T;  o = S^T q
 *   gdn_gate   y = norm_w * o / sqrt(mean(o^2) + eps) * silu(z)          per head of d_v
 *
 * The recurrence is computed token by token at every length: prefill, chunks and decode give the
 * same bits. Columns of S are independent, and lie in strips of GDN_STRIP, each a matrix of its
 * own: a strip is read and written in one run and fits the first cache. The fast variants take
 *     gates  in float, by exp, sigmoid and softplus of simd.h: the same bits on every machine,
 *            where libm's differ
 *     c      fused, tap 0 first
 *     sums   of squares by 16 lanes and the tree of simd.h; over d_k in order of i, fused, from 0
 *     e      beta * (v - decay * (S^T k)) on the S before the decay, the inner part fused: the same
 *            by algebra, and S need not be written twice
 *     S      fma(k_i, e, decay * S)
 * Tolerance: relative L2 1e-5 against the references, over 256 tokens. */
#ifndef SHOAL_KERNELS_GDN_GDN_H
#define SHOAL_KERNELS_GDN_GDN_H

#include "kernels/device/context.h"
#include "kernels/quant/activation.h"

#define GDN_CONV_TAPS 4

/* Consecutive rows of a step that belong to one sequence, and that sequence's state. */
struct gdn_rows {
    float *conv;  /* [3, conv_dim]: the last columns of u, oldest first */
    float *state; /* [n_v_heads, strips, d_k, columns of the strip], see gdn_state_idx */
    uint32_t row_begin, n_rows;
};

/* Columns of a strip of the state; the last strip of a head may be narrower. */
#define GDN_STRIP 64

/* Place of row i, column j in the state of one head. */
static inline uint64_t gdn_state_idx(uint32_t i, uint32_t j, uint32_t d_k, uint32_t d_v) {
    uint32_t begin = j / GDN_STRIP * GDN_STRIP;
    uint32_t width = d_v - begin < GDN_STRIP ? d_v - begin : GDN_STRIP;
    return (uint64_t)begin * d_k + (uint64_t)i * width + (j - begin);
}

struct gdn_conv_args {
    float *out;                  /* [n_tokens, conv_dim], must not overlap u */
    const float *u;              /* [n_tokens, conv_dim] */
    const float *w;              /* [conv_dim, 4], tap 3 is the newest */
    const struct gdn_rows *rows; /* cover all tokens in order */
    uint32_t n_rows_entries;
    uint32_t conv_dim; /* a multiple of 16 */
};
typedef void gdn_conv_fn(struct kernel_ctx *k, const struct gdn_conv_args *a);
gdn_conv_fn gdn_conv_ref, gdn_conv_avx2, gdn_conv_avx512;

enum gdn_head_order {
    GDN_HEADS_TILED,   /* value head n uses key head n mod n_k_heads (GGUF of qwen35, qwen35moe) */
    GDN_HEADS_GROUPED, /* value head n uses key head n / (n_v_heads / n_k_heads) (qwen3next) */
};

struct gdn_step_args {
    float *o; /* [n_tokens, n_v_heads, d_v] */
    /* [n_tokens, conv_dim] = q [n_k_heads, d_k] | k [n_k_heads, d_k] | v [n_v_heads, d_v] */
    const float *c;
    /* Token t, value head n at a + t*gate_token_stride + gate_index(n); b likewise.
     * gate_index(n) = n / gate_group * gate_group_stride + n % gate_group */
    const float *a, *b;
    uint64_t gate_token_stride; /* in floats */
    uint32_t gate_group, gate_group_stride;
    const float *a_coef;  /* [n_v_heads], negative: -exp(A_log) */
    const float *dt_bias; /* [n_v_heads] */
    const struct gdn_rows *rows;
    uint32_t n_rows_entries;
    uint32_t n_k_heads, n_v_heads, d_k, d_v; /* d_k, d_v multiples of 16 */
    enum gdn_head_order order;
};
typedef void gdn_step_fn(struct kernel_ctx *k, const struct gdn_step_args *a);
gdn_step_fn gdn_step_ref, gdn_step_avx2, gdn_step_avx512;

struct gdn_gate_args {
    float *out;                    /* [n_tokens, n_heads, d], may be o */
    const float *o;                /* [n_tokens, n_heads, d] */
    const float *z;                /* [n_tokens, n_heads, d] */
    const float *w;                /* [d] */
    uint32_t n_tokens, n_heads, d; /* d a multiple of 16 */
    float eps;
};
typedef void gdn_gate_fn(struct kernel_ctx *k, const struct gdn_gate_args *a);
gdn_gate_fn gdn_gate_ref, gdn_gate_avx2, gdn_gate_avx512;

/* conv, step and gate, then gate.out quantised. A key head and its value heads need nothing of the
 * others, so with enough of them the threads meet once, and what is between the operations (the
 * buffers step.c = conv.out, gate.o = step.o) need not be written. The same bits as one operation
 * after the other. */
struct gdn_mix_args {
    struct gdn_conv_args conv;
    struct gdn_step_args step;
    struct gdn_gate_args gate;
    struct act_block *blocks; /* [n_tokens, n_v_heads * d_v / 32], of gate.out (activation.h) */
};
typedef void gdn_mix_fn(struct kernel_ctx *k, const struct gdn_mix_args *a);
gdn_mix_fn gdn_mix_ref, gdn_mix_avx2, gdn_mix_avx512;

#endif
