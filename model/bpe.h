/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-pair encoding of one word: merge the adjacent pair of lowest rank, the leftmost on ties,
 * until no pair is in the list of merges. Source: Sennrich, Haddow, Birch 2016, arXiv:1508.07909.
 *
 * A short word is scanned again after every merge. A long one keeps its pairs in a heap: a word of
 * n bytes costs O(n log n), whatever it is made of. */
#ifndef SHOAL_MODEL_BPE_H
#define SHOAL_MODEL_BPE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"
#include "model/token_ids.h"

/* `left` and `right` side by side become `id`; the rank is the place in the list. */
struct bpe_merge {
    uint32_t left, right, id;
};

struct bpe {
    const struct bpe_merge *merges; /* [n_merges]; borrowed, outlives the bpe */
    uint32_t n_merges;
    uint32_t *slots; /* [mask + 1] open addressing by pair: rank + 1, 0 is free; in the arena */
    uint32_t mask;
    uint32_t byte_ids[256]; /* the token of each single byte; filled in by the owner */
};

/* Working memory of bpe_encode, kept from word to word. A zeroed struct is empty. */
struct bpe_scratch {
    struct bpe_symbol *symbols; /* [room] the word as a linked list */
    uint64_t *heap;             /* [2 * room] */
    size_t room;
    uint64_t n_pops; /* pairs taken from the heap so far: the work done, for tests */
};

/* ERR_INPUT: a pair is listed twice; ERR_NOMEM. */
enum status bpe_init(struct bpe *bpe, const struct bpe_merge *merges, uint32_t n_merges,
                     struct arena *arena, struct error *err);

/* Appends the ids of `word` (less than 2^32 bytes). False if memory is gone. */
bool bpe_encode(const struct bpe *bpe, struct span word, struct bpe_scratch *scratch,
                struct token_ids *out);

void bpe_scratch_free(struct bpe_scratch *scratch);

#endif
