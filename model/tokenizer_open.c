/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a tokenizer from the tables of a file: spellings become bytes once, merges become ids,
 * and whatever could surprise the encoder later is an error here. */
#include "model/byte_alphabet.h"
#include "model/tokenizer_parts.h"

#include <stdlib.h>
#include <xxhash.h>

/* Normal tokens by their bytes, needed only while merges are resolved. */
struct token_index {
    uint32_t *slots; /* [mask + 1] id + 1, 0 is free */
    uint32_t mask;
};

struct builder {
    const struct tokenizer_tables *tables;
    struct tokenizer *t;
    struct token_index index;
    struct text scratch;
};

static struct span token_span(const struct tokenizer *t, uint32_t id) {
    return span_make(t->bytes + t->offsets[id], t->offsets[id + 1] - t->offsets[id]);
}

/* The slot of this text: taken by its token, or free. */
static uint32_t *index_slot(const struct builder *b, struct span bytes) {
    uint32_t at = (uint32_t)XXH3_64bits(bytes.data, bytes.len) & b->index.mask;
    while (b->index.slots[at] && !span_eq(token_span(b->t, b->index.slots[at] - 1), bytes))
        at = (at + 1) & b->index.mask;
    return &b->index.slots[at];
}

static enum status check_counts(const struct tokenizer_tables *tables, struct error *err) {
    if (tables->n_tokens == 0)
        return error_set(err, ERR_INPUT, "tokens: the list is empty");
    if (tables->n_tokens > TOKENIZER_VOCAB_MAX || tables->n_merges > TOKENIZER_VOCAB_MAX)
        return error_set(err, ERR_LIMIT, "%u tokens and %u merges, at most %u each are supported",
                         tables->n_tokens, tables->n_merges, TOKENIZER_VOCAB_MAX);
    if (tables->n_end_ids > TOKENIZER_N_ENDS_MAX)
        return error_set(err, ERR_LIMIT, "%u end tokens, at most %u are supported",
                         tables->n_end_ids, TOKENIZER_N_ENDS_MAX);
    return OK;
}

static enum status decode_token(const struct tokenizer_tables *tables, uint32_t id,
                                struct text *bytes, struct error *err) {
    switch (tables->kinds[id]) {
    case TOKEN_NORMAL:
        if (tables->tokens[id].len == 0)
            return error_set(err, ERR_INPUT, "tokens[%u]: empty", id);
        if (!byte_alphabet_decode(bytes, tables->tokens[id]))
            return error_set(err, ERR_INPUT,
                             "tokens[%u]: a normal token that is not spelled in the byte alphabet",
                             id);
        break;
    case TOKEN_CONTROL:
    case TOKEN_USER_DEFINED:
        text_add(bytes, tables->tokens[id]);
        break;
    case TOKEN_UNUSED:
        break;
    default:
        return error_set(err, ERR_INPUT, "token_type[%u]: is %u, must be 1, 3, 4 or 5", id,
                         tables->kinds[id]);
    }
    if (bytes->len > TOKENIZER_BYTES_MAX)
        return error_set(err, ERR_LIMIT, "tokens[%u]: the tokens are longer than %u bytes together",
                         id, TOKENIZER_BYTES_MAX);
    return OK;
}

static enum status decode_tokens(struct builder *b, struct error *err) {
    struct tokenizer *t = b->t;
    const struct tokenizer_tables *tables = b->tables;
    uint32_t n = tables->n_tokens;
    uint32_t *offsets = arena_array(&t->arena, (size_t)n + 1, sizeof *offsets);
    uint8_t *kinds = arena_array(&t->arena, n, sizeof *kinds);
    if (!offsets || !kinds)
        return error_set(err, ERR_NOMEM, "tokens: no memory for %u of them", n);
    text_clear(&b->scratch);
    for (uint32_t id = 0; id < n; id++) {
        TRY(decode_token(tables, id, &b->scratch, err));
        kinds[id] = tables->kinds[id];
        offsets[id + 1] = (uint32_t)b->scratch.len;
    }
    t->bytes = b->scratch.failed ? NULL : arena_dup(&t->arena, text_span(&b->scratch));
    if (!t->bytes)
        return error_set(err, ERR_NOMEM, "tokens: no memory for their bytes");
    t->offsets = offsets;
    t->kinds = kinds;
    t->n_tokens = n;
    return OK;
}

static enum status index_tokens(struct builder *b, struct error *err) {
    uint32_t n_slots = 512;
    while (n_slots / 2 < b->t->n_tokens)
        n_slots *= 2;
    b->index.mask = n_slots - 1;
    b->index.slots = calloc(n_slots, sizeof *b->index.slots);
    if (!b->index.slots)
        return error_set(err, ERR_NOMEM, "tokens: no memory for their index");
    for (uint32_t id = 0; id < b->t->n_tokens; id++) {
        if (b->t->kinds[id] != TOKEN_NORMAL)
            continue;
        uint32_t *slot = index_slot(b, token_span(b->t, id));
        if (*slot)
            return error_set(err, ERR_INPUT, "tokens[%u]: the same text as tokens[%u]", id,
                             *slot - 1);
        *slot = id + 1;
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        uint32_t entry = *index_slot(b, span_make(&c, 1));
        if (entry == 0)
            return error_set(err, ERR_INPUT, "tokens: none for the single byte 0x%02x", byte);
        b->t->bpe.byte_ids[byte] = entry - 1;
    }
    return OK;
}

static enum status resolve_merge(struct builder *b, uint32_t rank, struct bpe_merge *merge,
                                 struct error *err) {
    struct span both = b->tables->merges[rank];
    size_t space = span_find(both, " ");
    struct text *bytes = &b->scratch;
    text_clear(bytes);
    bool spelled = space != SIZE_MAX && byte_alphabet_decode(bytes, span_make(both.data, space));
    size_t n_left = bytes->len;
    spelled = spelled && byte_alphabet_decode(bytes, span_from(both, space + 1));
    if (bytes->failed)
        return error_set(err, ERR_NOMEM, "merges[%u]: no memory", rank);
    if (!spelled)
        return error_set(err, ERR_INPUT, "merges[%u]: not two spellings with a space between",
                         rank);
    struct span whole = text_span(bytes);
    uint32_t left = *index_slot(b, span_make(whole.data, n_left));
    uint32_t right = *index_slot(b, span_from(whole, n_left));
    uint32_t id = *index_slot(b, whole);
    if (!left || !right || !id)
        return error_set(err, ERR_INPUT, "merges[%u]: %s is not in the vocabulary", rank,
                         !left    ? "its left part"
                         : !right ? "its right part"
                                  : "its result");
    *merge = (struct bpe_merge){.left = left - 1, .right = right - 1, .id = id - 1};
    return OK;
}

static enum status build_merges(struct builder *b, struct error *err) {
    uint32_t n = b->tables->n_merges;
    struct bpe_merge *merges = arena_array(&b->t->arena, n, sizeof *merges);
    if (!merges)
        return error_set(err, ERR_NOMEM, "merges: no memory for %u of them", n);
    for (uint32_t rank = 0; rank < n; rank++)
        TRY(resolve_merge(b, rank, &merges[rank], err));
    return bpe_init(&b->t->bpe, merges, n, &b->t->arena, err);
}

static bool is_added(const struct tokenizer *t, uint32_t id) {
    return t->kinds[id] == TOKEN_CONTROL || t->kinds[id] == TOKEN_USER_DEFINED;
}

static enum status build_added(struct tokenizer *t, struct error *err) {
    uint32_t n = 0;
    for (uint32_t id = 0; id < t->n_tokens; id++)
        n += is_added(t, id);
    struct added_token *tokens = arena_array(&t->arena, n, sizeof *tokens);
    if (!tokens)
        return error_set(err, ERR_NOMEM, "tokens: no memory for %u added ones", n);
    uint32_t i = 0;
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        if (is_added(t, id))
            tokens[i++] = (struct added_token){.text = token_span(t, id), .id = (int32_t)id};
    }
    return added_tokens_init(&t->added, tokens, n, err);
}

static enum status build_ends(struct builder *b, struct error *err) {
    static const char *const turn_ends[] = {"<|im_end|>", "<|endoftext|>"};
    struct tokenizer *t = b->t;
    for (uint32_t i = 0; i < b->tables->n_end_ids; i++) {
        int32_t id = b->tables->end_ids[i];
        if (id < 0 || (uint32_t)id >= t->n_tokens)
            return error_set(err, ERR_INPUT, "end token %d: the vocabulary has ids 0..%u", id,
                             t->n_tokens - 1);
        t->end_ids[t->n_end_ids++] = id;
    }
    for (size_t i = 0; i < 2; i++) {
        int32_t id = added_tokens_find(&t->added, span_of(turn_ends[i]));
        if (id >= 0)
            t->end_ids[t->n_end_ids++] = id;
    }
    return OK;
}

static enum status build(struct builder *b, struct error *err) {
    b->t->pattern = b->tables->pattern;
    TRY(decode_tokens(b, err));
    TRY(index_tokens(b, err));
    TRY(build_merges(b, err));
    TRY(build_added(b->t, err));
    return build_ends(b, err);
}

enum status tokenizer_open_tables(struct tokenizer **out, const struct tokenizer_tables *tables,
                                  struct error *err) {
    *out = NULL;
    TRY(check_counts(tables, err));
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ERR_NOMEM, "tokenizer: no memory");
    struct builder b = {.tables = tables, .t = t};
    enum status status = build(&b, err);
    free(b.index.slots);
    text_free(&b.scratch);
    if (status != OK) {
        tokenizer_close(t);
        return status;
    }
    *out = t;
    return OK;
}

void tokenizer_close(struct tokenizer *t) {
    if (!t)
        return;
    arena_free(&t->arena);
    free(t);
}
