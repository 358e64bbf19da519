/* SPDX-License-Identifier: Apache-2.0 */
/* One mapping, cut evenly. */
#include "worker/cache/state_cache.h"

#include "base/size.h"
#include "worker/cache/mapping.h"

#include <assert.h>
#include <string.h>

enum status state_cache_init(struct state_cache *cache, const struct state_cache_options *options,
                             struct error *err) {
    *cache = (struct state_cache){.options = *options};
    cache->layer_floats = 3 * (size_t)options->conv_dim + options->state_floats;
    cache->slot_bytes =
        align_up((uint64_t)options->n_layers * cache->layer_floats * sizeof(float), 64);
    return mapping_take_huge((void **)&cache->slots, cache->slot_bytes * options->n_slots,
                             "recurrent states", err);
}

void state_cache_free(struct state_cache *cache) {
    mapping_give_back(cache->slots, cache->slot_bytes * cache->options.n_slots);
    *cache = (struct state_cache){0};
}

void state_cache_clear(struct state_cache *cache, uint32_t slot) {
    if (cache->slot_bytes)
        memset(cache->slots + slot * cache->slot_bytes, 0, cache->slot_bytes);
}

float *state_cache_conv(const struct state_cache *cache, uint32_t slot, uint32_t layer_idx) {
    assert(slot < cache->options.n_slots && layer_idx < cache->options.n_layers);
    float *base = (float *)(void *)(cache->slots + slot * cache->slot_bytes);
    return base + layer_idx * cache->layer_floats;
}

float *state_cache_state(const struct state_cache *cache, uint32_t slot, uint32_t layer_idx) {
    return state_cache_conv(cache, slot, layer_idx) + 3 * (size_t)cache->options.conv_dim;
}
