/* SPDX-License-Identifier: Apache-2.0 */
/* Opened at the first call and never closed: a target has no end. */
#include "tests/fuzz/support_fuzz.h"

#include <stdio.h>
#include <stdlib.h>

void fuzz_check(bool promise) {
    if (!promise)
        abort();
}

const struct tokenizer *fuzz_tokenizer(void) {
    static struct gguf gguf;
    static struct tokenizer *t;
    struct error err;
    if (t)
        return t;
    if (gguf_open(&gguf, SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf", &err) != OK ||
        tokenizer_open(&t, &gguf, &err) != OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return t;
}
