/* SPDX-License-Identifier: Apache-2.0 */
/* experts.h for 16 lanes, in three phases with a meeting of all threads after each:
 *
 *   hidden    gate and up of 32 rows of an expert, SwiGLU, the 32 hidden values quantised
 *   down      16 rows of an expert, or of a product beside
 *   combine   256 columns of a token
 *
 * A rank none of whose experts were chosen has only the products beside. The first two hand out
 * (expert, rows) by a counter: experts have very different numbers of tokens, so fixed ranges would
 * leave threads waiting. Which thread takes a piece does not show in the result. */
#ifndef SHOAL_KERNELS_EXPERTS_EXPERTS_SIMD_H
#define SHOAL_KERNELS_EXPERTS_EXPERTS_SIMD_H

#include <assert.h>

#include "kernels/device/parallel.h"
#include "kernels/device/simd.h"
#include "kernels/experts/combine.h"
#include "kernels/experts/experts.h"
#include "kernels/experts/order.h"
#include "kernels/matmul/panel.h"
#include "kernels/quant/activation_simd.h"

#define HIDDEN_ROWS ACT_BLOCK /* two panels: what one block of the hidden vector needs */

struct experts_job {
    struct kernel_ctx *k;
    const struct experts_args *a;
    matmul_panels_fn *panels; /* this machine's */
    struct expert_order order;
    struct activation hidden; /* [n_tokens * top_k, d_ff] in gate_out and hidden_blocks */
    uint64_t n_beside_pieces;
    struct work_list pieces; /* of the running phase */
};

/* The product of one expert for its pairs; rows of `y` are pairs. */
static inline struct panel_args expert_panels(const struct experts_job *job, uint32_t expert,
                                              const struct expert_matrices *w) {
    const struct expert_order *order = &job->order;
    return (struct panel_args){.y_stride = w->d_out,
                               .w = expert_matrix(w, expert),
                               .rows = order->pairs + order->begin[expert],
                               .n_rows = order->begin[expert + 1] - order->begin[expert]};
}

/* The hidden values first .. first + 31 of the expert's pairs: SwiGLU over gate_out and up_out
 * into gate_out, then their block. */
static inline void hidden_finish(const struct experts_job *job, uint32_t expert, uint32_t first) {
    const struct experts_args *a = job->a;
    const struct expert_order *order = &job->order;
    uint64_t d_ff = a->gate->d_out;
    for (uint32_t j = order->begin[expert]; j < order->begin[expert + 1]; j++) {
        uint64_t begin = order->pairs[j] * d_ff + first;
        for (uint64_t i = begin; i < begin + HIDDEN_ROWS; i += 16) {
            f32x16 gate = f32x16_silu(f32x16_load(a->gate_out + i));
            f32x16_store(a->gate_out + i, f32x16_mul(gate, f32x16_load(a->up_out + i)));
        }
        activation_quantise_block(a->gate_out + begin, &a->hidden_blocks[begin / ACT_BLOCK]);
    }
}

/* 32 hidden values of the pairs of one expert: two panels each of gate and up. */
static inline void hidden_piece(const struct experts_job *job, uint32_t expert, uint32_t first,
                                struct panel_scratch *scratch) {
    const struct experts_args *a = job->a;
    struct panel_args gate = expert_panels(job, expert, a->gate);
    gate.x = a->x;
    gate.y = a->gate_out;
    gate.split = a->whole;
    gate.rows_per_token = a->top_k;
    struct panel_args up = gate;
    up.w = expert_matrix(a->up, expert);
    up.y = a->up_out;
    job->panels(&gate, first / PANEL_ROWS, HIDDEN_ROWS / PANEL_ROWS, scratch);
    job->panels(&up, first / PANEL_ROWS, HIDDEN_ROWS / PANEL_ROWS, scratch);
    hidden_finish(job, expert, first);
}

static inline void hidden_pieces(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct experts_job *job = arg;
    const struct experts_args *a = job->a;
    struct panel_scratch *scratch = kernel_scratch(job->k, thread_idx);
    uint32_t n_each = a->gate->d_out / HIDDEN_ROWS;
    uint64_t begin, end;
    while (work_take(&job->pieces, n_threads, 1, &begin, &end)) {
        for (uint64_t i = begin; i < end; i++)
            hidden_piece(job, job->order.active[i / n_each], (uint32_t)(i % n_each) * HIDDEN_ROWS,
                         scratch);
    }
}

/* The down projection and the products beside it go in pieces of panels that share their loads. */
static inline uint32_t piece_count(uint32_t d_out) {
    return (panel_count(d_out) + PANELS_TOGETHER - 1) / PANELS_TOGETHER;
}

static inline void piece_run(const struct experts_job *job, const struct panel_args *a,
                             uint32_t piece, struct panel_scratch *scratch) {
    uint32_t panel = piece * PANELS_TOGETHER, left = panel_count(a->w.d_out) - panel;
    job->panels(a, panel, left < PANELS_TOGETHER ? left : PANELS_TOGETHER, scratch);
}

static inline void down_piece(const struct experts_job *job, uint32_t expert, uint32_t piece,
                              struct panel_scratch *scratch) {
    const struct experts_args *a = job->a;
    struct panel_args down = expert_panels(job, expert, a->down);
    down.x = &job->hidden;
    down.y = a->down_out;
    down.split = a->down_split;
    down.rows_per_token = 1;
    piece_run(job, &down, piece, scratch);
}

/* Pieces of the products beside are counted through. */
static inline uint64_t beside_pieces(const struct experts_args *a) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < a->n_beside; i++)
        n += piece_count(a->beside[i].w->d_out);
    return n;
}

static inline void beside_piece(const struct experts_job *job, uint32_t piece,
                                struct panel_scratch *scratch) {
    const struct matmul_args *product = job->a->beside;
    for (uint32_t n; piece >= (n = piece_count(product->w->d_out)); product++)
        piece -= n;
    const struct panel_args panels = panels_of(product);
    piece_run(job, &panels, piece, scratch);
}

/* The products beside come first: with many tokens their pieces are the largest. */
static inline void down_pieces(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct experts_job *job = arg;
    struct panel_scratch *scratch = kernel_scratch(job->k, thread_idx);
    uint32_t n_each = piece_count(job->a->down->d_out);
    uint64_t begin, end;
    while (work_take(&job->pieces, n_threads, 1, &begin, &end)) {
        for (uint64_t i = begin; i < end; i++) {
            if (i < job->n_beside_pieces) {
                beside_piece(job, (uint32_t)i, scratch);
                continue;
            }
            uint64_t at = i - job->n_beside_pieces;
            down_piece(job, job->order.active[at / n_each], (uint32_t)(at % n_each), scratch);
        }
    }
}

static inline void combine_pieces(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct experts_job *job = arg;
    combine_share(job->a, &job->order, thread_idx, n_threads);
}

/* A phase: all threads take its n pieces. */
static inline void experts_phase(struct experts_job *job, thread_pool_task *task, uint64_t n) {
    job->pieces.n = n;
    atomic_store(&job->pieces.next, 0);
    if (n > 0)
        thread_pool_run(job->k->pool, task, job);
}

static inline void experts_simd(struct kernel_ctx *k, const struct experts_args *a,
                                matmul_panels_fn *panels) {
    assert(a->gate->d_out % HIDDEN_ROWS == 0 && a->down->d_in == a->gate->d_out);
    struct experts_job job = {.k = k,
                              .a = a,
                              .panels = panels,
                              .order = expert_order_build(a),
                              .n_beside_pieces = beside_pieces(a)};
    job.hidden = (struct activation){.x = a->gate_out,
                                     .blocks = a->hidden_blocks,
                                     .n_tokens = a->x->n_tokens * a->top_k,
                                     .d = a->gate->d_out};
    uint64_t n_active = job.order.n_active;
    experts_phase(&job, hidden_pieces, n_active * (a->gate->d_out / HIDDEN_ROWS));
    experts_phase(&job, down_pieces, n_active * piece_count(a->down->d_out) + job.n_beside_pieces);
    parallel_run(k, combine_pieces, &job, (uint64_t)job.order.n_pairs * a->down->d_out);
}

#endif
