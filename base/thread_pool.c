/* SPDX-License-Identifier: Apache-2.0 */
/* Two counters do everything: `epoch` is raised by the owner to start a run, `n_done` is raised
 * by each helper when its part is finished. Each lies on its own cache line, because one is
 * written by the owner and read by all, the other the reverse.
 *
 * Sleeping: a helper that has spun long enough raises `n_sleeping`, then waits on `epoch` with
 * FUTEX_WAIT, which returns at once if the epoch has moved in between; so no wake-up is lost. The
 * owner wakes only if somebody sleeps. The owner itself waits for `n_done` in the same manner. */
#include "base/thread_pool.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a thread spins before it sleeps: longer than the gap between two operations of a step,
 * shorter than anything a person or a scheduler would notice. Sleeping and being woken costs tens
 * of microseconds, more where the cores are virtual. With more threads than cores spinning only
 * keeps the one that has work from running, so then it is 0. */
#define SPIN_NS 80000

struct thread_pool {
    _Alignas(64) _Atomic uint32_t epoch;
    _Atomic uint32_t n_sleeping;
    thread_pool_task *task;
    void *arg;
    bool stop;
    _Alignas(64) _Atomic uint32_t n_done;
    _Atomic uint32_t owner_sleeps;
    _Alignas(64) uint32_t n_threads;
    uint32_t spin_rounds;
    uint32_t n_started; /* helpers */
    struct helper *helpers;
};

struct helper {
    struct thread_pool *pool;
    pthread_t thread;
    uint32_t idx;
};

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* How many rounds of waiting SPIN_NS are: a pause takes 10 to 60 ns, after the processor. */
static uint32_t spin_rounds_here(void) {
    enum { ROUNDS = 1000 };
    uint64_t begin = clock_ns();
    for (int i = 0; i < ROUNDS; i++)
        cpu_relax();
    uint64_t ns = clock_ns() - begin;
    return (uint32_t)((uint64_t)SPIN_NS * ROUNDS / (ns > ROUNDS ? ns : ROUNDS));
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, THREAD_POOL_THREADS_MAX, NULL, NULL, 0);
}

/* Waits until *word is not `seen`. */
static void wait_change(_Atomic uint32_t *word, uint32_t seen, _Atomic uint32_t *n_sleeping,
                        uint32_t spin_rounds) {
    for (uint32_t i = 0; i < spin_rounds; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen)
            return;
        cpu_relax();
    }
    while (atomic_load(word) == seen) {
        atomic_fetch_add(n_sleeping, 1);
        futex_wait(word, seen);
        atomic_fetch_sub(n_sleeping, 1);
    }
}

static void *helper_main(void *arg) {
    struct helper *helper = arg;
    struct thread_pool *pool = helper->pool;
    uint32_t seen = 0;
    for (;;) {
        wait_change(&pool->epoch, seen, &pool->n_sleeping, pool->spin_rounds);
        seen++;
        if (pool->stop)
            return NULL;
        pool->task(pool->arg, helper->idx, pool->n_threads);
        uint32_t done = atomic_fetch_add(&pool->n_done, 1) + 1;
        if (done == pool->n_threads - 1 && atomic_load(&pool->owner_sleeps))
            futex_wake_all(&pool->n_done);
    }
}

static void raise_epoch(struct thread_pool *pool) {
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->n_sleeping))
        futex_wake_all(&pool->epoch);
}

static void pin_thread(pthread_t thread, uint32_t idx) {
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    uint32_t nth = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && nth++ == idx) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(thread, sizeof one, &one);
            return;
        }
    }
}

enum status thread_pool_open(struct thread_pool **out, const struct thread_pool_options *options,
                             struct error *err) {
    uint32_t n = options->n_threads;
    if (n < 1 || n > THREAD_POOL_THREADS_MAX)
        return error_set(err, ERR_LIMIT, "%u threads: 1 to %u are possible", n,
                         THREAD_POOL_THREADS_MAX);
    struct thread_pool *pool = aligned_alloc(64, sizeof *pool);
    struct helper *helpers = calloc(n, sizeof *helpers);
    if (!pool || !helpers) {
        free(pool);
        free(helpers);
        return error_set(err, ERR_NOMEM, "no memory for %u threads", n);
    }
    memset(pool, 0, sizeof *pool);
    pool->n_threads = n;
    pool->helpers = helpers;
    pool->spin_rounds = n > 1 && n <= cpu_count() ? spin_rounds_here() : 0;
    bool pin = options->pin && n <= cpu_count();
    for (uint32_t i = 1; i < n; i++) {
        struct helper *helper = &helpers[i];
        *helper = (struct helper){.pool = pool, .idx = i};
        int failed = pthread_create(&helper->thread, NULL, helper_main, helper);
        if (failed) {
            thread_pool_close(pool);
            return error_set(err, ERR_IO, "thread %u of %u: %s", i, n, strerror(failed));
        }
        pool->n_started++;
        if (pin)
            pin_thread(helper->thread, i);
    }
    *out = pool;
    return OK;
}

void thread_pool_close(struct thread_pool *pool) {
    if (!pool)
        return;
    pool->stop = true;
    raise_epoch(pool);
    for (uint32_t i = 1; i <= pool->n_started; i++)
        pthread_join(pool->helpers[i].thread, NULL);
    free(pool->helpers);
    free(pool);
}

void thread_pool_run(struct thread_pool *pool, thread_pool_task *task, void *arg) {
    uint32_t n_helpers = pool->n_threads - 1;
    if (n_helpers == 0) {
        task(arg, 0, 1);
        return;
    }
    pool->task = task;
    pool->arg = arg;
    atomic_store(&pool->n_done, 0);
    raise_epoch(pool);
    task(arg, 0, pool->n_threads);
    for (;;) {
        uint32_t done = atomic_load_explicit(&pool->n_done, memory_order_acquire);
        if (done == n_helpers)
            return;
        wait_change(&pool->n_done, done, &pool->owner_sleeps, pool->spin_rounds);
    }
}

uint32_t thread_pool_n_threads(const struct thread_pool *pool) {
    return pool->n_threads;
}

uint32_t cpu_count(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        int n = CPU_COUNT(&allowed);
        if (n > 0)
            return (uint32_t)n;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}
