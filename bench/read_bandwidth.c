/* SPDX-License-Identifier: Apache-2.0 */
/* Eight independent sums keep enough loads in flight; the compiler makes vectors of them. */
#include "bench/read_bandwidth.h"

#include "base/clock.h"
#include "worker/cache/mapping.h"
#include "worker/memory_probe.h"

#include <stdlib.h>
#include <unistd.h>

#define BUFFER_BYTES_MIN (256ull << 20)
#define BUFFER_BYTES_MAX (2ull << 30)
#define PASSES_MAX       64

struct reading {
    uint64_t *words;
    uint64_t n_words;                       /* a multiple of 8 */
    uint64_t sums[THREAD_POOL_THREADS_MAX]; /* kept, so that the reads are not optimised away */
};

/* Makes every page real, near the thread that will read it. */
static void write_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct reading *r = arg;
    uint64_t begin, end;
    thread_range(r->n_words / 8, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin * 8; i < end * 8; i++)
        r->words[i] = i;
}

static void read_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct reading *r = arg;
    uint64_t begin, end, sum[8] = {0};
    thread_range(r->n_words / 8, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin * 8; i < end * 8; i += 8) {
        for (int lane = 0; lane < 8; lane++)
            sum[lane] += r->words[i + lane];
    }
    for (int lane = 0; lane < 8; lane++)
        r->sums[thread_idx] += sum[lane];
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

enum status read_bandwidth_measure(struct thread_pool *pool, uint32_t n_passes,
                                   double *bytes_per_second, struct error *err) {
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    uint64_t bytes = 4 * (cache > 0 ? (uint64_t)cache : 0);
    if (bytes < BUFFER_BYTES_MIN)
        bytes = BUFFER_BYTES_MIN;
    if (bytes > BUFFER_BYTES_MAX)
        bytes = BUFFER_BYTES_MAX;
    while (bytes > BUFFER_BYTES_MIN && bytes > memory_available_bytes() / 2)
        bytes /= 2;
    struct reading *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NOMEM, "read bandwidth: no memory");
    enum status status = mapping_take((void **)&r->words, bytes, "read bandwidth", err);
    if (status == OK) {
        double rates[PASSES_MAX];
        r->n_words = bytes / sizeof *r->words / 8 * 8;
        thread_pool_run(pool, write_task, r);
        n_passes = n_passes < 1 ? 1 : n_passes > PASSES_MAX ? PASSES_MAX : n_passes;
        for (uint32_t i = 0; i < n_passes; i++) {
            uint64_t begin = clock_ns();
            thread_pool_run(pool, read_task, r);
            rates[i] = (double)bytes / clock_seconds_since(begin);
        }
        qsort(rates, n_passes, sizeof rates[0], compare_doubles);
        *bytes_per_second = rates[n_passes / 2];
        mapping_give_back(r->words, bytes);
    }
    free(r);
    return status;
}
