/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values of new tokens into their pages. One variant serves all: rounding to nearest
 * even has one answer, and the work is a thousandth of a step's. Tokens are divided among the
 * threads; no two of them share a place in a page. */
#include "kernels/attention/attention.h"

#include "tensor/f16.h"

#include <assert.h>
#include <string.h>

/* Rounds n floats to the cache's type at `to`. */
static void store(unsigned char *to, enum dtype dtype, const float *from, uint32_t n) {
    if (dtype == DTYPE_F32) {
        memcpy(to, from, n * sizeof *from);
        return;
    }
    uint16_t *half = (uint16_t *)(void *)to;
    for (uint32_t i = 0; i < n; i++)
        half[i] = dtype == DTYPE_F16 ? f32_to_f16(from[i]) : f32_to_bf16(from[i]);
}

static void append_token(const struct kv_append_args *a, uint32_t page, uint32_t slot,
                         uint32_t token) {
    const struct kv_layer *kv = a->kv;
    size_t row_bytes = dtype_row_bytes(kv->dtype, kv->d_head);
    unsigned char *layer = kv->pages + page * kv->page_bytes + kv->layer_offset;
    for (uint32_t h = 0; h < kv->n_kv_heads; h++) {
        size_t from = ((size_t)token * kv->n_kv_heads + h) * kv->d_head;
        size_t key_row = (size_t)h * KV_PAGE_TOKENS + slot;
        size_t value_row = ((size_t)kv->n_kv_heads + h) * KV_PAGE_TOKENS + slot;
        store(layer + key_row * row_bytes, kv->dtype, a->key + from, kv->d_head);
        store(layer + value_row * row_bytes, kv->dtype, a->value + from, kv->d_head);
    }
}

static void append_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct kv_append_args *a = arg;
    for (uint32_t e = 0; e < a->n_rows_entries; e++) {
        const struct kv_rows *rows = &a->rows[e];
        for (uint32_t r = 0; r < rows->n_rows; r++) {
            uint32_t token = rows->row_begin + r;
            uint32_t pos = rows->pos_begin + r;
            if (token % n_threads == thread_idx)
                append_token(a, rows->pages[pos / KV_PAGE_TOKENS], pos % KV_PAGE_TOKENS, token);
        }
    }
}

void kv_append_ref(struct kernel_ctx *k, const struct kv_append_args *a) {
    assert(a->kv->dtype == DTYPE_F32 || a->kv->dtype == DTYPE_F16 || a->kv->dtype == DTYPE_BF16);
    struct kv_append_args args = *a;
    thread_pool_run(k->pool, append_task, &args);
}
