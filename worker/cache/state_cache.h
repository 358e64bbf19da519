/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent states of the delta-net layers: one slot of fixed size per live sequence.
 *
 *     slot -> [n_layers][ conv [3, conv_dim] | state [n_v_heads, d_k * d_v] ]      F32
 *
 * Slots are indices and never move. Owned by the engine thread; all memory is taken in init. */
#ifndef SHOAL_WORKER_CACHE_STATE_CACHE_H
#define SHOAL_WORKER_CACHE_STATE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct state_cache_options {
    uint32_t n_slots, n_layers;
    uint32_t conv_dim;
    uint64_t state_floats; /* n_v_heads * d_k * d_v */
};

struct state_cache {
    struct state_cache_options options;
    unsigned char *slots; /* mapped; NULL if there are no layers */
    size_t slot_bytes, layer_floats;
};

/* ERR_NOMEM. */
enum status state_cache_init(struct state_cache *cache, const struct state_cache_options *options,
                             struct error *err);
void state_cache_free(struct state_cache *cache); /* safe on a zeroed struct */

/* The state of a sequence that has no tokens: zeros. They are written, although new memory has
 * them: a page that a step reads before it writes it is first mapped to the system's page of zeros
 * and then, page by page, to one of its own, which took the first token of a sequence 60 ms. */
void state_cache_clear(struct state_cache *cache, uint32_t slot);

float *state_cache_conv(const struct state_cache *cache, uint32_t slot, uint32_t layer_idx);
float *state_cache_state(const struct state_cache *cache, uint32_t slot, uint32_t layer_idx);

#endif
