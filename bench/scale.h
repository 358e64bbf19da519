/* SPDX-License-Identifier: Apache-2.0 */
/* What more ranks bring: from runs of one test on groups of different sizes to speed-up, efficiency
 * and where the time went. Plain arithmetic.
 *
 *     strong   the same sequences on more ranks      speed-up = t/s of P ranks / t/s of one
 *     weak     P times as many sequences on P ranks  efficiency = speed-up / P, both times
 *
 * A speed-up is the median of those of the rounds, in each of which all groups ran one after the
 * other: what drifts between rounds falls out. */
#ifndef SHOAL_BENCH_SCALE_H
#define SHOAL_BENCH_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/model_bench.h"
#include "plan/shard_plan.h"
#include "worker/engine.h"

#define SCALE_ROUNDS_MAX 1000u
#define SCALE_SIZES_MAX  12u /* of groups: 1, 2, 4 ... 1024 and one between */

/* Where the time of the ranks goes. */
enum scale_part {
    SCALE_COMPUTE,  /* the network itself */
    SCALE_SUM,      /* adding what ranks made of one product, with columns and slices */
    SCALE_DISPATCH, /* tokens to their experts */
    SCALE_COMBINE,  /* results back and added */
    SCALE_LOGITS,   /* to the leader */
    SCALE_WAIT,     /* for ranks that are later, and for messages on their way */
    SCALE_HOST,     /* between steps: the leader's decisions and the plan it sends */
    SCALE_PARTS_N,
};
const char *scale_part_name(enum scale_part part); /* "compute" */

/* One run of a test by one group. What is not known is NAN. */
struct scale_run {
    struct model_bench_case test;
    uint32_t n_ranks, round;
    double tokens_per_s;
    double shares[SCALE_PARTS_N];  /* of the time of all ranks; together 1 */
    double expert_load;            /* rows of the busiest rank's experts / mean of the ranks */
    double bytes_per_token;        /* read by all ranks */
    double sent_bytes_per_token;   /* to other nodes */
    double read_bytes_per_s;       /* of the machine with as many threads, before the run */
    double predicted_tokens_per_s; /* of generation: the busiest rank's bytes at its part of that
                                      bandwidth, and the time between steps */
};

/* What was observed of a run. */
struct scale_observed {
    double seconds;
    uint64_t n_tokens;                      /* of all sequences */
    const struct engine_rank_report *ranks; /* [n_ranks] of these seconds */
    double read_bytes_per_s;                /* NAN: unknown */
};
/* Fills what follows from it; test, n_ranks and round are given. */
void scale_run_evaluate(struct scale_run *run, const struct scale_observed *observed);

/* 1, 2, 4 ... below n_ranks, and n_ranks (1..PLAN_RANKS_MAX); returns how many. */
uint32_t scale_group_sizes(uint32_t n_ranks, uint32_t sizes[SCALE_SIZES_MAX]);

/* A test on one size of group, all rounds together: medians; of the shares the mean, because
 * medians would not add up to 1. */
struct scale_point {
    uint32_t n_ranks, n_seqs, n_rounds;
    double samples[SCALE_ROUNDS_MAX]; /* tokens per second */
    double tokens_per_s, speedup, efficiency;
    double shares[SCALE_PARTS_N];
    double expert_load, bytes_per_token, sent_bytes_per_token, read_bytes_per_s;
    double predicted_tokens_per_s;
    double prediction_error; /* predicted / measured - 1 */
};

struct scale_series {
    struct model_bench_case test; /* as on one rank */
    bool is_weak;
    uint32_t n_points;
    struct scale_point points[SCALE_SIZES_MAX]; /* in order of ranks */
};

/* Fills the points of `series`, whose test and is_weak say which runs belong to it. Rounds in which
 * one rank alone did not run have no speed-up and are left out. */
void scale_series_make(struct scale_series *series, const struct scale_run *runs, uint32_t n_runs);

#endif
