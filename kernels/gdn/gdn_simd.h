/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution and output gate of gdn.h for 16 lanes; every channel and every head stands alone. */
#ifndef SHOAL_KERNELS_GDN_GDN_SIMD_H
#define SHOAL_KERNELS_GDN_GDN_SIMD_H

#include "kernels/device/parallel.h"
#include "kernels/device/simd.h"
#include "kernels/gdn/gdn.h"
#include "kernels/rmsnorm/rmsnorm_simd.h"

#include <string.h>

/* Channels of one piece of work: 1 KB of a row, so that a page of memory serves four rows at most
 * and the taps of a piece, turned to [4][channels], stay in the first cache. */
#define CONV_CHANNELS 256

/* Column `t` of the projection, where -3..-1 are the state's. */
static inline float *conv_state_column(const struct gdn_rows *rows, int64_t t, uint32_t conv_dim) {
    return rows->conv + (t + GDN_CONV_TAPS - 1) * conv_dim;
}

static inline const float *conv_column(const struct gdn_conv_args *a, const struct gdn_rows *rows,
                                       int64_t t) {
    return t < 0 ? conv_state_column(rows, t, a->conv_dim)
                 : a->u + (rows->row_begin + t) * a->conv_dim;
}

/* Which tokens and channels of a sequence are wanted, and where they go. */
struct conv_part {
    uint32_t token_begin, token_end; /* of the sequence */
    uint32_t begin, end;             /* channels, at most CONV_CHANNELS */
    float *out;                      /* token_begin, channel `begin`; then out_stride apart */
    uint64_t out_stride;
};

/* taps: scratch, [4][CONV_CHANNELS]. A row of u lies pages from the next, where no prefetcher
 * looks, so it is asked for when the row before it is read. */
static inline void conv_tokens(const struct gdn_conv_args *a, const struct gdn_rows *rows,
                               const struct conv_part *part, float *taps) {
    uint32_t n = part->end - part->begin;
    for (uint32_t ch = 0; ch < n; ch += 16) {
        f32x16 w[GDN_CONV_TAPS];
        f32x16_load_quads(a->w + (size_t)(part->begin + ch) * GDN_CONV_TAPS, w);
        for (uint32_t j = 0; j < GDN_CONV_TAPS; j++)
            f32x16_store(taps + j * CONV_CHANNELS + ch, w[j]);
    }
    for (int64_t t = part->token_begin; t < part->token_end; t++) {
        const float *x[GDN_CONV_TAPS];
        for (int64_t j = 0; j < GDN_CONV_TAPS; j++)
            x[j] = conv_column(a, rows, t + j - (GDN_CONV_TAPS - 1)) + part->begin;
        uint64_t ahead = t + 1 < part->token_end ? a->conv_dim : 0;
        float *out = part->out + (uint64_t)(t - part->token_begin) * part->out_stride;
        for (uint32_t ch = 0; ch < n; ch += 16) {
            const float *w = taps + ch;
            _mm_prefetch((const char *)(x[3] + ahead + ch), _MM_HINT_T0);
            f32x16 sum = f32x16_mul(f32x16_load(w), f32x16_load(x[0] + ch));
            sum = f32x16_fma(f32x16_load(w + CONV_CHANNELS), f32x16_load(x[1] + ch), sum);
            sum = f32x16_fma(f32x16_load(w + 2 * CONV_CHANNELS), f32x16_load(x[2] + ch), sum);
            sum = f32x16_fma(f32x16_load(w + 3 * CONV_CHANNELS), f32x16_load(x[3] + ch), sum);
            f32x16_store(out + ch, f32x16_silu(sum));
        }
    }
}

/* The last columns of channels begin..end-1 into the state. Oldest first: with fewer than three
 * tokens a later column of the state moves down. */
static inline void conv_keep(const struct gdn_conv_args *a, const struct gdn_rows *rows,
                             uint32_t begin, uint32_t end) {
    for (int64_t t = -3; t < 0; t++)
        memmove(conv_state_column(rows, t, a->conv_dim) + begin,
                conv_column(a, rows, rows->n_rows + t) + begin, (end - begin) * sizeof(float));
}

struct conv_job {
    struct gdn_conv_args args;
    const struct kernel_ctx *k;
};

static void conv_pieces(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct conv_job *job = arg;
    const struct gdn_conv_args *a = &job->args;
    uint64_t n_pieces = (a->conv_dim + CONV_CHANNELS - 1) / CONV_CHANNELS;
    uint64_t begin, end;
    thread_range(a->n_rows_entries * n_pieces, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        const struct gdn_rows *rows = &a->rows[i / n_pieces];
        uint32_t from = (uint32_t)(i % n_pieces) * CONV_CHANNELS;
        uint32_t to = from + CONV_CHANNELS < a->conv_dim ? from + CONV_CHANNELS : a->conv_dim;
        struct conv_part part = {.token_end = rows->n_rows,
                                 .begin = from,
                                 .end = to,
                                 .out = a->out + (uint64_t)rows->row_begin * a->conv_dim + from,
                                 .out_stride = a->conv_dim};
        conv_tokens(a, rows, &part, kernel_scratch(job->k, thread_idx));
        conv_keep(a, rows, from, to);
    }
}

static inline void gdn_conv_simd(struct kernel_ctx *k, const struct gdn_conv_args *a) {
    struct conv_job job = {.args = *a, .k = k};
    uint64_t n_rows = 0;
    for (uint32_t e = 0; e < a->n_rows_entries; e++)
        n_rows += a->rows[e].n_rows + 2 * GDN_CONV_TAPS; /* the taps and the state count too */
    parallel_run(k, conv_pieces, &job, n_rows * a->conv_dim);
}

/* One head of one token, whose place is `at` heads from the first. */
static inline void gate_head(const struct gdn_gate_args *a, uint64_t at, const float *o) {
    const float *z = a->z + at * a->d;
    f32x16 scale = f32x16_set1(rms_scale(o, a->d, a->eps));
    for (uint32_t i = 0; i < a->d; i += 16) {
        f32x16 unit = f32x16_mul(f32x16_load(o + i), scale);
        f32x16 y = f32x16_mul(unit, f32x16_load(a->w + i));
        f32x16_store(a->out + at * a->d + i, f32x16_mul(y, f32x16_silu(f32x16_load(z + i))));
    }
}

static void gate_heads(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct gdn_gate_args *a = arg;
    uint64_t begin, end;
    thread_range((uint64_t)a->n_tokens * a->n_heads, thread_idx, n_threads, &begin, &end);
    for (uint64_t h = begin; h < end; h++)
        gate_head(a, h, a->o + h * a->d);
}

static inline void gdn_gate_simd(struct kernel_ctx *k, const struct gdn_gate_args *a) {
    struct gdn_gate_args args = *a;
    parallel_run(k, gate_heads, &args, (uint64_t)2 * a->n_tokens * a->n_heads * a->d);
}

#endif
