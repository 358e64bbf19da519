/* SPDX-License-Identifier: Apache-2.0 */
/* The definition: products as in matmul_ref, SwiGLU in double. Three phases with a meeting of all
 * threads between them: gate and up, down, combine. In each, threads share the rows of the
 * experts' matrices (or the columns of the result), and all experts are walked by everybody. */
#include "kernels/experts/experts.h"

#include <assert.h>
#include <math.h>

#include "kernels/experts/combine.h"
#include "kernels/experts/order.h"
#include "kernels/matmul/dot_ref.h"
#include "kernels/quant/unpack.h"

struct experts_job {
    struct kernel_ctx *k;
    const struct experts_args *a;
    struct expert_order order;
};

static void dequantise(const struct expert_matrices *w, uint32_t expert, uint64_t row, float *out) {
    const unsigned char *data = w->data[expert];
    quant_dequantise_row(w->dtype, data + row * w->row_bytes, w->d_in, out);
}

/* gate_out[pair][o] = silu(gate) * up, the hidden vector */
static void hidden_rows(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct experts_job *job = arg;
    const struct experts_args *a = job->a;
    const struct expert_order *order = &job->order;
    uint32_t d_model = a->gate->d_in, d_ff = a->gate->d_out;
    float *gate_row = kernel_scratch(job->k, thread_idx); /* [d_model] */
    float *up_row = gate_row + d_model;                   /* [d_model] */
    uint64_t begin, end;
    thread_range(d_ff, thread_idx, n_threads, &begin, &end);
    for (uint32_t i = 0; i < order->n_active; i++) {
        uint32_t expert = order->active[i];
        for (uint64_t o = begin; o < end; o++) {
            dequantise(a->gate, expert, o, gate_row);
            dequantise(a->up, expert, o, up_row);
            for (uint32_t j = order->begin[expert]; j < order->begin[expert + 1]; j++) {
                uint32_t pair = order->pairs[j];
                const float *x = a->x->x + (uint64_t)(pair / a->top_k) * d_model;
                double g = (double)dot_ref(gate_row, x, a->whole);
                double u = (double)dot_ref(up_row, x, a->whole);
                a->gate_out[(uint64_t)pair * d_ff + o] = (float)(g / (1.0 + exp(-g)) * u);
            }
        }
    }
}

static void down_rows(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct experts_job *job = arg;
    const struct experts_args *a = job->a;
    const struct expert_order *order = &job->order;
    uint32_t d_ff = a->down->d_in, d_model = a->down->d_out;
    float *row = kernel_scratch(job->k, thread_idx); /* [d_ff] */
    uint64_t begin, end;
    thread_range(d_model, thread_idx, n_threads, &begin, &end);
    for (uint32_t i = 0; i < order->n_active; i++) {
        uint32_t expert = order->active[i];
        for (uint64_t o = begin; o < end; o++) {
            dequantise(a->down, expert, o, row);
            for (uint32_t j = order->begin[expert]; j < order->begin[expert + 1]; j++) {
                uint64_t pair = order->pairs[j];
                const float *hidden = a->gate_out + pair * d_ff;
                a->down_out[pair * d_model + o] = dot_ref(row, hidden, a->down_split);
            }
        }
    }
}

static void combine_rows(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct experts_job *job = arg;
    combine_share(job->a, &job->order, thread_idx, n_threads);
}

void experts_ref(struct kernel_ctx *k, const struct experts_args *a) {
    assert(2 * (uint64_t)a->x->d * sizeof(float) <= KERNEL_SCRATCH_BYTES);
    assert((uint64_t)a->down->d_in * sizeof(float) <= KERNEL_SCRATCH_BYTES);
    struct experts_job job = {.k = k, .a = a, .order = expert_order_build(a)};
    thread_pool_run(k->pool, hidden_rows, &job);
    thread_pool_run(k->pool, down_rows, &job);
    matmul_ref(k, a->beside, a->n_beside);
    thread_pool_run(k->pool, combine_rows, &job);
}
