/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the link benchmark: its buffers, and the values that travel. */
#ifndef SHOAL_WORKER_COMM_LINKBENCH_STATE_H
#define SHOAL_WORKER_COMM_LINKBENCH_STATE_H

#include <stdint.h>

#include "base/error.h"
#include "base/rng.h"
#include "worker/comm/linkbench.h"

enum linkbench_tag { LINKBENCH_TAG_FIRST = 8 }; /* of group.h's own, below TRANSPORT_TAG_FREE */

struct linkbench {
    struct group *group;
    const struct linkbench_options *options;
    uint64_t *out, *in, *other; /* [buffer_bytes] private to the rank */
    uint64_t buffer_bytes;      /* of each, and of a part of the window */
};

/* One operation of one size: what is measured, and by whom. */
struct linkbench_trial {
    enum linkbench_kind kind;
    uint32_t first, last;
    uint64_t bytes;
};

/* This rank takes part in round `round`; *ns: how long it took (a pair: one way). A wrong value
 * goes to `wrong`, and the round still ends, so that nobody waits in vain; a broken link to `err`.
 */
enum status linkbench_pair(struct linkbench *bench, const struct linkbench_trial *trial,
                           uint32_t round, double *ns, struct error *wrong, struct error *err);
enum status linkbench_collective(struct linkbench *bench, const struct linkbench_trial *trial,
                                 uint32_t round, double *ns, struct error *wrong,
                                 struct error *err);

/* The words that rank `from` sends to rank `to` (all: UINT32_MAX). */
static inline uint64_t linkbench_key(uint32_t from, uint32_t to, uint64_t bytes, uint32_t round) {
    return rng_mix(((uint64_t)from << 32) + to) ^ rng_mix(bytes * 64 + round);
}

static inline void linkbench_fill(uint64_t *words, uint64_t bytes, uint64_t key) {
    for (uint64_t i = 0; i < bytes / 8; i++)
        words[i] = rng_u64(key, i);
}

#endif
