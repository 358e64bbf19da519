/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens that stand outside the byte-pair vocabulary and are found in text literally:
 * <|im_start|>, <think>, ... The leftmost one counts, and of those that begin there the longest. */
#ifndef SHOAL_MODEL_ADDED_TOKENS_H
#define SHOAL_MODEL_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"

#define ADDED_TOKEN_BYTES_MAX 256u /* bounds the work per place of the text */

struct added_token {
    struct span text; /* view */
    int32_t id;
};

struct added_tokens {
    struct added_token *tokens; /* [n] sorted by text; in the arena */
    uint32_t n;
    bool begins[256]; /* whether a token begins with this byte */
};

struct added_match {
    size_t begin, len; /* place in the text */
    int32_t id;
};

/* Sorts `tokens` [n] in place and keeps them. ERR_INPUT: an empty text or one that two ids share;
 * ERR_LIMIT: longer than ADDED_TOKEN_BYTES_MAX. */
enum status added_tokens_init(struct added_tokens *added, struct added_token *tokens, uint32_t n,
                              struct error *err);

/* The first token in `text` at or after `from`; false if there is none. */
bool added_tokens_next(const struct added_tokens *added, struct span text, size_t from,
                       struct added_match *match);

/* The id of this very text, -1 if there is none. */
int32_t added_tokens_find(const struct added_tokens *added, struct span text);

#endif
