/* SPDX-License-Identifier: Apache-2.0 */
/* How long one operation takes, how near that is to what the machine can do, and how far its result
 * is from the reference. The ceiling is a roofline: the bytes that must come from memory at the
 * read bandwidth measured around the runs, or the operations at the peak of the instructions,
 * whichever takes longer (Williams, Waterman, Patterson 2009, "Roofline", CACM 52(4)). */
#ifndef SHOAL_BENCH_KERNEL_BENCH_H
#define SHOAL_BENCH_KERNEL_BENCH_H

#include "bench/compute_peak.h"
#include "bench/kernel_work.h"
#include "bench/read_bandwidth.h"

#define KERNEL_BENCH_REPETITIONS_MIN 20u
#define KERNEL_BENCH_REPETITIONS_MAX 1000u

enum kernel_bound { BOUND_NONE, BOUND_MEMORY, BOUND_INTEGERS, BOUND_FLOATS };

struct kernel_bench_result {
    uint32_t n_samples;
    double seconds[KERNEL_BENCH_REPETITIONS_MAX]; /* of one run each, rising */
    double median;                                /* seconds */
    double spread;           /* half of the distance between the quartiles, over the median */
    double read_bytes_per_s; /* mean of a reading before and one after */
    enum kernel_bound bound; /* NONE: caches hold all it reads, and it only moves */
    double fraction;         /* of that ceiling; NAN without one */
    double error;            /* relative L2 of the first tokens to the reference; NAN: none */
};

struct kernel_bench_options {
    struct kernel_work *work;
    const struct kernels *reference;
    const struct compute_peak *peak;
    struct read_bandwidth *reader;
    uint32_t n_repetitions; /* KERNEL_BENCH_REPETITIONS_MIN.._MAX */
};
/* ERR_NOMEM. */
enum status kernel_bench_run(const struct kernel_bench_options *options,
                             struct kernel_bench_result *result, struct error *err);

#endif
