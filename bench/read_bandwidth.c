/* SPDX-License-Identifier: Apache-2.0 */
/* A sum over a large buffer, with as many loads in flight as a core can have. */
#include "bench/read_bandwidth.h"

#include "base/clock.h"
#include "base/size.h"
#include "bench/median.h"
#include "worker/cache/mapping.h"
#include "worker/memory_probe.h"

#include <stdlib.h>
#include <unistd.h>

#define BUFFER_BYTES_MIN (256ull << 20)
#define BUFFER_BYTES_MAX (2ull << 30)
#define STREAMS          8
#define LINE_WORDS       8  /* a cache line */
#define PARTS            16 /* of a pass, each timed alone */

struct read_bandwidth {
    struct thread_pool *pool; /* borrowed */
    uint64_t *words;
    uint64_t n_words;                       /* a multiple of PARTS * STREAMS * LINE_WORDS */
    uint64_t part;                          /* the one that is read now */
    uint64_t sums[THREAD_POOL_THREADS_MAX]; /* kept, so that the reads are not optimised away */
};

/* Makes every page real, near the thread that will read it. */
static void write_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct read_bandwidth *r = arg;
    uint64_t begin, end;
    thread_range(r->n_words / (STREAMS * LINE_WORDS), thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin * STREAMS * LINE_WORDS; i < end * STREAMS * LINE_WORDS; i++)
        r->words[i] = i;
}

/* Eight places at once, each asked for 1 KiB ahead: one stream alone leaves a quarter of the
 * bandwidth unused (12.6 against 15.8 GB/s on one thread of a Sapphire Rapids server). */
static void read_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct read_bandwidth *r = arg;
    uint64_t begin, end, sum[LINE_WORDS] = {0};
    uint64_t part_words = r->n_words / PARTS;
    thread_range(part_words / (STREAMS * LINE_WORDS), thread_idx, n_threads, &begin, &end);
    uint64_t stride = (end - begin) * LINE_WORDS; /* words between the streams of this thread */
    const uint64_t *first = r->words + r->part * part_words + begin * STREAMS * LINE_WORDS;
    for (uint64_t i = 0; i < stride; i += LINE_WORDS) {
        for (uint64_t stream = 0; stream < STREAMS; stream++) {
            const uint64_t *line = first + stream * stride + i;
            __builtin_prefetch(line + 1024 / sizeof *line);
            for (int word = 0; word < LINE_WORDS; word++)
                sum[word] += line[word];
        }
    }
    for (int word = 0; word < LINE_WORDS; word++)
        r->sums[thread_idx] += sum[word];
}

enum status read_bandwidth_open(struct read_bandwidth **out, struct thread_pool *pool,
                                struct error *err) {
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    uint64_t bytes = 4 * (cache > 0 ? (uint64_t)cache : 0);
    if (bytes < BUFFER_BYTES_MIN)
        bytes = BUFFER_BYTES_MIN;
    if (bytes > BUFFER_BYTES_MAX)
        bytes = BUFFER_BYTES_MAX;
    while (bytes > BUFFER_BYTES_MIN && bytes > memory_available_bytes() / 2)
        bytes /= 2;
    bytes = align_up(bytes, PARTS * STREAMS * LINE_WORDS * sizeof(uint64_t));
    struct read_bandwidth *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NOMEM, "read bandwidth: no memory");
    enum status status = mapping_take((void **)&r->words, bytes, "read bandwidth", err);
    if (status != OK) {
        free(r);
        return status;
    }
    r->pool = pool;
    r->n_words = bytes / sizeof *r->words;
    thread_pool_run(pool, write_task, r);
    *out = r;
    return OK;
}

void read_bandwidth_close(struct read_bandwidth *reader) {
    if (reader)
        mapping_give_back(reader->words, reader->n_words * sizeof *reader->words);
    free(reader);
}

double read_bandwidth_pass(struct read_bandwidth *reader) {
    double rates[PARTS];
    for (reader->part = 0; reader->part < PARTS; reader->part++) {
        uint64_t begin = clock_ns();
        thread_pool_run(reader->pool, read_task, reader);
        rates[reader->part] =
            (double)(reader->n_words / PARTS * sizeof *reader->words) / clock_seconds_since(begin);
    }
    return median(rates, PARTS);
}
