/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of vectors by trees, row by row: what is done with the roots that ranks left for each other.
 *
 * The adds of a row are a list (tensor/tree.h) that depends only on who holds what; it is carried
 * out over the columns, so that every column has the same order of additions. Terms are memory of
 * others and are only read. Pure arithmetic; the rows are shared among the threads of a pool. */
#ifndef SHOAL_WORKER_COMM_ROW_SUM_H
#define SHOAL_WORKER_COMM_ROW_SUM_H

#include <stdint.h>

#include "base/thread_pool.h"
#include "tensor/tree.h"

#define ROW_SUM_TERMS_MAX 32 /* no fewer than EXPERT_TOP_K_MAX and KSPLIT_PARTS */

struct row_sum {
    uint32_t n_terms, n_adds, n_roots;
    const float *terms[ROW_SUM_TERMS_MAX];   /* [d] each */
    struct tree_add adds[ROW_SUM_TERMS_MAX]; /* of terms */
    uint32_t roots[ROW_SUM_TERMS_MAX];       /* terms in which sums end, in order of the tree */
};

/* Lists the sum of a row and says where its roots go: [n_roots, d], not overlapping any term. Any
 * thread of the pool. */
typedef float *row_sum_list(const void *user, uint32_t row, struct row_sum *sum);

struct row_sums {
    row_sum_list *list;
    const void *user;
    uint32_t row_begin, row_end;
    uint32_t d;
    uint32_t n_terms; /* of a row, roughly: decides whether threads are worth waking */
};
void row_sums_run(struct thread_pool *pool, const struct row_sums *sums);

/* Memory to memory, on the threads if it is much. */
struct row_copy {
    void *to;
    const void *from;
    uint64_t bytes;
};
void row_copies_run(struct thread_pool *pool, const struct row_copy *copies, uint32_t n);

#endif
