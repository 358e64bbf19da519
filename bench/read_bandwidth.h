/* SPDX-License-Identifier: Apache-2.0 */
/* How fast this machine reads memory with all threads of a pool: the ceiling of decoding.
 *
 * A virtual machine's share of the memory moves within minutes, so a ceiling holds only for what
 * was measured beside it: a reader stays open and is asked between the repetitions of a test. It
 * reads a buffer well beyond the last cache level (as far as free memory allows), each thread its
 * own contiguous part in order. Owned by the pool's owner thread. */
#ifndef SHOAL_BENCH_READ_BANDWIDTH_H
#define SHOAL_BENCH_READ_BANDWIDTH_H

#include "base/error.h"
#include "base/thread_pool.h"

struct read_bandwidth; /* opaque: owns the buffer */

/* The pool outlives the reader. ERR_NOMEM. */
enum status read_bandwidth_open(struct read_bandwidth **out, struct thread_pool *pool,
                                struct error *err);
void read_bandwidth_close(struct read_bandwidth *reader); /* NULL is fine */

/* Bytes per second of one pass over the buffer, which takes 30 to 100 ms: the median of its 16
 * parts, so that a thread that loses its core for a moment does not lower the ceiling. */
double read_bandwidth_pass(struct read_bandwidth *reader);

#endif
