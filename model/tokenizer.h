/* SPDX-License-Identifier: Apache-2.0 */
/* Text to token ids and back: byte-level BPE of the family.
 *
 *     text -> cut at added tokens (if asked) -> form C -> words -> BPE over bytes -> ids
 *             added_tokens.h                    nfc.h    split_pattern.h   bpe.h
 *
 * Time is O(n log n) in the bytes of a word and linear in the text. Bytes that are not UTF-8 pass
 * through as themselves, each run of them as a word of its own. Immutable after open: any thread
 * may encode and decode. */
#ifndef SHOAL_MODEL_TOKENIZER_H
#define SHOAL_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"
#include "base/text.h"
#include "model/added_tokens.h"
#include "model/gguf.h"
#include "model/split_pattern.h"
#include "model/token_ids.h"

#define TOKENIZER_TEXT_MAX   (256u << 20) /* bytes of one text */
#define TOKENIZER_VOCAB_MAX  (1u << 22)   /* tokens, and merges */
#define TOKENIZER_BYTES_MAX  (1u << 30)   /* bytes of all tokens together */
#define TOKENIZER_N_ENDS_MAX 64u

enum token_kind { /* numbers as in tokenizer.ggml.token_type */
                  TOKEN_NORMAL = 1,
                  TOKEN_CONTROL = 3, /* special: hidden from users */
                  TOKEN_USER_DEFINED =
                      4,            /* added, but part of visible text: <think>, <tool_call> */
                  TOKEN_UNUSED = 5, /* padding rows of the embedding */
};

struct tokenizer; /* opaque: owns its tables */

/* ERR_UNSUPPORTED: another tokenizer model or pre-tokenizer; ERR_INPUT: damaged tables. */
enum status tokenizer_open(struct tokenizer **out, const struct gguf *gguf, struct error *err);

/* What a file says, as views; everything is copied. Normal tokens and merges are spelled in the
 * byte alphabet, added tokens are literal. */
struct tokenizer_tables {
    enum split_pattern pattern;
    const struct span *tokens; /* [n_tokens] */
    const uint8_t *kinds;      /* [n_tokens] enum token_kind */
    uint32_t n_tokens;
    const struct span *merges; /* [n_merges] "left right", the lowest rank first */
    uint32_t n_merges;
    const int32_t *end_ids; /* [n_end_ids] besides <|im_end|> and <|endoftext|> */
    uint32_t n_end_ids;
};

/* Errors as tokenizer_open. */
enum status tokenizer_open_tables(struct tokenizer **out, const struct tokenizer_tables *tables,
                                  struct error *err);
void tokenizer_close(struct tokenizer *t); /* NULL is fine */

/* Appends the ids of `text`. parse_special: added tokens in the text become themselves; untrusted
 * text is encoded without. ERR_LIMIT, ERR_NOMEM; then *out may hold a part of the ids. */
enum status tokenizer_encode(const struct tokenizer *t, struct span text, bool parse_special,
                             struct token_ids *out, struct error *err);

/* The bytes of one token (a view; dies with the tokenizer); added tokens give their literal text,
 * unused ones and ids outside the vocabulary nothing. */
struct span tokenizer_bytes(const struct tokenizer *t, int32_t id);

uint32_t tokenizer_n_vocab(const struct tokenizer *t);

/* TOKEN_UNUSED for ids outside the vocabulary. */
enum token_kind tokenizer_kind(const struct tokenizer *t, int32_t id);

/* The id of an added token by its text, -1 if there is none. */
int32_t tokenizer_find_added(const struct tokenizer *t, const char *text);

/* The first added token in `text` at or after `from`; false if there is none. */
bool tokenizer_next_added(const struct tokenizer *t, struct span text, size_t from,
                          struct added_match *match);

/* Whether this id ends a turn: eos of the file, <|im_end|>, <|endoftext|>. */
bool tokenizer_is_end(const struct tokenizer *t, int32_t id);

/* Bytes of memory the tokenizer holds, for the memory plan. */
uint64_t tokenizer_memory_bytes(const struct tokenizer *t);

#endif
