/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values of new tokens into their pages. One variant serves all: rounding to nearest
 * even has one answer, and the work is a thousandth of a step's. Pages are divided among the
 * threads, for the keys of neighbouring positions share lines of the caches. */
#include "kernels/attention/attention.h"

#include "kernels/device/parallel.h"
#include "tensor/f16.h"

#include <assert.h>

/* Rounds n floats to the cache's type; element i goes to place i * stride from `begin` on. */
static void store(unsigned char *layer, enum dtype dtype, size_t begin, size_t stride,
                  const float *from, uint32_t n) {
    float *single = (float *)(void *)layer + begin;
    uint16_t *half = (uint16_t *)(void *)layer + begin;
    if (dtype == DTYPE_F32) {
        for (uint32_t i = 0; i < n; i++)
            single[i * stride] = from[i];
    } else if (dtype == DTYPE_F16) {
        for (uint32_t i = 0; i < n; i++)
            half[i * stride] = f32_to_f16(from[i]);
    } else {
        for (uint32_t i = 0; i < n; i++)
            half[i * stride] = f32_to_bf16(from[i]);
    }
}

static void append_token(const struct kv_append_args *a, uint32_t page, uint32_t slot,
                         uint32_t token) {
    const struct kv_layer *kv = a->kv;
    size_t d = kv->d_head, head_elements = KV_PAGE_TOKENS * d;
    unsigned char *layer = kv->pages + page * kv->page_bytes + kv->layer_offset;
    for (uint32_t h = 0; h < kv->n_kv_heads; h++) {
        size_t from = ((size_t)token * kv->n_kv_heads + h) * d;
        size_t key = h * head_elements, value = (kv->n_kv_heads + h) * head_elements;
        store(layer, kv->dtype, key + slot, KV_PAGE_TOKENS, a->key + from, kv->d_head);
        store(layer, kv->dtype, value + slot * d, 1, a->value + from, kv->d_head);
    }
}

static void append_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct kv_append_args *a = arg;
    for (uint32_t e = 0; e < a->n_rows_entries; e++) {
        const struct kv_rows *rows = &a->rows[e];
        for (uint32_t r = 0; r < rows->n_rows; r++) {
            uint32_t token = rows->row_begin + r;
            uint32_t pos = rows->pos_begin + r;
            uint32_t page_idx = pos / KV_PAGE_TOKENS;
            if ((e + page_idx) % n_threads == thread_idx)
                append_token(a, rows->pages[page_idx], pos % KV_PAGE_TOKENS, token);
        }
    }
}

void kv_append_ref(struct kernel_ctx *k, const struct kv_append_args *a) {
    assert(a->kv->dtype == DTYPE_F32 || a->kv->dtype == DTYPE_F16 || a->kv->dtype == DTYPE_BF16);
    struct kv_append_args args = *a;
    uint64_t n_floats = 0;
    for (uint32_t e = 0; e < a->n_rows_entries; e++)
        n_floats += (uint64_t)2 * a->rows[e].n_rows * a->kv->n_kv_heads * a->kv->d_head;
    parallel_run(k, append_task, &args, n_floats);
}
