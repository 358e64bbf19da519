/* SPDX-License-Identifier: Apache-2.0 */
/* Vocabularies for the tests of the tokenizer, made without a model file. */
#ifndef SHOAL_TESTS_SUPPORT_VOCABULARY_H
#define SHOAL_TESTS_SUPPORT_VOCABULARY_H

#include "base/arena.h"
#include "model/tokenizer.h"

/* Tokens and merges under construction; everything lives in the arena. */
struct vocabulary {
    struct arena arena;
    struct span *tokens;
    uint8_t *kinds;
    uint32_t n_tokens;
    struct span *merges;
    uint32_t n_merges;
    uint32_t room; /* of each list */
};

void vocabulary_init(struct vocabulary *v, uint32_t room);
void vocabulary_free(struct vocabulary *v);

/* The bytes as they are spelled in a vocabulary file. */
struct span vocabulary_spell(struct vocabulary *v, struct span bytes);

/* The next id gets this token: bytes if `kind` is TOKEN_NORMAL (spelled here), else literal. */
void vocabulary_add(struct vocabulary *v, struct span bytes, enum token_kind kind);
void vocabulary_add_merge(struct vocabulary *v, struct span left, struct span right);

/* Ids 0..255 are the bytes themselves. */
void vocabulary_add_bytes(struct vocabulary *v);

struct tokenizer_tables vocabulary_tables(const struct vocabulary *v, enum split_pattern pattern);

/* A rank file of tiktoken ("base64 rank" by line) as a vocabulary, id = rank. The file has no
 * merges: the one that makes a token is the pair that is left when its bytes are merged by the
 * lower ranks alone. */
void vocabulary_read_ranks(struct vocabulary *v, const char *path);

#endif
