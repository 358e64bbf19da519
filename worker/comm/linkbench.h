/* SPDX-License-Identifier: Apache-2.0 */
/* What the links of a group deliver, in time and in values.
 *
 *     pairs        every two ranks, by shared memory in a node, by messages between nodes:
 * ping-pong collectives  all ranks, and the ranks of each node: all-gather, and sum of small
 * integers
 *
 * Each message is a pattern of its pair, size and round, and is compared at its destination: links
 * have passed tests of bandwidth that delivered nothing. To the times of the sizes the line
 * time = alpha + bytes / beta is fitted by least squares of the relative errors.
 *
 * Up to LINKBENCH_ALONE_RANKS ranks each pair runs while all others sleep; above that, pairs that
 * share no rank run together, which is what a step does to links, too.
 *
 * Collective, engine thread; the results are the same on all ranks. */
#ifndef SHOAL_WORKER_COMM_LINKBENCH_H
#define SHOAL_WORKER_COMM_LINKBENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "worker/comm/group.h"

#define LINKBENCH_SIZES_MAX   9
#define LINKBENCH_BYTES_MAX   (64u << 20)
#define LINKBENCH_ALONE_RANKS 16

struct linkbench_options {
    uint64_t sizes[LINKBENCH_SIZES_MAX]; /* bytes, rising, multiples of 8 */
    uint32_t n_sizes;                    /* at least 1 */
    uint32_t n_rounds;                   /* of each size, at least 1 */
};
/* At every start: some milliseconds per pair. */
struct linkbench_options linkbench_short(void);
/* 1 KB to 64 MB. */
struct linkbench_options linkbench_full(void);

enum linkbench_kind {
    LINKBENCH_PAIR,
    LINKBENCH_ALL_GATHER, /* of so many bytes in all */
    LINKBENCH_SUM,        /* of vectors of so many bytes */
};
const char *linkbench_kind_name(enum linkbench_kind kind); /* "all-gather" */

struct linkbench_row {
    enum linkbench_kind kind;
    uint32_t first, last;           /* the pair; or the ranks first .. last */
    bool between_nodes;             /* messages, not shared memory alone */
    double us[LINKBENCH_SIZES_MAX]; /* median; a pair: one way. NAN: too slow to be measured */
    double alpha_us, beta_gb_s;     /* beta: infinite where time does not grow */
};

struct linkbench_results {
    uint64_t sizes[LINKBENCH_SIZES_MAX];
    uint32_t n_sizes, n_rows;
    struct linkbench_row *rows; /* [n_rows] pairs first; owned */
};

/* ERR_COMM: a wrong value (text: who, size, round, what was sent and what came), or a rank that did
 * not answer; ERR_NOMEM. The parts of the group's windows are in use, and gone when it returns. */
enum status linkbench_run(struct group *group, const struct linkbench_options *options,
                          struct linkbench_results *results, struct error *err);
void linkbench_results_free(struct linkbench_results *results); /* safe on a zeroed struct */

#endif
