/* SPDX-License-Identifier: Apache-2.0 */
/* A rank's part of a matrix: which rows and columns of the file's it holds.
 *
 * Rows are cut where a product is column-parallel (in-projections, router, head): each output is a
 * sum of its own. Columns are cut where it is row-parallel (out- and down-projections): a rank
 * holds the columns of its parts of K (tensor/ksplit.h) and makes one product for each subtree of
 * the parts that is wholly its own. Alone, a rank holds everything and nothing is cut.
 *
 * Bound once, in the arena of the binding; read-only afterwards. */
#ifndef SHOAL_WORKER_FORWARD_CUT_H
#define SHOAL_WORKER_FORWARD_CUT_H

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "plan/shard_plan.h"
#include "tensor/ksplit.h"
#include "tensor/tensor.h"
#include "worker/comm/exchange.h"

/* Runs of rows or columns of the file's matrix, in the order in which they lie in ours. */
struct cut {
    const struct krun *runs;
    uint32_t n_runs; /* 0: all, as in the file */
};

/* A matrix with the split of its columns. Until the weights are loaded (worker/weights/), `w.data`
 * is the file's row 0, whatever was cut; `w.row_bytes` is of a row of ours. */
struct linear {
    struct matrix w;
    struct ksplit split;
    struct cut rows, columns;
    uint64_t file_row_bytes;
};

/* A product cut along K: its own columns, the products this rank makes of them, and how all come
 * together. A rank may have none (w.d_in 0). */
struct row_parallel {
    struct linear linear;
    struct exchange_sum_layout sum;
    struct ksplit roots[KSPLIT_PARTS]; /* [sum.n_own_roots], over the columns of ours */
};

/* Who else holds parts of a product: of rank i of the attention group, parts[i]. */
struct part_owners {
    const struct leaf_range *parts; /* [n_ranks] */
    uint32_t n_ranks, tp_idx;
};

/* Keeps only these rows; `runs` outlives the linear. */
void linear_keep_rows(struct linear *linear, const struct krun *runs, uint32_t n_runs);

/* The columns that own parts of `split` are made of, in order of columns, touching runs joined.
 * ERR_NOMEM. */
enum status cut_of_parts(struct cut *cut, const struct ksplit *split, struct leaf_range own,
                         struct arena *arena, struct error *err);
uint32_t cut_width(const struct cut *cut);

/* From the whole product (linear bound with its eight parts) to this rank's. ERR_NOMEM. */
enum status row_parallel_init(struct row_parallel *product, const struct linear *whole,
                              const struct part_owners *owners, struct arena *arena,
                              struct error *err);

/* Copies rows of a [*, width] table of the model, run by run; NULL stays NULL. ERR_NOMEM. */
enum status cut_copy_floats(const float **table, uint32_t width, const struct cut *rows,
                            struct arena *arena, struct error *err);

#endif
