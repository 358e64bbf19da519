/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as text, with the vocabulary of the demonstration model. The ids must be
 * in the vocabulary, and without added tokens their bytes must be the text again: its valid
 * stretches in form C, the rest untouched. */
#include "base/utf8.h"
#include "model/nfc.h"
#include "model/tokenizer.h"
#include "tests/fuzz/support_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What encoding and decoding makes of the text. */
static void append_expected(struct text *out, struct span text) {
    struct error err;
    while (text.len) {
        uint32_t c;
        size_t n = 0, step;
        while ((step = utf8_decode(span_from(text, n), &c)))
            n += step;
        if (n)
            fuzz_check(nfc_append(out, span_make(text.data, n), &err) == OK);
        else
            text_add(out, span_make(text.data, n = 1));
        text = span_from(text, n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct tokenizer *t = fuzz_tokenizer();
    struct span text = span_make((const char *)data, size);
    struct token_ids ids = {0};
    struct text back = {0}, expected = {0};
    struct error err;
    fuzz_check(tokenizer_encode(t, text, false, &ids, &err) == OK);
    for (size_t i = 0; i < ids.n; i++) {
        fuzz_check(tokenizer_kind(t, ids.data[i]) == TOKEN_NORMAL);
        text_add(&back, tokenizer_bytes(t, ids.data[i]));
    }
    if (size)
        append_expected(&expected, text);
    fuzz_check(span_eq(text_span(&back), text_span(&expected)));

    ids.n = 0;
    fuzz_check(tokenizer_encode(t, text, true, &ids, &err) == OK);
    for (size_t i = 0; i < ids.n; i++)
        fuzz_check(tokenizer_bytes(t, ids.data[i]).len > 0);
    token_ids_free(&ids);
    text_free(&back);
    text_free(&expected);
    return 0;
}
