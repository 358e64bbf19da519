/* SPDX-License-Identifier: Apache-2.0 */
/* What dispatch and combine share: rows that travel, and the roots of their experts' sums. */
#ifndef SHOAL_WORKER_COMM_EXCHANGE_EXPERTS_H
#define SHOAL_WORKER_COMM_EXCHANGE_EXPERTS_H

#include "worker/comm/exchange_state.h"

/* Rows of a message or of what a rank carries; ids of a row. */
static inline const unsigned char *exchange_row(const struct exchange *ex,
                                                const unsigned char *message, uint32_t row) {
    return message + sizeof(struct exchange_header) + (uint64_t)row * ex->limits.row.bytes;
}
static inline const uint32_t *exchange_row_ids(const struct exchange *ex,
                                               const unsigned char *row) {
    return (const uint32_t *)(const void *)(row + ex->limits.row.ids);
}

/* Home rows that a rank of the attention group carries. */
static inline struct index_range exchange_carried(const struct exchange *ex, uint32_t tp_idx) {
    uint64_t begin, end;
    thread_range(ex->n_home_rows, tp_idx, ex->n_tp, &begin, &end);
    return (struct index_range){.begin = (uint32_t)begin, .end = (uint32_t)end};
}

/* Roots that the holder of the buckets `own` has of a row. Looks at the ids from *choice on and
 * leaves it behind the last that is before own.end; roots[i].leaf is for the next fold. */
static inline uint32_t exchange_row_roots(const struct exchange *ex, const uint32_t *ids,
                                          struct leaf_range own, uint32_t *choice,
                                          struct tree_term roots[EXPERT_TOP_K_MAX]) {
    struct tree_add adds[EXPERT_TOP_K_MAX];
    uint32_t n = 0, s = *choice;
    for (; s < ex->options.top_k && ex->bucket_of[ids[s]] < own.end; s++) {
        if (ex->bucket_of[ids[s]] >= own.begin)
            roots[n++] = (struct tree_term){.leaf = ex->bucket_of[ids[s]], .term = s};
    }
    *choice = s;
    return n > 1 ? tree_fold(EXPERT_BUCKETS, own, roots, n, adds) : n;
}

/* How many, of all of a row's ids. */
static inline uint32_t exchange_count_roots(const struct exchange *ex, const uint32_t *ids,
                                            struct leaf_range own) {
    struct tree_term roots[EXPERT_TOP_K_MAX];
    uint32_t choice = 0;
    return exchange_row_roots(ex, ids, own, &choice, roots);
}

#endif
