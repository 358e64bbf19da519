/* SPDX-License-Identifier: Apache-2.0 */
/* The buffer is larger than what a rank may call its own of a last cache level; all ranks begin
 * together and read for the same time, so that nobody measures an idle machine. The fastest round
 * counts: the others were disturbed. */
#include "worker/capacity.h"

#include "base/clock.h"
#include "base/thread_pool.h"
#include "worker/cache/mapping.h"

#include <stdatomic.h>
#include <string.h>

#define BUFFER_BYTES (64u << 20)
#define CHUNK_BYTES  (256u << 10) /* between two looks at the clock */
#define N_ROUNDS     5
#define ROUND_NS     8000000u

#define QUARTERS 4

struct reading {
    unsigned char *buffer;
    _Atomic uint64_t bytes;
    _Atomic uint64_t sum; /* so that nothing read can be left out */
};

/* First touched by the thread that reads it. */
static void fill_part(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct reading *r = arg;
    uint64_t begin, end;
    thread_range(BUFFER_BYTES, thread_idx, n_threads, &begin, &end);
    memset(r->buffer + begin, 1, end - begin);
}

static uint64_t sum_chunk(const unsigned char *at, uint64_t n_bytes) {
    uint64_t sums[4] = {0};
    for (uint64_t i = 0; i + sizeof sums <= n_bytes; i += sizeof sums) {
        uint64_t words[4];
        memcpy(words, at + i, sizeof words);
        for (int k = 0; k < 4; k++)
            sums[k] += words[k];
    }
    return sums[0] + sums[1] + sums[2] + sums[3];
}

static void read_part(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct reading *r = arg;
    uint64_t begin, end, bytes = 0, sum = 0, start = clock_ns();
    thread_range(BUFFER_BYTES, thread_idx, n_threads, &begin, &end);
    while (clock_ns() - start < ROUND_NS) {
        for (uint64_t at = begin; at < end && clock_ns() - start < ROUND_NS; at += CHUNK_BYTES) {
            uint64_t n = end - at < CHUNK_BYTES ? end - at : CHUNK_BYTES;
            sum += sum_chunk(r->buffer + at, n);
            bytes += n;
        }
    }
    r->bytes += bytes;
    r->sum += sum;
}

enum status capacity_measure(struct group *group, uint32_t n_threads, double *bytes_per_s,
                             struct error *err) {
    struct thread_pool_options options = {.n_threads = n_threads};
    struct thread_pool *pool = NULL;
    struct reading reading = {0};
    void *buffer = NULL;
    enum status status = thread_pool_open(&pool, &options, err);
    if (status == OK)
        status = mapping_take(&buffer, BUFFER_BYTES, "measuring memory", err);
    if (status == OK) {
        reading.buffer = buffer;
        thread_pool_run(pool, fill_part, &reading);
    }
    status = group_agree(group, status, err); /* all have filled theirs: they begin together */
    *bytes_per_s = 0;
    for (int round = 0; status == OK && round < N_ROUNDS; round++) {
        uint64_t begin = clock_ns();
        reading.bytes = 0;
        thread_pool_run(pool, read_part, &reading);
        double speed = (double)reading.bytes / clock_seconds_since(begin);
        if (speed > *bytes_per_s)
            *bytes_per_s = speed;
    }
    mapping_give_back(buffer, BUFFER_BYTES);
    thread_pool_close(pool);
    return status;
}

enum status capacity_share(struct group *group, double bytes_per_s, struct plan_rank *ranks,
                           struct error *err) {
    double all[PLAN_RANKS_MAX], best = 0;
    TRY(group_all_gather(group, &bytes_per_s, sizeof bytes_per_s, all, err));
    for (uint32_t begin = 0, end; begin < group->n_ranks; begin = end) {
        double sum = 0;
        for (end = begin;
             end < group->n_ranks && group->ranks[end].node == group->ranks[begin].node; end++)
            sum += all[end];
        for (uint32_t i = begin; i < end; i++)
            ranks[i] =
                (struct plan_rank){.node = group->ranks[i].node, .capacity = sum / (end - begin)};
        if (ranks[begin].capacity > best)
            best = ranks[begin].capacity;
    }
    for (uint32_t i = 0; i < group->n_ranks; i++) {
        uint32_t quarters = (uint32_t)(ranks[i].capacity / best * QUARTERS + 0.5);
        ranks[i].capacity = quarters > 0 ? quarters : 1;
    }
    return OK;
}
