/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of attention.h, without splits: the largest score first, then one sum over all
 * positions in double. Scores are computed twice, because a context has no largest length that
 * scratch could hold. */
#include "kernels/attention/attention.h"

#include "tensor/f16.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Element i of the key (which 0) or value (which 1) at a position. */
static double kv_element(const struct kv_layer *kv, const uint32_t *pages, uint32_t which,
                         uint32_t head, uint32_t pos, uint32_t i) {
    size_t head_begin = ((size_t)which * kv->n_kv_heads + head) * KV_PAGE_TOKENS * kv->d_head;
    size_t slot = pos % KV_PAGE_TOKENS;
    size_t element = head_begin + (which == 0 ? i * KV_PAGE_TOKENS + slot : slot * kv->d_head + i);
    const unsigned char *at = kv->pages + pages[pos / KV_PAGE_TOKENS] * kv->page_bytes +
                              kv->layer_offset + element * dtype_info(kv->dtype)->block_bytes;
    uint16_t half;
    float single;
    if (kv->dtype == DTYPE_F32) {
        memcpy(&single, at, sizeof single);
        return (double)single;
    }
    memcpy(&half, at, sizeof half);
    return (double)(kv->dtype == DTYPE_F16 ? f16_to_f32(half) : bf16_to_f32(half));
}

static double score(const struct attention_args *a, const uint32_t *pages, uint32_t kv_head,
                    uint32_t pos, const float *q) {
    double sum = 0;
    for (uint32_t i = 0; i < a->kv->d_head; i++)
        sum += q[i] * kv_element(a->kv, pages, 0, kv_head, pos, i);
    return a->scale * sum;
}

/* One head of one row that stands at `pos`. acc: [d_head], scratch. */
static void attend(const struct attention_args *a, const uint32_t *pages, uint32_t row,
                   uint32_t head, uint32_t pos, double *acc) {
    const struct kv_layer *kv = a->kv;
    uint32_t kv_head = (head + a->first_head) / a->heads_per_kv;
    const float *q = a->q + ((size_t)row * a->n_heads + head) * kv->d_head;
    float *out = a->out + ((size_t)row * a->n_heads + head) * kv->d_head;
    double largest = -INFINITY;
    for (uint32_t j = 0; j <= pos; j++)
        largest = fmax(largest, score(a, pages, kv_head, j, q));
    double sum = 0;
    memset(acc, 0, kv->d_head * sizeof *acc);
    for (uint32_t j = 0; j <= pos; j++) {
        double weight = exp(score(a, pages, kv_head, j, q) - largest);
        sum += weight;
        for (uint32_t i = 0; i < kv->d_head; i++)
            acc[i] += weight * kv_element(kv, pages, 1, kv_head, j, i);
    }
    for (uint32_t i = 0; i < kv->d_head; i++) {
        double y = acc[i] / sum;
        if (a->gate)
            y /= 1 +
                 exp((double)-a->gate[row * a->gate_token_stride + head * a->gate_head_stride + i]);
        out[i] = (float)y;
    }
}

void attention_ref(struct kernel_ctx *k, const struct attention_args *a) {
    double *acc = kernel_scratch(k, 0);
    assert(a->kv->d_head * sizeof *acc <= KERNEL_SCRATCH_BYTES);
    assert(a->n_heads == 0 ||
           (a->first_head + a->n_heads - 1) / a->heads_per_kv < a->kv->n_kv_heads);
    for (uint32_t e = 0; e < a->n_rows_entries; e++) {
        const struct kv_rows *rows = &a->rows[e];
        for (uint32_t r = 0; r < rows->n_rows; r++) {
            for (uint32_t h = 0; h < a->n_heads; h++)
                attend(a, rows->pages, rows->row_begin + r, h, rows->pos_begin + r, acc);
        }
    }
}
