/* SPDX-License-Identifier: Apache-2.0 */
/* The delta rule of gdn.h for 16 lanes, which are columns of the state.
 *
 * 1. A head takes its tokens in blocks: first what the whole head needs of each token (q, k, decay,
 *    beta), then strip by strip of the state the recurrence over the block. A strip stays in the
 *    first cache over the block, and q and k of the block come by in order.
 * 2. Within a block one pass over the strip does the update of token t and, on the new values, the
 *    sum S^T k of token t+1; sums go over i in order either way, so how tokens are cut into blocks
 *    does not show.
 * 3. One token alone waits for memory: its state is read once and written once. So the update of a
 *    strip asks for the next strip, whose key sum comes then. */
#ifndef SHOAL_KERNELS_GDN_GDN_STEP_SIMD_H
#define SHOAL_KERNELS_GDN_GDN_STEP_SIMD_H

#include "kernels/device/parallel.h"
#include "kernels/device/simd.h"
#include "kernels/gdn/gdn.h"

#include <assert.h>

/* Tokens of a block: q and k of one head take 64 KB for d_k = 128. A multiple of 16. */
#define STEP_BLOCK_TOKENS 64

/* Registers whose sums run at once, two sums each: AVX-512 takes a whole strip; two pairs of
 * AVX2's are what its 16 registers hold. Either way there are eight chains of fused sums, which
 * hide their latency. */
#define STEP_VECTORS (SIMD_AVX512 ? GDN_STRIP / 16 : 2)

/* One value head and the tokens of one block. */
struct step_head {
    float *state;       /* of the head */
    const float *ahead; /* state that is read after this one, or NULL */
    const float *qk;    /* [n_tokens][2 (q, k)][d_k], normalised */
    const float *v;     /* [n_tokens], v_stride apart */
    float *o;           /* [n_tokens], o_stride apart */
    uint64_t v_stride, o_stride;
    uint32_t d_k, d_v, n_tokens;
    float decay[STEP_BLOCK_TOKENS];
    float beta[STEP_BLOCK_TOKENS];
};

static inline uint32_t step_key_head(const struct gdn_step_args *a, uint32_t head) {
    return a->order == GDN_HEADS_TILED ? head % a->n_k_heads : head / (a->n_v_heads / a->n_k_heads);
}

static inline uint64_t step_conv_dim(const struct gdn_step_args *a) {
    return (uint64_t)2 * a->n_k_heads * a->d_k + (uint64_t)a->n_v_heads * a->d_v;
}

/* out may be x */
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

/* Decay and beta of a head's tokens, 16 at a time. */
static inline void step_gates(struct step_head *h, const struct gdn_step_args *a, uint32_t head,
                              uint64_t token_begin) {
    uint64_t begin = token_begin * a->gate_token_stride +
                     head / a->gate_group * a->gate_group_stride + head % a->gate_group;
    for (uint32_t t = 0; t < h->n_tokens; t += 16) {
        float alpha[16] = {0}, beta[16] = {0};
        for (uint32_t l = 0; l < 16 && t + l < h->n_tokens; l++) {
            alpha[l] = a->a[begin + (t + l) * a->gate_token_stride];
            beta[l] = a->b[begin + (t + l) * a->gate_token_stride];
        }
        f32x16 x = f32x16_add(f32x16_load(alpha), f32x16_set1(a->dt_bias[head]));
        f32x16 exponent = f32x16_mul(f32x16_set1(a->a_coef[head]), f32x16_softplus(x));
        f32x16_store(h->decay + t, f32x16_exp(exponent));
        f32x16_store(h->beta + t, f32x16_sigmoid(f32x16_load(beta)));
    }
}

/* sum = S^T k of n*16 columns. Here and below n and stride are constants where it is used. */
static inline __attribute__((always_inline)) void
strip_key_sum(f32x16 *sum, const float *s, uint32_t stride, const float *key, uint32_t d_k, int n) {
    for (int c = 0; c < n; c++)
        sum[c] = f32x16_zero();
    for (uint32_t i = 0; i < d_k; i++, s += stride) {
        f32x16 key_i = f32x16_set1(key[i]);
        for (int c = 0; c < n; c++)
            sum[c] = f32x16_fma(f32x16_load(s + 16 * c), key_i, sum[c]);
    }
}

/* What one token does to n*16 columns at s: the update with e, its output, and the key sum of the
 * next token. `ahead`: rows to ask for, or NULL. */
struct strip_token {
    f32x16 decay;
    const float *q, *key, *next_key;
    const float *ahead;
};

static inline __attribute__((always_inline)) void
strip_update(const struct strip_token *t, float *s, uint32_t stride, const f32x16 *e, f32x16 *o,
             f32x16 *key_sum, uint32_t d_k, int n, int has_ahead) {
    for (int c = 0; c < n; c++)
        key_sum[c] = o[c] = f32x16_zero();
    for (uint32_t i = 0; i < d_k; i++, s += stride) {
        f32x16 key_i = f32x16_set1(t->key[i]), q_i = f32x16_set1(t->q[i]);
        f32x16 next_i = f32x16_set1(t->next_key[i]);
        for (int c = 0; c < n; c++) {
            f32x16 old = f32x16_load(s + 16 * c);
            f32x16 new = f32x16_fma(key_i, e[c], f32x16_mul(t->decay, old));
            f32x16_store(s + 16 * c, new);
            o[c] = f32x16_fma(new, q_i, o[c]);
            key_sum[c] = f32x16_fma(new, next_i, key_sum[c]);
            if (has_ahead)
                _mm_prefetch((const char *)(t->ahead + (uint64_t)i * stride + 16 * c), _MM_HINT_T1);
        }
    }
}

/* The block's recurrence on n*16 columns of the state at s, which are the columns from `column` on.
 * v and o of a later token lie a page or more away, where no prefetcher looks. */
static inline __attribute__((always_inline)) void strip_run(const struct step_head *h, float *s,
                                                            const float *ahead, uint32_t stride,
                                                            uint32_t column, int n) {
    uint32_t d_k = h->d_k;
    f32x16 key_sum[STEP_VECTORS], e[STEP_VECTORS], o[STEP_VECTORS];
    strip_key_sum(key_sum, s, stride, h->qk + d_k, d_k, n);
    for (uint32_t t = 0; t < h->n_tokens; t++) {
        const float *v = h->v + t * h->v_stride + column;
        float *out = h->o + t * h->o_stride + column;
        int is_last = t + 1 == h->n_tokens;
        struct strip_token token = {
            .decay = f32x16_set1(h->decay[t]), .q = h->qk + (uint64_t)2 * t * d_k, .ahead = ahead};
        token.key = token.q + d_k;
        /* After the last token there is no next sum: its own key serves and nobody looks. */
        token.next_key = is_last ? token.key : token.key + (uint64_t)2 * d_k;
        f32x16 beta = f32x16_set1(h->beta[t]), minus_decay = f32x16_set1(-h->decay[t]);
        for (int c = 0; c < n; c++) {
            e[c] = f32x16_mul(beta, f32x16_fma(minus_decay, key_sum[c], f32x16_load(v + 16 * c)));
            if (!is_last) {
                __builtin_prefetch(v + h->v_stride + 16 * c, 0);
                __builtin_prefetch(out + h->o_stride + 16 * c, 1);
            }
        }
        if (is_last && ahead)
            strip_update(&token, s, stride, e, o, key_sum, d_k, n, 1);
        else
            strip_update(&token, s, stride, e, o, key_sum, d_k, n, 0);
        for (int c = 0; c < n; c++)
            f32x16_store(out + 16 * c, o[c]);
    }
}

/* The block's recurrence on columns begin..end-1, of which begin is the first of a strip. */
static inline void step_columns(const struct step_head *h, uint32_t begin, uint32_t end) {
    for (uint32_t column = begin; column < end;) {
        uint32_t within = column % GDN_STRIP;
        uint32_t strip = column - within;
        uint32_t width = h->d_v - strip < GDN_STRIP ? h->d_v - strip : GDN_STRIP;
        uint64_t strip_floats = (uint64_t)width * h->d_k;
        float *s = h->state + (uint64_t)strip * h->d_k + within;
        const float *ahead = strip + width < end ? s + strip_floats : h->ahead;
        if (width == GDN_STRIP) {
            strip_run(h, s, ahead, GDN_STRIP, column, STEP_VECTORS);
            column += 16 * STEP_VECTORS;
        } else {
            strip_run(h, s, NULL, width, column, 1);
            column += 16;
        }
    }
}

/* All tokens of one sequence, columns begin..end-1 of one value head. qk: scratch. */
static inline void step_sequence(const struct gdn_step_args *a, const struct gdn_rows *rows,
                                 uint32_t head, uint32_t begin, uint32_t end, float *qk) {
    uint64_t c_stride = step_conv_dim(a), key_head = step_key_head(a, head);
    float q_factor = 1.0f / sqrtf((float)a->d_k);
    struct step_head h = {.state = rows->state + (uint64_t)head * a->d_k * a->d_v,
                          .qk = qk,
                          .v_stride = c_stride,
                          .o_stride = (uint64_t)a->n_v_heads * a->d_v,
                          .d_k = a->d_k,
                          .d_v = a->d_v};
    for (uint32_t t = 0; t < rows->n_rows; t += STEP_BLOCK_TOKENS) {
        uint64_t token = (uint64_t)rows->row_begin + t;
        const float *c = a->c + token * c_stride;
        uint32_t left = rows->n_rows - t;
        h.n_tokens = left < STEP_BLOCK_TOKENS ? left : STEP_BLOCK_TOKENS;
        h.v = c + (uint64_t)2 * a->n_k_heads * a->d_k + (uint64_t)head * a->d_v;
        h.o = a->o + (token * a->n_v_heads + head) * a->d_v;
        for (uint32_t i = 0; i < h.n_tokens; i++) {
            const float *q = c + i * c_stride + key_head * a->d_k;
            float *to = qk + (uint64_t)2 * i * a->d_k;
            step_normalise(to, q, a->d_k, q_factor);
            step_normalise(to + a->d_k, q + (uint64_t)a->n_k_heads * a->d_k, a->d_k, 1.0f);
        }
        step_gates(&h, a, head, token);
        step_columns(&h, begin, end);
    }
}

struct step_job {
    struct gdn_step_args args;
    const struct kernel_ctx *k;
};

static void step_pieces(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct step_job *job = arg;
    const struct gdn_step_args *a = &job->args;
    /* Whole heads while they are many; else their strips are divided, at the price of preparing
     * q and k more than once. */
    uint64_t n_heads = (uint64_t)a->n_rows_entries * a->n_v_heads;
    uint64_t n_strips = (a->d_v + GDN_STRIP - 1) / GDN_STRIP;
    uint64_t n_groups = 1;
    while (n_groups < n_strips && n_heads * n_groups < (uint64_t)4 * n_threads)
        n_groups++;
    uint64_t begin, end;
    thread_range(n_heads * n_groups, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        uint64_t from, to, head = i / n_groups;
        thread_range(n_strips, (uint32_t)(i % n_groups), (uint32_t)n_groups, &from, &to);
        from *= GDN_STRIP;
        to = to * GDN_STRIP < a->d_v ? to * GDN_STRIP : a->d_v;
        step_sequence(a, &a->rows[head / a->n_v_heads], (uint32_t)(head % a->n_v_heads),
                      (uint32_t)from, (uint32_t)to, kernel_scratch(job->k, thread_idx));
    }
}

static inline void gdn_step_simd(struct kernel_ctx *k, const struct gdn_step_args *a) {
    assert((size_t)2 * STEP_BLOCK_TOKENS * a->d_k * sizeof(float) <= KERNEL_SCRATCH_BYTES);
    struct step_job job = {.args = *a, .k = k};
    uint64_t n_rows = 0;
    for (uint32_t e = 0; e < a->n_rows_entries; e++)
        n_rows += a->rows[e].n_rows;
    parallel_run(k, step_pieces, &job, n_rows * a->n_v_heads * a->d_k * a->d_v);
}

#endif
