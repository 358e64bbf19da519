/* SPDX-License-Identifier: Apache-2.0 */
/* Running an operation on the threads of the rank, or on the caller alone when it is so small that
 * waking the others would cost more than it saves. Tasks divide their work by fixed ranges and
 * their results do not depend on the number of threads, so the choice shows only in time. */
#ifndef SHOAL_KERNELS_DEVICE_PARALLEL_H
#define SHOAL_KERNELS_DEVICE_PARALLEL_H

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

#endif
