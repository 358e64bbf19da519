/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding and decoding; how the tables come about is in tokenizer_open.c. */
#include "model/tokenizer.h"

#include "base/utf8.h"
#include "model/nfc.h"
#include "model/tokenizer_parts.h"

/* What one call of tokenizer_encode carries from stretch to stretch. */
struct encoder {
    const struct tokenizer *t;
    struct token_ids *out;
    struct bpe_scratch bpe;
    struct text normalized;
};

static enum status encode_word(struct encoder *e, struct span word, struct error *err) {
    if (!bpe_encode(&e->t->bpe, word, &e->bpe, e->out))
        return error_set(err, ERR_NOMEM, "tokenizer: no memory for a word of %zu bytes", word.len);
    return OK;
}

static enum status encode_valid(struct encoder *e, struct span text, struct error *err) {
    if (!nfc_is_plain(text)) {
        text_clear(&e->normalized);
        TRY(nfc_append(&e->normalized, text, err));
        text = text_span(&e->normalized);
    }
    while (text.len) {
        size_t n = split_first_word(e->t->pattern, text);
        TRY(encode_word(e, span_make(text.data, n), err));
        text = span_from(text, n);
    }
    return OK;
}

/* The bytes at the front that are valid UTF-8 (`valid`) or are no part of a valid character. */
static size_t stretch(struct span text, bool valid) {
    size_t at = 0;
    while (at < text.len) {
        uint32_t c;
        size_t n = (unsigned char)text.data[at] < 0x80 ? 1 : utf8_decode(span_from(text, at), &c);
        if ((n != 0) != valid)
            break;
        at += n ? n : 1;
    }
    return at;
}

/* Encodes text without added tokens. */
static enum status encode_plain(struct encoder *e, struct span text, struct error *err) {
    while (text.len) {
        size_t n = stretch(text, true);
        TRY(encode_valid(e, span_make(text.data, n), err));
        text = span_from(text, n);
        n = stretch(text, false);
        if (n)
            TRY(encode_word(e, span_make(text.data, n), err));
        text = span_from(text, n);
    }
    return OK;
}

static enum status encode_special(struct encoder *e, struct span text, struct error *err) {
    struct added_match match;
    size_t at = 0;
    while (added_tokens_next(&e->t->added, text, at, &match)) {
        TRY(encode_plain(e, span_make(text.data + at, match.begin - at), err));
        token_ids_add(e->out, match.id);
        at = match.begin + match.len;
    }
    return encode_plain(e, span_from(text, at), err);
}

enum status tokenizer_encode(const struct tokenizer *t, struct span text, bool parse_special,
                             struct token_ids *out, struct error *err) {
    if (text.len == 0)
        return OK;
    if (text.len > TOKENIZER_TEXT_MAX)
        return error_set(err, ERR_LIMIT, "text of %zu bytes, at most %u are encoded", text.len,
                         TOKENIZER_TEXT_MAX);
    struct encoder e = {.t = t, .out = out};
    enum status status =
        parse_special ? encode_special(&e, text, err) : encode_plain(&e, text, err);
    bpe_scratch_free(&e.bpe);
    text_free(&e.normalized);
    if (status == OK && out->failed)
        return error_set(err, ERR_NOMEM, "tokenizer: no memory for %zu ids", out->n);
    return status;
}

struct span tokenizer_bytes(const struct tokenizer *t, int32_t id) {
    if (id < 0 || (uint32_t)id >= t->n_tokens)
        return (struct span){0};
    return span_make(t->bytes + t->offsets[id], t->offsets[id + 1] - t->offsets[id]);
}

uint32_t tokenizer_n_vocab(const struct tokenizer *t) {
    return t->n_tokens;
}

enum token_kind tokenizer_kind(const struct tokenizer *t, int32_t id) {
    return id < 0 || (uint32_t)id >= t->n_tokens ? TOKEN_UNUSED : (enum token_kind)t->kinds[id];
}

int32_t tokenizer_find_added(const struct tokenizer *t, const char *text) {
    return added_tokens_find(&t->added, span_of(text));
}

bool tokenizer_next_added(const struct tokenizer *t, struct span text, size_t from,
                          struct added_match *match) {
    return added_tokens_next(&t->added, text, from, match);
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id) {
    for (uint32_t i = 0; i < t->n_end_ids; i++) {
        if (t->end_ids[i] == id)
            return true;
    }
    return false;
}

uint64_t tokenizer_memory_bytes(const struct tokenizer *t) {
    return sizeof *t + t->arena.bytes_used;
}
