/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention of new tokens over the pages of their sequences, with the output gate.
 *
 *     s_j = scale * (q . k_j)  for j = 0 .. pos;   out = sum_j softmax(s)_j v_j
 *     out[i] *= sigmoid(gate[i])                                   if there is a gate
 * Query head h reads KV head floor(h / (n_heads / n_kv_heads)).
 *
 * The keys are cut into splits of ATTENTION_SPLIT positions at absolute places. Within a split
 * the weights are exp(s_j - m), m the largest score of the split, and sums go over j in order;
 * splits are merged in order:  m' = max(m, m_s);  acc = acc*exp(m - m') + acc_s*exp(m_s - m');
 * the same for the sum of weights. (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al.
 * 2022, arXiv:2205.14135.) The context sets the number of splits, never their length, so prefill
 * and decode of one position give the same bits.
 * Tolerance: relative L2 1e-5 per head against attention_ref (which reads the same pages). */
#ifndef SHOAL_KERNELS_ATTENTION_ATTENTION_H
#define SHOAL_KERNELS_ATTENTION_ATTENTION_H

#include <stddef.h>

#include "kernels/device/context.h"
#include "tensor/dtype.h"

#define KV_PAGE_TOKENS  32
#define ATTENTION_SPLIT 256 /* positions; a multiple of KV_PAGE_TOKENS */

/* Where one layer's keys and values lie:
 *     pages + page * page_bytes + layer_offset -> [2 (k, v)][n_kv_heads][KV_PAGE_TOKENS][d_head] */
struct kv_layer {
    unsigned char *pages;
    size_t page_bytes;
    size_t layer_offset;
    enum dtype dtype; /* F32, F16 or BF16 */
    uint32_t n_kv_heads, d_head;
};

/* Consecutive rows of a step that belong to one sequence. */
struct kv_rows {
    const uint32_t *pages; /* page of positions 32i .. 32i+31, for all positions up to the last */
    uint32_t row_begin, n_rows;
    uint32_t pos_begin; /* position of the first row */
};

/* Stores the keys and values of the new tokens (rounded to kv.dtype, nearest even). */
struct kv_append_args {
    const struct kv_layer *kv;
    const float *key, *value; /* [n_tokens, n_kv_heads, d_head] */
    const struct kv_rows *rows;
    uint32_t n_rows_entries; /* of `rows`, which cover all tokens in order */
};
typedef void kv_append_fn(struct kernel_ctx *k, const struct kv_append_args *a);
kv_append_fn kv_append_ref;

struct attention_args {
    float *out;     /* [n_tokens, n_heads, d_head] */
    const float *q; /* [n_tokens, n_heads, d_head] */
    const float *gate; /* token t, head h at gate + t*gate_token_stride + h*gate_head_stride; NULL: none */
    uint64_t gate_token_stride, gate_head_stride; /* in floats */
    const struct kv_layer *kv; /* already holds the new tokens */
    const struct kv_rows *rows;
    uint32_t n_rows_entries;
    uint32_t n_tokens, n_heads; /* n_heads a multiple of kv->n_kv_heads; d_head a multiple of 16 */
    float scale;
};
typedef void attention_fn(struct kernel_ctx *k, const struct attention_args *a);
attention_fn attention_ref, attention_avx2, attention_avx512;

#endif
