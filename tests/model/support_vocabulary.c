/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks are looked up in a table by the hash of the bytes; everything else is plain and slow. */
#include "support_vocabulary.h"

#include "base/utf8.h"
#include "model/byte_alphabet.h"
#include "support_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <xxhash.h>

#define RANK_BYTES_MAX 512

void vocabulary_init(struct vocabulary *v, uint32_t room) {
    *v = (struct vocabulary){.room = room};
    v->tokens = arena_array(&v->arena, room, sizeof *v->tokens);
    v->kinds = arena_array(&v->arena, room, sizeof *v->kinds);
    v->merges = arena_array(&v->arena, room, sizeof *v->merges);
    assert_true(v->tokens && v->kinds && v->merges);
}

void vocabulary_free(struct vocabulary *v) {
    arena_free(&v->arena);
}

struct span vocabulary_spell(struct vocabulary *v, struct span bytes) {
    char *out = arena_alloc(&v->arena, 2 * bytes.len + 4);
    assert_non_null(out);
    size_t n = 0;
    for (size_t i = 0; i < bytes.len; i++)
        n += utf8_encode(byte_alphabet_char((unsigned char)bytes.data[i]), out + n);
    return span_make(out, n);
}

void vocabulary_add(struct vocabulary *v, struct span bytes, enum token_kind kind) {
    assert_true(v->n_tokens < v->room);
    v->kinds[v->n_tokens] = (uint8_t)kind;
    v->tokens[v->n_tokens++] = kind == TOKEN_NORMAL
                                   ? vocabulary_spell(v, bytes)
                                   : span_make(arena_dup(&v->arena, bytes), bytes.len);
}

void vocabulary_add_merge(struct vocabulary *v, struct span left, struct span right) {
    assert_true(v->n_merges < v->room);
    struct span a = vocabulary_spell(v, left);
    struct span b = vocabulary_spell(v, right);
    char *both = arena_printf(&v->arena, "%.*s %.*s", (int)a.len, a.data, (int)b.len, b.data);
    assert_non_null(both);
    v->merges[v->n_merges++] = span_make(both, a.len + 1 + b.len);
}

void vocabulary_add_bytes(struct vocabulary *v) {
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        vocabulary_add(v, span_make(&c, 1), TOKEN_NORMAL);
    }
}

struct tokenizer_tables vocabulary_tables(const struct vocabulary *v, enum split_pattern pattern) {
    return (struct tokenizer_tables){
        .pattern = pattern,
        .tokens = v->tokens,
        .kinds = v->kinds,
        .n_tokens = v->n_tokens,
        .merges = v->merges,
        .n_merges = v->n_merges,
    };
}

/* Bytes by rank and ranks by bytes. */
struct ranks {
    struct span *bytes; /* [n] */
    uint32_t n;
    uint32_t *slots; /* [mask + 1] rank + 1 */
    uint32_t mask;
};

static uint32_t *rank_slot(const struct ranks *ranks, struct span bytes) {
    uint32_t at = (uint32_t)XXH3_64bits(bytes.data, bytes.len) & ranks->mask;
    while (ranks->slots[at] && !span_eq(ranks->bytes[ranks->slots[at] - 1], bytes))
        at = (at + 1) & ranks->mask;
    return &ranks->slots[at];
}

static struct span decode_base64(struct arena *arena, struct span text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_alloc(arena, text.len);
    size_t n = 0;
    uint32_t bits = 0, n_bits = 0;
    for (size_t i = 0; i < text.len && text.data[i] != '='; i++) {
        const char *digit = strchr(digits, text.data[i]);
        assert_true(out && digit && *digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (char)(bits >> n_bits & 0xff);
        }
    }
    return span_make(out, n);
}

/* The border of the last merge of this token's bytes, by the ranks below `rank`. */
static size_t last_border(const struct ranks *ranks, uint32_t rank) {
    struct span bytes = ranks->bytes[rank];
    size_t ends[RANK_BYTES_MAX]; /* of the parts */
    size_t n = bytes.len;
    assert_true(n <= RANK_BYTES_MAX);
    for (size_t i = 0; i < n; i++)
        ends[i] = i + 1;
    while (n > 2) {
        uint32_t best = rank;
        size_t best_at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t begin = i ? ends[i - 1] : 0;
            uint32_t entry = *rank_slot(ranks, span_make(bytes.data + begin, ends[i + 1] - begin));
            if (entry && entry - 1 < best) {
                best = entry - 1;
                best_at = i;
            }
        }
        assert_true(best < rank);
        memmove(ends + best_at, ends + best_at + 1, (n - best_at - 1) * sizeof *ends);
        n--;
    }
    return ends[0];
}

void vocabulary_read_ranks(struct vocabulary *v, const char *path) {
    struct text file = test_read_file(path);
    struct ranks ranks = {.mask = (1u << 19) - 1};
    ranks.bytes = arena_array(&v->arena, v->room, sizeof *ranks.bytes);
    ranks.slots = calloc(ranks.mask + 1u, sizeof *ranks.slots);
    assert_true(ranks.bytes && ranks.slots);
    struct span rest = text_span(&file), line;
    while (test_next_line(&rest, &line)) {
        size_t space = span_find(line, " ");
        assert_true(space < line.len && ranks.n < v->room);
        assert_int_equal(strtoul(line.data + space + 1, NULL, 10), ranks.n);
        struct span bytes = decode_base64(&v->arena, span_make(line.data, space));
        ranks.bytes[ranks.n++] = bytes;
        *rank_slot(&ranks, bytes) = ranks.n;
        vocabulary_add(v, bytes, TOKEN_NORMAL);
    }
    for (uint32_t rank = 0; rank < ranks.n; rank++) {
        struct span bytes = ranks.bytes[rank];
        if (bytes.len < 2)
            continue;
        size_t border = last_border(&ranks, rank);
        vocabulary_add_merge(v, span_make(bytes.data, border), span_from(bytes, border));
    }
    free(ranks.slots);
    text_free(&file);
}
