/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of keys and values for every live sequence of this rank.
 *
 * A page holds KV_PAGE_TOKENS consecutive positions for all attention layers of the rank:
 *     page -> [n_layers][a layer's keys and values, as attention.h lays them out]
 * The trunk's attention layers come first, then the MTP block's. Owned by the engine thread. All
 * memory is taken in init; pages that nobody has touched cost nothing. */
#ifndef SHOAL_WORKER_CACHE_KV_CACHE_H
#define SHOAL_WORKER_CACHE_KV_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "kernels/attention/attention.h"
#include "tensor/dtype.h"

struct kv_cache_options {
    uint32_t n_pages;
    uint32_t n_layers, n_kv_heads, d_head;
    enum dtype dtype; /* F32, F16 or BF16 */
};

struct kv_cache {
    struct kv_cache_options options;
    unsigned char *pages; /* mapped */
    size_t page_bytes, bytes;
    uint32_t n_free;
    uint32_t *free_stack; /* [n_pages], in the arena given to init */
};

/* ERR_NOMEM: the pages do not fit; the text says how many bytes were asked for. */
enum status kv_cache_init(struct kv_cache *kv, const struct kv_cache_options *options,
                          struct arena *arena, struct error *err);
void kv_cache_free(struct kv_cache *kv); /* safe on a zeroed struct */

/* A page of undefined content; there must be one (n_free > 0). */
uint32_t kv_cache_acquire(struct kv_cache *kv);
void kv_cache_release(struct kv_cache *kv, uint32_t page);

/* Where layer `layer_idx` (counting attention layers) lies in every page. */
struct kv_layer kv_cache_layer(const struct kv_cache *kv, uint32_t layer_idx);

#endif
