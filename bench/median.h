/* SPDX-License-Identifier: Apache-2.0 */
/* The middle of measurements: one slow run must not move a result. */
#ifndef SHOAL_BENCH_MEDIAN_H
#define SHOAL_BENCH_MEDIAN_H

#include <stdint.h>

/* Sorts the values; the mean of the two middle ones if n is even. n at least 1. */
double median(double *values, uint32_t n);

#endif
