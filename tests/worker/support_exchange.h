/* SPDX-License-Identifier: Apache-2.0 */
/* A rank of a thread group with an exchange, and floats whose sums show their order. */
#ifndef SHOAL_TESTS_WORKER_SUPPORT_EXCHANGE_H
#define SHOAL_TESTS_WORKER_SUPPORT_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "tests/support/thread_group.h"
#include "worker/comm/exchange.h"

struct exchange_case {
    uint32_t n_ranks, n_nodes, n_groups;
    enum exchange_strategy strategy;
    uint32_t d_model, n_heads, n_experts, top_k, n_step_tokens, n_threads;
    bool whole_rows;
    bool uneven; /* capacities 1, 2, 3, 1, ... */
};

#define CASE_VOCAB      1000
#define CASE_LOGIT_ROWS 3

struct exchange_rank {
    const struct exchange_case *c;
    struct group *group;
    struct arena arena;
    struct shard_plan plan;
    const struct rank_share *own;
    uint32_t n_tp;
    struct thread_pool *pool;
    struct exchange *ex;
};

/* Collective; gives the windows their size. After an error there is nothing to close. */
enum status exchange_rank_open(struct exchange_rank *rank, struct group *group,
                               const struct exchange_case *c, struct error *err);
struct exchange_options exchange_rank_options(const struct exchange_rank *rank);
void exchange_rank_close(struct exchange_rank *rank);

/* Values of different magnitudes: two orders of adding eight of them rarely have the same bits. */
static inline float spread_float(uint64_t key, uint32_t i) {
    static const float scales[4] = {1, 5, 0.2f, 40};
    uint32_t bits = ((uint32_t)key + i) * 0x9e3779b1u;
    bits ^= bits >> 15;
    bits *= 0x85ebca77u;
    return ((float)(bits >> 8) * 0x1p-23f - 1) * scales[(key >> 32 ^ bits) & 3];
}

/* In a rank's thread, where cmocka's assertions must not be. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return error_set(err, ERR_INPUT, "%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
    } while (0)

#endif
