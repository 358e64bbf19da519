/* SPDX-License-Identifier: Apache-2.0 */
/* The delta net of one key head and its value heads from convolution to quantised result.
 *
 * A unit is (sequence, key head). It takes its tokens in the blocks of gdn_step_simd.h; what passes
 * between the operations is a block long and stays in scratch, so a value is read where it is
 * needed and not a page from the next. q and k are prepared once for all value heads of the unit.
 */
#ifndef SHOAL_KERNELS_GDN_GDN_MIX_SIMD_H
#define SHOAL_KERNELS_GDN_GDN_MIX_SIMD_H

#include "kernels/gdn/gdn_simd.h"
#include "kernels/gdn/gdn_step_simd.h"
#include "kernels/quant/activation_simd.h"

/* Between the operations of a unit; the arrays lie in scratch. */
struct mix_block {
    float *qk;   /* [STEP_BLOCK_TOKENS][2 (q, k)][d_k] */
    float *v;    /* [STEP_BLOCK_TOKENS][d_v] */
    float *o;    /* [STEP_BLOCK_TOKENS][d_v] */
    float *taps; /* [4][CONV_CHANNELS] */
    uint32_t token_begin, n_tokens;
};

static inline size_t mix_scratch_bytes(const struct gdn_step_args *a) {
    size_t per_token = (size_t)2 * a->d_k + 2 * a->d_v;
    return (STEP_BLOCK_TOKENS * per_token + GDN_CONV_TAPS * CONV_CHANNELS) * sizeof(float);
}

/* The value head that comes at place `idx` of a key head. */
static inline uint32_t mix_value_head(const struct gdn_step_args *a, uint32_t key_head,
                                      uint32_t idx) {
    return a->order == GDN_HEADS_TILED ? idx * a->n_k_heads + key_head
                                       : key_head * (a->n_v_heads / a->n_k_heads) + idx;
}

/* The block's convolution of `n` channels from `begin` on, to rows out_stride apart. After the last
 * block the state receives its columns. */
static inline void mix_conv(const struct gdn_mix_args *a, const struct gdn_rows *rows,
                            const struct mix_block *b, uint32_t begin, uint32_t n, float *out,
                            uint64_t out_stride) {
    uint32_t token_end = b->token_begin + b->n_tokens;
    for (uint32_t ch = 0; ch < n; ch += CONV_CHANNELS) {
        struct conv_part part = {.token_begin = b->token_begin,
                                 .token_end = token_end,
                                 .begin = begin + ch,
                                 .end = begin + (n - ch < CONV_CHANNELS ? n : ch + CONV_CHANNELS),
                                 .out = out + ch,
                                 .out_stride = out_stride};
        conv_tokens(&a->conv, rows, &part, b->taps);
    }
    if (token_end == rows->n_rows)
        conv_keep(&a->conv, rows, begin, begin + n);
}

/* Gate and quantise what one value head gave for the block. */
static inline void mix_finish(const struct gdn_mix_args *a, const struct gdn_rows *rows,
                              const struct mix_block *b, uint32_t head) {
    const struct gdn_gate_args *gate = &a->gate;
    for (uint32_t t = 0; t < b->n_tokens; t++) {
        uint64_t token = (uint64_t)rows->row_begin + b->token_begin + t;
        uint64_t at = token * gate->n_heads + head;
        if (t + 1 < b->n_tokens) {
            const float *next = gate->z + (at + gate->n_heads) * gate->d;
            for (uint32_t i = 0; i < gate->d; i += 16)
                _mm_prefetch((const char *)(next + i), _MM_HINT_T0);
        }
        gate_head(gate, at, b->o + (size_t)t * gate->d);
        activation_quantise_run(gate->out + at * gate->d, a->blocks + at * (gate->d / ACT_BLOCK),
                                gate->d);
    }
}

/* One block of one unit. */
static inline void mix_unit_block(const struct gdn_mix_args *a, const struct gdn_rows *rows,
                                  uint32_t key_head, const struct mix_block *b) {
    const struct gdn_step_args *s = &a->step;
    uint32_t d_k = s->d_k, d_v = s->d_v, n_values = s->n_v_heads / s->n_k_heads;
    float q_factor = 1.0f / sqrtf((float)d_k);
    struct step_head h = {.qk = b->qk,
                          .v = b->v,
                          .o = b->o,
                          .v_stride = d_v,
                          .o_stride = d_v,
                          .d_k = d_k,
                          .d_v = d_v,
                          .n_tokens = b->n_tokens};
    mix_conv(a, rows, b, key_head * d_k, d_k, b->qk, (uint64_t)2 * d_k);
    mix_conv(a, rows, b, (s->n_k_heads + key_head) * d_k, d_k, b->qk + d_k, (uint64_t)2 * d_k);
    for (uint32_t t = 0; t < b->n_tokens; t++) {
        float *q = b->qk + (size_t)2 * t * d_k;
        step_normalise(q, q, d_k, q_factor);
        step_normalise(q + d_k, q + d_k, d_k, 1.0f);
    }
    for (uint32_t idx = 0; idx < n_values; idx++) {
        uint32_t head = mix_value_head(s, key_head, idx);
        uint32_t next = idx + 1 < n_values ? mix_value_head(s, key_head, idx + 1)
                                           : mix_value_head(s, key_head + 1, 0);
        h.state = rows->state + (uint64_t)head * d_k * d_v;
        h.ahead = next < s->n_v_heads ? rows->state + (uint64_t)next * d_k * d_v : NULL;
        mix_conv(a, rows, b, 2 * s->n_k_heads * d_k + head * d_v, d_v, b->v, d_v);
        step_gates(&h, s, head, (uint64_t)rows->row_begin + b->token_begin);
        step_columns(&h, 0, d_v);
        mix_finish(a, rows, b, head);
    }
}

struct mix_job {
    struct gdn_mix_args args;
    const struct kernel_ctx *k;
};

static void mix_units(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct mix_job *job = arg;
    const struct gdn_mix_args *a = &job->args;
    uint32_t n_k_heads = a->step.n_k_heads;
    float *scratch = kernel_scratch(job->k, thread_idx);
    struct mix_block b = {.qk = scratch};
    b.v = b.qk + (size_t)2 * STEP_BLOCK_TOKENS * a->step.d_k;
    b.o = b.v + (size_t)STEP_BLOCK_TOKENS * a->step.d_v;
    b.taps = b.o + (size_t)STEP_BLOCK_TOKENS * a->step.d_v;
    uint64_t begin, end;
    thread_range((uint64_t)a->step.n_rows_entries * n_k_heads, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        const struct gdn_rows *rows = &a->step.rows[i / n_k_heads];
        for (b.token_begin = 0; b.token_begin < rows->n_rows; b.token_begin += STEP_BLOCK_TOKENS) {
            uint32_t left = rows->n_rows - b.token_begin;
            b.n_tokens = left < STEP_BLOCK_TOKENS ? left : STEP_BLOCK_TOKENS;
            mix_unit_block(a, rows, (uint32_t)(i % n_k_heads), &b);
        }
    }
}

/* Units are taken whole where that leaves few threads without work. */
static inline int mix_is_even(const struct gdn_mix_args *a, uint32_t n_threads) {
    uint64_t n_units = (uint64_t)a->step.n_rows_entries * a->step.n_k_heads;
    return n_units % n_threads == 0 || n_units >= (uint64_t)4 * n_threads;
}

static inline void gdn_mix_simd(struct kernel_ctx *k, const struct gdn_mix_args *a) {
    const struct gdn_step_args *s = &a->step;
    if (s->d_v % ACT_BLOCK == 0 && mix_scratch_bytes(s) <= KERNEL_SCRATCH_BYTES &&
        mix_is_even(a, thread_pool_n_threads(k->pool))) {
        struct mix_job job = {.args = *a, .k = k};
        parallel_run(k, mix_units, &job,
                     (uint64_t)a->gate.n_tokens * s->n_v_heads * s->d_k * s->d_v);
        return;
    }
    struct activation out = {.x = a->gate.out,
                             .blocks = a->blocks,
                             .n_tokens = a->gate.n_tokens,
                             .d = a->gate.n_heads * a->gate.d};
    gdn_conv_simd(k, &a->conv);
    gdn_step_simd(k, s);
    gdn_gate_simd(k, &a->gate);
    activation_quantise_simd(k, &out);
}

#endif
