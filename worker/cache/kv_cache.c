/* SPDX-License-Identifier: Apache-2.0 */
/* One mapping, a stack of free pages. Released pages are reused first, while they are in cache. */
#include "worker/cache/kv_cache.h"

#include "base/size.h"
#include "worker/cache/mapping.h"

#include <assert.h>

enum status kv_cache_init(struct kv_cache *kv, const struct kv_cache_options *options,
                          struct arena *arena, struct error *err) {
    *kv = (struct kv_cache){.options = *options};
    kv->page_bytes = (size_t)options->n_layers * 2 * options->n_kv_heads * KV_PAGE_TOKENS *
                     dtype_row_bytes(options->dtype, options->d_head);
    uint64_t bytes;
    if (!size_mul(kv->page_bytes, options->n_pages, &bytes))
        return error_set(err, ERR_LIMIT, "kv cache: %u pages of %zu bytes are too many",
                         options->n_pages, kv->page_bytes);
    kv->free_stack = arena_array(arena, options->n_pages, sizeof *kv->free_stack);
    if (!kv->free_stack)
        return error_set(err, ERR_NOMEM, "kv cache: no memory for %u pages", options->n_pages);
    TRY(mapping_take_huge((void **)&kv->pages, bytes, "kv cache", err));
    kv->bytes = bytes;
    for (uint32_t i = 0; i < options->n_pages; i++)
        kv->free_stack[i] = options->n_pages - 1 - i;
    kv->n_free = options->n_pages;
    return OK;
}

void kv_cache_free(struct kv_cache *kv) {
    mapping_give_back(kv->pages, kv->bytes);
    *kv = (struct kv_cache){0};
}

uint32_t kv_cache_acquire(struct kv_cache *kv) {
    assert(kv->n_free > 0);
    return kv->free_stack[--kv->n_free];
}

void kv_cache_release(struct kv_cache *kv, uint32_t page) {
    assert(page < kv->options.n_pages && kv->n_free < kv->options.n_pages);
    kv->free_stack[kv->n_free++] = page;
}

struct kv_layer kv_cache_layer(const struct kv_cache *kv, uint32_t layer_idx) {
    assert(layer_idx < kv->options.n_layers);
    return (struct kv_layer){.pages = kv->pages,
                             .page_bytes = kv->page_bytes,
                             .layer_offset = kv->page_bytes / kv->options.n_layers * layer_idx,
                             .dtype = kv->options.dtype,
                             .n_kv_heads = kv->options.n_kv_heads,
                             .d_head = kv->options.d_head};
}
