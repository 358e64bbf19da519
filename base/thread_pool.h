/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed threads of one worker: everybody runs the same function, then all meet.
 *
 *     thread_pool_run(pool, task, arg)  ->  task(arg, 0, n) .. task(arg, n-1, n)  ->  return
 *
 * The caller is thread 0. Between two runs the others spin for a short while and then sleep on a
 * futex, so that a step costs no system call and an idle worker costs no time. Work is divided by
 * the task itself, by fixed ranges of (thread_idx, n_threads): results must not depend on either.
 * One owner thread calls run; tasks must not call it again. */
#ifndef SHOAL_BASE_THREAD_POOL_H
#define SHOAL_BASE_THREAD_POOL_H

#include <stdint.h>

#include "base/error.h"

#define THREAD_POOL_THREADS_MAX 512

struct thread_pool; /* opaque: owns threads */

typedef void thread_pool_task(void *arg, uint32_t thread_idx, uint32_t n_threads);

/* n_threads 1..THREAD_POOL_THREADS_MAX, the caller included. ERR_LIMIT, ERR_NOMEM, or ERR_IO if
 * the system gives no more threads. `pin`: bind each thread but the caller's, which is not ours, to
 * one core of the process's set. */
struct thread_pool_options {
    uint32_t n_threads;
    int pin; /* 0 or 1; ignored when there are fewer cores than threads */
};
enum status thread_pool_open(struct thread_pool **out, const struct thread_pool_options *options,
                             struct error *err);
void thread_pool_close(struct thread_pool *pool); /* joins the threads; NULL is fine */

void thread_pool_run(struct thread_pool *pool, thread_pool_task *task, void *arg);
uint32_t thread_pool_n_threads(const struct thread_pool *pool);

/* Cores this process may use, at least 1. */
uint32_t cpu_count(void);

/* The part of 0..n-1 that thread `idx` of `n_threads` takes: [*begin, *end), in order, even. */
static inline void thread_range(uint64_t n, uint32_t idx, uint32_t n_threads, uint64_t *begin,
                                uint64_t *end) {
    *begin = n * idx / n_threads;
    *end = n * (idx + 1u) / n_threads;
}

#endif
