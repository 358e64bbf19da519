/* SPDX-License-Identifier: Apache-2.0 */
/* Running an operation on the threads of the rank, or on the caller alone when it is so small that
 * waking the others would cost more than it saves. Tasks divide their work by fixed ranges and
 * their results do not depend on the number of threads, so the choice shows only in time. */
#ifndef SHOAL_KERNELS_DEVICE_PARALLEL_H
#define SHOAL_KERNELS_DEVICE_PARALLEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/thread_pool.h"
#include "kernels/device/context.h"

/* A meeting of all threads costs about 2 microseconds; in that time one of them passes over some
 * 16 thousand floats that lie in its caches. */
#define PARALLEL_FLOATS_MIN 16384u

/* `n_floats`: roughly how many are read. */
static inline void parallel_run(const struct kernel_ctx *k, thread_pool_task *task, void *arg,
                                uint64_t n_floats) {
    if (n_floats < PARALLEL_FLOATS_MIN)
        task(arg, 0, 1);
    else
        thread_pool_run(k->pool, task, arg);
}

/* Work of `n` units that threads take from the front, for operations whose threads do not advance
 * alike: experts have different numbers of tokens, and cores that share a memory different speeds.
 * Which thread takes a unit must not show in the result. */
struct work_list {
    _Atomic uint64_t next;
    uint64_t n;
};

/* The next consecutive units for a thread: a third of its even share of what is left, so that the
 * first turns are long (neighbours in memory stay in one hand, whose prefetches reach them) and the
 * last ones short; at least `least`. False if none are left. */
static inline bool work_take(struct work_list *list, uint32_t n_threads, uint64_t least,
                             uint64_t *begin, uint64_t *end) {
    uint64_t next = atomic_load_explicit(&list->next, memory_order_relaxed);
    do {
        if (next >= list->n)
            return false;
        uint64_t share = (list->n - next) / (3 * (uint64_t)n_threads);
        *begin = next;
        *end = next + (share > least ? share : least);
        *end = *end < list->n ? *end : list->n;
    } while (!atomic_compare_exchange_weak(&list->next, &next, *end));
    return true;
}

#endif
