/* SPDX-License-Identifier: Apache-2.0 */
/* Time that only goes forward, for deadlines and measurements. */
#ifndef SHOAL_BASE_CLOCK_H
#define SHOAL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds of the monotonic clock. */
static inline uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline double clock_seconds_since(uint64_t begin_ns) {
    return (double)(clock_ns() - begin_ns) * 1e-9;
}

#endif
