/* SPDX-License-Identifier: Apache-2.0 */
/* How fast this machine reads memory with all threads of a pool: the ceiling of decoding. */
#ifndef SHOAL_BENCH_READ_BANDWIDTH_H
#define SHOAL_BENCH_READ_BANDWIDTH_H

#include "base/error.h"
#include "base/thread_pool.h"

/* Bytes per second, the median of `n_passes` passes over a buffer well beyond the last cache level
 * (as far as free memory allows), each thread reading its own contiguous part in order. Takes
 * about a second. ERR_NOMEM. */
enum status read_bandwidth_measure(struct thread_pool *pool, uint32_t n_passes,
                                   double *bytes_per_second, struct error *err);

#endif
