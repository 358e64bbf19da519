/* SPDX-License-Identifier: Apache-2.0 */
/* Every thread runs the same loop; the slowest of them is the time. */
#include "bench/compute_peak.h"

#include "base/clock.h"

#include <stddef.h>
#include <string.h>

#define RUNS   5
#define ROUNDS 1000000u /* of the loop: some milliseconds */

struct peak_run {
    compute_peak_loop *loop;
    float sums[THREAD_POOL_THREADS_MAX]; /* kept, so that the loops are not optimised away */
};

static void loop_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    (void)n_threads;
    struct peak_run *run = arg;
    run->sums[thread_idx] = run->loop(ROUNDS);
}

static double measure(struct thread_pool *pool, compute_peak_loop *loop, double ops_per_round) {
    struct peak_run run = {.loop = loop};
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        uint64_t begin = clock_ns();
        thread_pool_run(pool, loop_task, &run);
        double rate = ops_per_round * ROUNDS / clock_seconds_since(begin);
        best = rate > best ? rate : best;
    }
    return best * thread_pool_n_threads(pool);
}

struct compute_peak compute_peak_measure(struct thread_pool *pool, const char *kernels) {
    static const struct {
        const char *kernels;
        compute_peak_loop *integers, *floats;
        double integer_ops, float_ops; /* of one instruction */
    } variants[] = {
#if SHOAL_X86
        {"avx2", integer_loop_avx2, float_loop_avx2, 64, 16},
        {"avx512", integer_loop_avx512, float_loop_avx512, 128, 32},
#endif
        {"", NULL, NULL, 0, 0},
    };
    struct compute_peak peak = {0};
    for (size_t i = 0; i + 1 < sizeof variants / sizeof variants[0]; i++) {
        if (strcmp(kernels, variants[i].kernels) != 0)
            continue;
        peak.integers =
            measure(pool, variants[i].integers, COMPUTE_PEAK_REGISTERS * variants[i].integer_ops);
        peak.floats =
            measure(pool, variants[i].floats, COMPUTE_PEAK_REGISTERS * variants[i].float_ops);
    }
    return peak;
}
