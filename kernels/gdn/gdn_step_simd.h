/* SPDX-License-Identifier: Apache-2.0 */
/* The delta rule of gdn.h for 16 lanes, which are columns of the state.
 *
 * 1. Work is (sequence, value head, group of columns). A piece takes its tokens in blocks: first
 *    what a whole head needs of each token (q, k, decay, beta), then strip by strip of columns the
 *    recurrence over the block. A strip [d_k, 32] is 16 KB for d_k = 128 and would stay in the
 *    first cache over the block, did its rows not lie a power of two apart, where they fight for
 *    a few sets; so it is copied for the block (STEP_COPIES).
 * 2. Within a block one pass over the strip does the update of token t and, on the new values, the
 *    sum S^T k of token t+1; sums go over i in order either way, so how tokens are cut into blocks
 *    does not show.
 * 3. Decay and beta are taken in double from libm: a few numbers per token, and softplus needs a
 *    logarithm. */
#ifndef SHOAL_KERNELS_GDN_GDN_STEP_SIMD_H
#define SHOAL_KERNELS_GDN_GDN_STEP_SIMD_H

#include "kernels/device/parallel.h"
#include "kernels/device/simd.h"
#include "kernels/gdn/gdn.h"

#include <assert.h>

/* Tokens of a block: q and k of one head take 32 KB for d_k = 128, beside the strip. */
#define STEP_BLOCK_TOKENS 32

/* Registers of a strip's row. Two give four chains of fused sums, which hide their latency. */
#define STEP_STRIP_VECTORS 2
#define STEP_STRIP         (16 * STEP_STRIP_VECTORS)

/* Whether a strip of a block of several tokens is copied. With AVX-512 this takes 32.5 to 24.2 ms
 * (512 tokens, 32 heads of 128x128, one thread of a Xeon at 2.3 GHz, 48 KB first cache); AVX2 is
 * bound by its arithmetic and would go from 32 to 37 ms. */
#define STEP_COPIES SIMD_AVX512

/* What the recurrence needs of a block's tokens, and room for a strip; the arrays lie in scratch.
 */
struct step_block {
    float decay[STEP_BLOCK_TOKENS];
    float beta[STEP_BLOCK_TOKENS];
    float *qk;    /* [STEP_BLOCK_TOKENS][2 (q, k)][d_k] */
    float *strip; /* [d_k][STEP_STRIP] */
};

/* One value head and the tokens of one block. */
struct step_head {
    float *state;   /* [d_k, d_v] */
    const float *v; /* [n_tokens], v_stride apart */
    float *o;       /* [n_tokens], o_stride apart */
    uint64_t v_stride, o_stride;
    uint32_t d_k, d_v, n_tokens;
};

static inline void step_normalise(float *out, const float *x, uint32_t n, float factor) {
    f32x16 sum = f32x16_zero();
    for (uint32_t i = 0; i < n; i += 16) {
        f32x16 v = f32x16_load(x + i);
        sum = f32x16_fma(v, v, sum);
    }
    f32x16 scale = f32x16_set1(1.0f / sqrtf(f32x16_sum(sum) + 1e-6f) * factor);
    for (uint32_t i = 0; i < n; i += 16)
        f32x16_store(out + i, f32x16_mul(f32x16_load(x + i), scale));
}

static inline void step_prepare(struct step_block *block, const struct gdn_step_args *a,
                                uint32_t head, uint64_t token_begin, uint32_t n_tokens) {
    uint32_t key_head =
        a->order == GDN_HEADS_TILED ? head % a->n_k_heads : head / (a->n_v_heads / a->n_k_heads);
    uint64_t c_stride = (uint64_t)2 * a->n_k_heads * a->d_k + (uint64_t)a->n_v_heads * a->d_v;
    uint64_t gate_idx = head / a->gate_group * a->gate_group_stride + head % a->gate_group;
    float q_factor = 1.0f / sqrtf((float)a->d_k);
    for (uint32_t t = 0; t < n_tokens; t++) {
        const float *q = a->c + (token_begin + t) * c_stride + (uint64_t)key_head * a->d_k;
        const float *key = q + (uint64_t)a->n_k_heads * a->d_k;
        float *qk = block->qk + (uint64_t)2 * t * a->d_k;
        step_normalise(qk, q, a->d_k, q_factor);
        step_normalise(qk + a->d_k, key, a->d_k, 1.0f);

        uint64_t gate = (token_begin + t) * a->gate_token_stride + gate_idx;
        double x = (double)a->a[gate] + (double)a->dt_bias[head];
        double softplus = x > 20 ? x : log1p(exp(x));
        block->decay[t] = (float)exp((double)a->a_coef[head] * softplus);
        block->beta[t] = (float)(1 / (1 + exp(-(double)a->b[gate])));
    }
}

/* Rows of n_columns floats from one stride to another. */
static inline void strip_copy(float *to, uint64_t to_stride, const float *from,
                              uint64_t from_stride, uint32_t n_rows, uint32_t n_columns) {
    for (uint32_t i = 0; i < n_rows; i++) {
        for (uint32_t c = 0; c < n_columns; c += 16)
            f32x16_store(to + i * to_stride + c, f32x16_load(from + i * from_stride + c));
    }
}

/* sum = S^T k of the columns at s. */
static inline __attribute__((always_inline)) void
strip_key_sum(f32x16 *sum, const float *s, uint64_t stride, const float *key, uint32_t d_k, int n) {
    for (int c = 0; c < n; c++)
        sum[c] = f32x16_zero();
    for (uint32_t i = 0; i < d_k; i++) {
        f32x16 key_i = f32x16_set1(key[i]);
        for (int c = 0; c < n; c++)
            sum[c] = f32x16_fma(f32x16_load(s + i * stride + 16 * c), key_i, sum[c]);
    }
}

/* The block's recurrence on n*16 columns of the state at s, which are the columns from `column` on.
 * n is a constant where this is used. */
static inline __attribute__((always_inline)) void strip_run(const struct step_head *h,
                                                            const struct step_block *block,
                                                            float *s, uint64_t stride,
                                                            uint32_t column, int n) {
    uint32_t d_k = h->d_k;
    f32x16 key_sum[STEP_STRIP_VECTORS], e[STEP_STRIP_VECTORS], o[STEP_STRIP_VECTORS];
    strip_key_sum(key_sum, s, stride, block->qk + d_k, d_k, n);
    for (uint32_t t = 0; t < h->n_tokens; t++) {
        const float *q = block->qk + (uint64_t)2 * t * d_k, *key = q + d_k;
        /* After the last token there is no next sum: its own key serves and nobody looks. */
        const float *next = t + 1 < h->n_tokens ? key + 2 * d_k : key;
        f32x16 decay = f32x16_set1(block->decay[t]), beta = f32x16_set1(block->beta[t]);
        f32x16 minus_decay = f32x16_set1(-block->decay[t]);
        for (int c = 0; c < n; c++) {
            f32x16 v = f32x16_load(h->v + t * h->v_stride + column + 16 * c);
            e[c] = f32x16_mul(beta, f32x16_fma(minus_decay, key_sum[c], v));
            key_sum[c] = o[c] = f32x16_zero();
        }
        for (uint32_t i = 0; i < d_k; i++) {
            f32x16 key_i = f32x16_set1(key[i]), q_i = f32x16_set1(q[i]);
            f32x16 next_i = f32x16_set1(next[i]);
            for (int c = 0; c < n; c++) {
                float *at = s + i * stride + 16 * c;
                f32x16 new = f32x16_fma(key_i, e[c], f32x16_mul(decay, f32x16_load(at)));
                f32x16_store(at, new);
                o[c] = f32x16_fma(new, q_i, o[c]);
                key_sum[c] = f32x16_fma(new, next_i, key_sum[c]);
            }
        }
        for (int c = 0; c < n; c++)
            f32x16_store(h->o + t * h->o_stride + column + 16 * c, o[c]);
    }
}

static inline __attribute__((always_inline)) void
step_strip(const struct step_head *h, const struct step_block *block, uint32_t column, int n) {
    float *s = h->state + column;
    if (!STEP_COPIES || h->n_tokens == 1) {
        strip_run(h, block, s, h->d_v, column, n);
        return;
    }
    uint32_t n_columns = 16 * (uint32_t)n;
    strip_copy(block->strip, STEP_STRIP, s, h->d_v, h->d_k, n_columns);
    strip_run(h, block, block->strip, STEP_STRIP, column, n);
    strip_copy(s, h->d_v, block->strip, STEP_STRIP, h->d_k, n_columns);
}

/* All tokens of one sequence, columns begin..end-1 of one value head. */
static inline void step_columns(const struct gdn_step_args *a, const struct gdn_rows *rows,
                                uint32_t head, uint32_t begin, uint32_t end,
                                struct step_block *block) {
    uint64_t c_stride = (uint64_t)2 * a->n_k_heads * a->d_k + (uint64_t)a->n_v_heads * a->d_v;
    for (uint32_t t = 0; t < rows->n_rows; t += STEP_BLOCK_TOKENS) {
        uint64_t token = (uint64_t)rows->row_begin + t;
        uint32_t left = rows->n_rows - t;
        struct step_head h = {
            .state = rows->state + (uint64_t)head * a->d_k * a->d_v,
            .v = a->c + token * c_stride + (uint64_t)2 * a->n_k_heads * a->d_k +
                 (uint64_t)head * a->d_v,
            .o = a->o + (token * a->n_v_heads + head) * a->d_v,
            .v_stride = c_stride,
            .o_stride = (uint64_t)a->n_v_heads * a->d_v,
            .d_k = a->d_k,
            .d_v = a->d_v,
            .n_tokens = left < STEP_BLOCK_TOKENS ? left : STEP_BLOCK_TOKENS,
        };
        step_prepare(block, a, head, token, h.n_tokens);
        for (uint32_t column = begin; column < end; column += STEP_STRIP) {
            if (end - column >= STEP_STRIP)
                step_strip(&h, block, column, STEP_STRIP_VECTORS);
            else
                step_strip(&h, block, column, 1);
        }
    }
}

struct step_job {
    struct gdn_step_args args;
    const struct kernel_ctx *k;
};

static void step_pieces(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct step_job *job = arg;
    const struct gdn_step_args *a = &job->args;
    /* Whole heads while they are many; else their columns are divided, at the price of preparing
     * q and k more than once. */
    uint64_t n_heads = (uint64_t)a->n_rows_entries * a->n_v_heads;
    uint64_t n_strips = (a->d_v + STEP_STRIP - 1) / STEP_STRIP;
    uint64_t n_groups = 1;
    while (n_groups < n_strips && n_heads * n_groups < (uint64_t)4 * n_threads)
        n_groups++;
    float *scratch = kernel_scratch(job->k, thread_idx);
    struct step_block block = {.qk = scratch,
                               .strip = scratch + (size_t)2 * STEP_BLOCK_TOKENS * a->d_k};
    uint64_t begin, end;
    thread_range(n_heads * n_groups, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        uint64_t from, to, head = i / n_groups;
        thread_range(n_strips, (uint32_t)(i % n_groups), (uint32_t)n_groups, &from, &to);
        from *= STEP_STRIP;
        to = to * STEP_STRIP < a->d_v ? to * STEP_STRIP : a->d_v;
        step_columns(a, &a->rows[head / a->n_v_heads], (uint32_t)(head % a->n_v_heads),
                     (uint32_t)from, (uint32_t)to, &block);
    }
}

static inline void gdn_step_simd(struct kernel_ctx *k, const struct gdn_step_args *a) {
    assert((2 * STEP_BLOCK_TOKENS + STEP_STRIP) * a->d_k * sizeof(float) <= KERNEL_SCRATCH_BYTES);
    struct step_job job = {.args = *a, .k = k};
    uint64_t n_rows = 0;
    for (uint32_t e = 0; e < a->n_rows_entries; e++)
        n_rows += a->rows[e].n_rows;
    parallel_run(k, step_pieces, &job, n_rows * a->n_v_heads * a->d_k * a->d_v);
}

#endif
