/* SPDX-License-Identifier: Apache-2.0 */
/* Text to token ids and back: byte-level BPE of the family.
 *
 * Encoding: cut at added tokens (longest match; only if asked) -> NFC -> split into words by the
 * pattern of the model -> BPE over bytes by merge rank. Time is O(n log n) in the bytes of a word
 * and linear in the text. Bytes that are not UTF-8 pass through as themselves, as words of their
 * own. Immutable after init: any thread may encode and decode. */
#ifndef SHOAL_MODEL_TOKENIZER_H
#define SHOAL_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"
#include "base/text.h"
#include "model/gguf.h"

#define TOKENIZER_TEXT_MAX (256u << 20) /* bytes of one text */

enum token_kind { /* numbers as in tokenizer.ggml.token_type */
    TOKEN_NORMAL = 1,
    TOKEN_CONTROL = 3,      /* special: hidden from users */
    TOKEN_USER_DEFINED = 4, /* added, but part of visible text: <think>, <tool_call> */
    TOKEN_UNUSED = 5,       /* padding rows of the embedding */
};

enum split_pattern { SPLIT_QWEN2, SPLIT_QWEN35 };

struct tokenizer; /* opaque: owns its tables */

/* A growing list of ids; zeroed is empty. */
struct token_ids {
    int32_t *data;
    size_t n, room;
    bool failed; /* memory was gone */
};
void token_ids_free(struct token_ids *ids);
void token_ids_add(struct token_ids *ids, int32_t id);

/* ERR_UNSUPPORTED: another tokenizer model or pre-tokenizer; ERR_INPUT: damaged tables. */
enum status tokenizer_open(struct tokenizer **out, const struct gguf *gguf, struct error *err);
void tokenizer_close(struct tokenizer *t); /* NULL is fine */

/* Appends the ids of `text`. parse_special: added tokens in the text become themselves; untrusted
 * text is encoded without. ERR_LIMIT, ERR_NOMEM. */
enum status tokenizer_encode(const struct tokenizer *t, struct span text, bool parse_special,
                             struct token_ids *out, struct error *err);

/* The bytes of one token (a view; dies with the tokenizer); added tokens give their literal text,
 * ids outside the vocabulary nothing. */
struct span tokenizer_bytes(const struct tokenizer *t, int32_t id);

uint32_t tokenizer_n_vocab(const struct tokenizer *t);
enum token_kind tokenizer_kind(const struct tokenizer *t, int32_t id);

/* The id of an added token by its text, -1 if there is none. */
int32_t tokenizer_find_added(const struct tokenizer *t, const char *text);

/* Whether this id ends a turn: eos of the file, <|im_end|>, <|endoftext|>. */
bool tokenizer_is_end(const struct tokenizer *t, int32_t id);

/* Bytes of memory the tokenizer holds, for the memory plan. */
uint64_t tokenizer_memory_bytes(const struct tokenizer *t);

#endif
