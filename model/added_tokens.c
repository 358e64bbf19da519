/* SPDX-License-Identifier: Apache-2.0 */
/* The sorted list serves as a trie: the tokens that agree with the text so far are a range of it,
 * and each further byte narrows the range by bisection. */
#include "model/added_tokens.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b) {
    const struct added_token *left = a;
    const struct added_token *right = b;
    size_t n = left->text.len < right->text.len ? left->text.len : right->text.len;
    int order = memcmp(left->text.data, right->text.data, n);
    if (order)
        return order;
    return (left->text.len > right->text.len) - (left->text.len < right->text.len);
}

enum status added_tokens_init(struct added_tokens *added, struct added_token *tokens, uint32_t n,
                              struct error *err) {
    *added = (struct added_tokens){.tokens = tokens, .n = n};
    for (uint32_t i = 0; i < n; i++) {
        if (tokens[i].text.len == 0)
            return error_set(err, ERR_INPUT, "tokens[%d]: an added token without text",
                             tokens[i].id);
        if (tokens[i].text.len > ADDED_TOKEN_BYTES_MAX)
            return error_set(err, ERR_LIMIT, "tokens[%d]: an added token of %zu bytes, at most %u",
                             tokens[i].id, tokens[i].text.len, ADDED_TOKEN_BYTES_MAX);
        added->begins[(unsigned char)tokens[i].text.data[0]] = true;
    }
    if (n > 1)
        qsort(tokens, n, sizeof *tokens, by_text);
    for (uint32_t i = 1; i < n; i++) {
        if (span_eq(tokens[i - 1].text, tokens[i].text))
            return error_set(err, ERR_INPUT, "tokens[%d]: the same text as tokens[%d]",
                             tokens[i].id, tokens[i - 1].id);
    }
    return OK;
}

/* The first of the tokens [low, high), which agree in `depth` bytes, whose next byte is at least
 * `byte`. A token that ends there comes before all others. */
static uint32_t bisect(const struct added_tokens *added, uint32_t low, uint32_t high, size_t depth,
                       unsigned byte) {
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct span text = added->tokens[middle].text;
        if (text.len <= depth || (unsigned char)text.data[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token at the front of `text`, NULL if there is none. */
static const struct added_token *longest_prefix(const struct added_tokens *added,
                                                struct span text) {
    const struct added_token *best = NULL;
    uint32_t low = 0, high = added->n;
    for (size_t depth = 0; depth < text.len; depth++) {
        unsigned byte = (unsigned char)text.data[depth];
        low = bisect(added, low, high, depth, byte);
        high = bisect(added, low, high, depth, byte + 1);
        if (low == high)
            break;
        if (added->tokens[low].text.len == depth + 1)
            best = &added->tokens[low];
    }
    return best;
}

bool added_tokens_next(const struct added_tokens *added, struct span text, size_t from,
                       struct added_match *match) {
    for (size_t at = from; at < text.len; at++) {
        if (!added->begins[(unsigned char)text.data[at]])
            continue;
        const struct added_token *token = longest_prefix(added, span_from(text, at));
        if (token) {
            *match = (struct added_match){.begin = at, .len = token->text.len, .id = token->id};
            return true;
        }
    }
    return false;
}

int32_t added_tokens_find(const struct added_tokens *added, struct span text) {
    const struct added_token *token = longest_prefix(added, text);
    return token && token->text.len == text.len ? token->id : -1;
}
