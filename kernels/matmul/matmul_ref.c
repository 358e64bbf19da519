/* SPDX-License-Identifier: Apache-2.0 */
/* The definition: every weight row is dequantised once per call, then multiplied with all tokens.
 * Threads share the rows of the matrix. */
#include "kernels/matmul/matmul.h"

#include <assert.h>

#include "kernels/matmul/dot_ref.h"
#include "kernels/quant/unpack.h"

struct matmul_job {
    struct kernel_ctx *k;
    const struct matmul_args *a;
};

static void matmul_rows(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct matmul_job *job = arg;
    const struct matmul_args *a = job->a;
    const struct matrix *w = a->w;
    float *row = kernel_scratch(job->k, thread_idx); /* [d_in] */
    uint64_t begin, end;
    thread_range(w->d_out, thread_idx, n_threads, &begin, &end);
    for (uint64_t o = begin; o < end; o++) {
        const unsigned char *data = w->data;
        quant_dequantise_row(w->dtype, data + o * w->row_bytes, w->d_in, row);
        for (uint32_t t = 0; t < a->x->n_tokens; t++) {
            const float *x = a->x->x + (uint64_t)t * w->d_in;
            a->y[t * a->y_stride + o] = dot_ref(row, x, a->split);
        }
    }
}

void matmul_ref(struct kernel_ctx *k, const struct matmul_args *products, uint32_t n) {
    assert(n <= MATMUL_PRODUCTS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        const struct matmul_args *a = &products[i];
        assert(a->x->d == a->w->d_in && a->y_stride >= a->w->d_out);
        assert(a->w->layout == MATRIX_ROWS);
        assert((uint64_t)a->w->d_in * sizeof(float) <= KERNEL_SCRATCH_BYTES);
        struct matmul_job job = {.k = k, .a = a};
        thread_pool_run(k->pool, matmul_rows, &job);
    }
}
