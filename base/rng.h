/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers without state: the n-th number of a key.
 *
 * A pure function of (key, counter), so that a sequence that is replayed after a fault, or a file
 * that is written by several threads, gets the same numbers again in any order of the calls.
 * The numbers of a key are the sequence of SplitMix64 from a seed that is the mixed key:
 * Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA. Key and
 * counter enter differently, so that numbers (a, b) and (b, a) have nothing in common. */
#ifndef SHOAL_BASE_RNG_H
#define SHOAL_BASE_RNG_H

#include <stdint.h>

#define RNG_STEP 0x9e3779b97f4a7c15u /* 2^64 over the golden ratio, odd */

static inline uint64_t rng_mix(uint64_t x) {
    x += RNG_STEP;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 64 random bits. */
static inline uint64_t rng_u64(uint64_t key, uint64_t counter) {
    return rng_mix(rng_mix(key) + counter * RNG_STEP);
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_double(uint64_t key, uint64_t counter) {
    return (double)(rng_u64(key, counter) >> 11) * 0x1p-53;
}

#endif
