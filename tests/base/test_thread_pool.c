/* SPDX-License-Identifier: Apache-2.0 */
/* Every thread runs every task once, results are visible to the caller, and nobody is lost while
 * asleep. */
#include "base/thread_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct thread_pool *pool_of(uint32_t n_threads) {
    struct thread_pool *pool;
    struct error err;
    struct thread_pool_options options = {.n_threads = n_threads};
    if (thread_pool_open(&pool, &options, &err) != OK)
        fail_msg("%s", err.text);
    return pool;
}

struct counts {
    uint32_t by_thread[64]; /* plain: each is written by one thread, read after the run */
    uint32_t n_threads;
};

static void count_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct counts *counts = arg;
    counts->by_thread[thread_idx]++;
    if (thread_idx == 0)
        counts->n_threads = n_threads;
}

static void every_thread_runs_every_task_once(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= 9; n += 2) {
        struct thread_pool *pool = pool_of(n);
        struct counts counts = {0};
        assert_int_equal(thread_pool_n_threads(pool), n);
        for (uint32_t run = 1; run <= 500; run++) {
            thread_pool_run(pool, count_task, &counts);
            for (uint32_t i = 0; i < 64; i++)
                assert_int_equal(counts.by_thread[i], i < n ? run : 0);
        }
        assert_int_equal(counts.n_threads, n);
        thread_pool_close(pool);
    }
}

/* Long enough between runs that helpers have stopped spinning and sleep. */
static void sleeping_threads_are_woken(void **state) {
    (void)state;
    struct thread_pool *pool = pool_of(2);
    struct counts counts = {0};
    for (uint32_t run = 1; run <= 20; run++) {
        usleep(3000);
        thread_pool_run(pool, count_task, &counts);
        assert_int_equal(counts.by_thread[1], run);
    }
    thread_pool_close(pool);
}

static void slow_helper_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    (void)n_threads;
    if (thread_idx > 0) {
        usleep(3000);
        ((struct counts *)arg)->by_thread[thread_idx]++;
    }
}

/* The owner's turn to sleep. */
static void the_caller_waits_for_slow_helpers(void **state) {
    (void)state;
    struct thread_pool *pool = pool_of(3);
    struct counts counts = {0};
    for (uint32_t run = 1; run <= 20; run++) {
        thread_pool_run(pool, slow_helper_task, &counts);
        assert_int_equal(counts.by_thread[1], run);
        assert_int_equal(counts.by_thread[2], run);
    }
    thread_pool_close(pool);
}

struct sums {
    const uint32_t *x;
    uint64_t n, part[64];
};

static void sum_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct sums *sums = arg;
    uint64_t begin, end, sum = 0;
    thread_range(sums->n, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++)
        sum += sums->x[i];
    sums->part[thread_idx] = sum;
}

static void what_the_caller_wrote_before_is_seen_by_all(void **state) {
    (void)state;
    struct thread_pool *pool = pool_of(4);
    uint32_t *x = malloc(1000 * sizeof *x);
    for (uint32_t run = 0; run < 200; run++) {
        for (uint32_t i = 0; i < 1000; i++)
            x[i] = run + i;
        struct sums sums = {.x = x, .n = 1000};
        thread_pool_run(pool, sum_task, &sums);
        assert_int_equal(sums.part[0] + sums.part[1] + sums.part[2] + sums.part[3],
                         1000 * run + 999 * 1000 / 2);
    }
    free(x);
    thread_pool_close(pool);
}

static void ranges_cover_all_in_order_and_evenly(void **state) {
    (void)state;
    for (uint64_t n = 0; n < 40; n++) {
        for (uint32_t n_threads = 1; n_threads < 20; n_threads++) {
            uint64_t at = 0;
            for (uint32_t i = 0; i < n_threads; i++) {
                uint64_t begin, end;
                thread_range(n, i, n_threads, &begin, &end);
                assert_int_equal(begin, at);
                assert_true(end - begin == n / n_threads || end - begin == n / n_threads + 1);
                at = end;
            }
            assert_int_equal(at, n);
        }
    }
}

static void an_unused_pool_closes(void **state) {
    (void)state;
    for (uint32_t n = 1; n < 6; n++)
        thread_pool_close(pool_of(n));
    thread_pool_close(NULL);
}

static void a_pinned_pool_runs(void **state) {
    (void)state;
    struct thread_pool *pool;
    struct thread_pool_options options = {.n_threads = cpu_count(), .pin = 1};
    struct counts *counts = calloc(1, sizeof *counts);
    if (options.n_threads > 64)
        options.n_threads = 64;
    assert_int_equal(thread_pool_open(&pool, &options, NULL), OK);
    thread_pool_run(pool, count_task, counts);
    for (uint32_t i = 0; i < options.n_threads; i++)
        assert_int_equal(counts->by_thread[i], 1);
    thread_pool_close(pool);
    free(counts);
}

static void impossible_numbers_of_threads_are_refused(void **state) {
    (void)state;
    static const uint32_t numbers[] = {0, THREAD_POOL_THREADS_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct thread_pool *pool;
        struct error err;
        struct thread_pool_options options = {.n_threads = numbers[i]};
        assert_int_equal(thread_pool_open(&pool, &options, &err), ERR_LIMIT);
        assert_non_null(strstr(err.text, "1 to 512"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_every_task_once),
        cmocka_unit_test(sleeping_threads_are_woken),
        cmocka_unit_test(the_caller_waits_for_slow_helpers),
        cmocka_unit_test(what_the_caller_wrote_before_is_seen_by_all),
        cmocka_unit_test(ranges_cover_all_in_order_and_evenly),
        cmocka_unit_test(an_unused_pool_closes),
        cmocka_unit_test(a_pinned_pool_runs),
        cmocka_unit_test(impossible_numbers_of_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
