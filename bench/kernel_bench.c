/* SPDX-License-Identifier: Apache-2.0 */
/* Short operations are run several times per sample, so that the clock's own time does not count.
 */
#include "bench/kernel_bench.h"

#include "base/clock.h"
#include "bench/kernel_data.h"
#include "bench/median.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_SECONDS_MIN 100e-6
#define RUNS_MAX           4096u

/* The reference is slow, and a token's result does not depend on the others. */
#define TOKENS_CHECKED 2u

static double time_runs(struct kernel_work *work, uint32_t n_runs, uint32_t *turn) {
    struct kernel_run run = {
        .kernels = work->kernels, .ctx = work->ctx, .n_tokens = work->what.n_tokens};
    uint64_t begin = clock_ns();
    for (uint32_t i = 0; i < n_runs; i++) {
        run.set = (*turn)++ % work->n_sets;
        work->run(work, &run);
    }
    return clock_seconds_since(begin) / n_runs;
}

/* Before anything else: the sets are still equal. */
static enum status check_result(struct kernel_work *work, const struct kernels *reference,
                                double *error, struct error *err) {
    *error = NAN;
    if (!work->out || work->kernels->exact)
        return OK;
    uint32_t n_tokens = work->what.n_tokens < TOKENS_CHECKED ? work->what.n_tokens : TOKENS_CHECKED;
    size_t n = n_tokens * work->n_out;
    float *want = malloc(n * sizeof *want);
    if (!want)
        return error_set(err, ERR_NOMEM, "no memory for the reference's result");
    struct kernel_run run = {.kernels = reference, .ctx = work->ctx, .n_tokens = n_tokens};
    memset(work->out, 0, n * sizeof *want); /* some operations add to it */
    work->run(work, &run);
    memcpy(want, work->out, n * sizeof *want);
    run.kernels = work->kernels;
    run.set = work->changes_set ? 1 : 0;
    memset(work->out, 0, n * sizeof *want);
    work->run(work, &run);
    *error = relative_error(work->out, want, n);
    free(want);
    return OK;
}

static void compare_with_ceiling(const struct kernel_bench_options *o,
                                 struct kernel_bench_result *result) {
    const struct kernel_work *work = o->work;
    bool integers = work->arithmetic == KERNEL_INTEGERS;
    double peak = work->arithmetic == KERNEL_MOVES ? 0
                  : integers                       ? o->peak->integers
                                                   : o->peak->floats;
    double memory_s = work->cold_bytes / result->read_bytes_per_s;
    double arithmetic_s = peak > 0 ? work->operations / peak : 0;
    result->bound = BOUND_NONE;
    if (arithmetic_s > memory_s)
        result->bound = integers ? BOUND_INTEGERS : BOUND_FLOATS;
    else if (memory_s > 0)
        result->bound = BOUND_MEMORY;
    double ceiling_s = arithmetic_s > memory_s ? arithmetic_s : memory_s;
    result->fraction = ceiling_s > 0 ? ceiling_s / result->median : NAN;
}

enum status kernel_bench_run(const struct kernel_bench_options *options,
                             struct kernel_bench_result *result, struct error *err) {
    struct kernel_work *work = options->work;
    uint32_t turn = 2, n = options->n_repetitions;
    assert(n >= KERNEL_BENCH_REPETITIONS_MIN && n <= KERNEL_BENCH_REPETITIONS_MAX);
    TRY(check_result(work, options->reference, &result->error, err));
    double once = time_runs(work, 1, &turn); /* also the first touch of everything */
    once = fmin(once, time_runs(work, 1, &turn));
    uint32_t n_runs = once < SAMPLE_SECONDS_MIN ? (uint32_t)(SAMPLE_SECONDS_MIN / once) + 1 : 1;
    n_runs = n_runs > RUNS_MAX ? RUNS_MAX : n_runs;
    double before = read_bandwidth_pass(options->reader);
    for (uint32_t i = 0; i < n; i++)
        result->seconds[i] = time_runs(work, n_runs, &turn);
    result->read_bytes_per_s = (before + read_bandwidth_pass(options->reader)) / 2;
    result->n_samples = n;
    result->median = median(result->seconds, n); /* sorts */
    result->spread = (result->seconds[3 * n / 4] - result->seconds[n / 4]) / 2 / result->median;
    compare_with_ceiling(options, result);
    return OK;
}
