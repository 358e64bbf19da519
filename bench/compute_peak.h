/* SPDX-License-Identifier: Apache-2.0 */
/* How fast this machine multiplies when nothing else stands in the way: loops on registers alone,
 * with the instructions that the products of a variant use. The ceiling of prompts, as
 * read_bandwidth.h is that of decoding. */
#ifndef SHOAL_BENCH_COMPUTE_PEAK_H
#define SHOAL_BENCH_COMPUTE_PEAK_H

#include <stdint.h>

#include "base/thread_pool.h"

/* Operations per second of all threads, a multiplication and its addition counted as two; 0 where
 * the variant has no such loop ("ref"). The best of several short runs: a ceiling. */
struct compute_peak {
    double integers; /* products of 8-bit integers, summed in 32 bits */
    double floats;   /* fused multiplications and additions of 32-bit floats */
};
struct compute_peak compute_peak_measure(struct thread_pool *pool, const char *kernels);

/* n rounds of a fixed number of operations on registers; the result keeps them from being optimised
 * away. Only where kernels_init finds the variant. Ten independent sums cover the 4 to 5 cycles of
 * latency on two ports, and with their operands still fit 16 registers. */
#define COMPUTE_PEAK_REGISTERS 10
typedef float compute_peak_loop(uint32_t n);
compute_peak_loop integer_loop_avx2, float_loop_avx2, integer_loop_avx512, float_loop_avx512;

#endif
