/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the candidate nearest to a word, by the number of letters to insert, delete,
 * change or swap with their neighbour (Damerau 1964, restricted to adjacent transpositions). */
#ifndef SHOAL_CLI_SPELLING_H
#define SHOAL_CLI_SPELLING_H

#include "base/span.h"

#include <stdint.h>

#define SPELLING_WORD_MAX 48 /* longer words have no neighbours */

/* Start from {.word = ...}, offer candidates, then read `best`. */
struct spelling {
    struct span word;
    struct span best;  /* a view into a candidate; empty if none is near */
    uint32_t distance; /* of best */
};
void spelling_offer(struct spelling *spelling, struct span candidate);

uint32_t spelling_distance(struct span a, struct span b); /* UINT32_MAX: too long */

#endif
