/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a tokenizer, for the files that build it and use it; nobody else includes this. */
#ifndef SHOAL_MODEL_TOKENIZER_PARTS_H
#define SHOAL_MODEL_TOKENIZER_PARTS_H

#include "base/arena.h"
#include "model/added_tokens.h"
#include "model/bpe.h"
#include "model/tokenizer.h"

struct tokenizer {
    enum split_pattern pattern;
    uint32_t n_tokens;
    const char *bytes;       /* of all tokens, one behind the other */
    const uint32_t *offsets; /* [n_tokens + 1] into bytes */
    const uint8_t *kinds;    /* [n_tokens] */
    struct bpe bpe;
    struct added_tokens added;
    int32_t end_ids[TOKENIZER_N_ENDS_MAX + 2];
    uint32_t n_end_ids;
    struct arena arena; /* owns all of the above */
};

#endif
