/* SPDX-License-Identifier: Apache-2.0 */
/* What an operation runs on: the threads of this rank and a piece of scratch for each.
 *
 * Scratch is taken once by the engine; a kernel uses it freely during one call and leaves nothing
 * in it. Kernels do not allocate, log, synchronise outside the pool, or read options. */
#ifndef SHOAL_KERNELS_DEVICE_CONTEXT_H
#define SHOAL_KERNELS_DEVICE_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/thread_pool.h"

/* Enough for every operation: the largest user is the fast matmul (a tile of weights, its scales
 * and 128 tokens' sums). Fits the second-level cache of every CPU we know. */
#define KERNEL_SCRATCH_BYTES (512u * 1024u)

struct kernel_ctx {
    struct thread_pool *pool;
    unsigned char *scratch; /* [n_threads][KERNEL_SCRATCH_BYTES], 64-byte aligned */
};

static inline void *kernel_scratch(const struct kernel_ctx *k, uint32_t thread_idx) {
    return k->scratch + (size_t)thread_idx * KERNEL_SCRATCH_BYTES;
}

#endif
