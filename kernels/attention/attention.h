/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention of new tokens over the pages of their sequences, with the output gate.
 *
 *     s_j = scale * (q . k_j)  for j = 0 .. pos;   out = sum_j softmax(s)_j v_j
 *     out[i] *= sigmoid(gate[i])                                   if there is a gate
 * Query head h reads KV head floor((h + first_head) / heads_per_kv): a rank's heads may begin and
 * end inside a KV head, and its cache holds the KV heads that they touch.
 *
 * The keys are cut into splits of ATTENTION_SPLIT positions at absolute places; a row at `pos`
 * sees pos + 1 of them. The fast variants compute, for each split of a query,
 *     q . k_j   fma(q_i, k_ji, sum) over i in order, from 0
 *     m         the largest s_j
 *     w_j       exp(s_j - m);  their sum: lane l adds those with j mod 16 = l in order, then tree
 *     acc[i]    fma(w_j, v_j[i], acc[i]) over j in order, from 0
 * and merge splits in order, the first one as it is, with m' = max(m, m_s), f = exp(m - m'),
 * f_s = exp(m_s - m'):
 *     acc = fma(acc_s, f_s, acc * f)                               the sum of weights likewise
 * At last out = acc / sum. (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022,
 * arXiv:2205.14135.) The context sets the number of splits, never their length, and a query's
 * sums are its own, so prefill, chunks and decode of one position give the same bits.
 * Tolerance: relative L2 1e-5 per head against attention_ref (which reads the same pages).
 * Scratch: heads_per_kv * (d_head + 260) * 4 + 128 * d_head + 256 bytes must fit. */
#ifndef SHOAL_KERNELS_ATTENTION_ATTENTION_H
#define SHOAL_KERNELS_ATTENTION_ATTENTION_H

#include <stddef.h>

#include "kernels/device/context.h"
#include "kernels/quant/activation.h"
#include "tensor/dtype.h"

#define KV_PAGE_TOKENS  32
#define ATTENTION_SPLIT 256 /* positions; a multiple of KV_PAGE_TOKENS */

/* Where one layer's keys and values lie:
 *     pages + page * page_bytes + layer_offset -> keys   [n_kv_heads][d_head][KV_PAGE_TOKENS]
 *                                                 values [n_kv_heads][KV_PAGE_TOKENS][d_head]
 * Keys lie element by element, so that the scores of many positions are sums side by side and one
 * load of a key element serves all of them; a value's elements lie together for the same reason. */
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
    uint32_t row_begin, n_rows; /* at least one row */
    uint32_t pos_begin;         /* position of the first row */
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
    /* Token t, head h at gate + t*gate_token_stride + h*gate_head_stride; NULL: none. */
    const float *gate;
    uint64_t gate_token_stride, gate_head_stride; /* in floats */
    const struct kv_layer *kv;                    /* already holds the new tokens */
    const struct kv_rows *rows;
    uint32_t n_rows_entries;
    uint32_t n_tokens, n_heads; /* d_head a multiple of 16 */
    uint32_t heads_per_kv;      /* query heads of a whole KV head; at least 1 if there are heads */
    uint32_t first_head;        /* place of head 0 in the first KV head: below heads_per_kv */
    float scale;
    struct act_block *blocks; /* [n_tokens, n_heads * d_head / 32] of out (activation.h), or NULL;
                                 d_head a multiple of 32 then */
};
typedef void attention_fn(struct kernel_ctx *k, const struct attention_args *a);
attention_fn attention_ref, attention_avx2, attention_avx512;

#endif
