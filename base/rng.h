/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers without state: the n-th number of a key.
 *
 * A pure function of (key, counter), so that a sequence that is replayed after a fault, or a file
 * that is written by several threads, gets the same numbers again in any order of the calls.
 * The mixing is the finaliser of SplitMix64, twice with the key between:
 * Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA. */
#ifndef SHOAL_BASE_RNG_H
#define SHOAL_BASE_RNG_H

#include <stdint.h>

static inline uint64_t rng_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 64 random bits. */
static inline uint64_t rng_u64(uint64_t key, uint64_t counter) {
    return rng_mix(rng_mix(counter) ^ rng_mix(key));
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_double(uint64_t key, uint64_t counter) {
    return (double)(rng_u64(key, counter) >> 11) * 0x1p-53;
}

#endif
