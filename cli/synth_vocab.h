/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of a synthetic model: a real byte-level BPE with few merges, filled up to any
 * size.
 *
 *     256 bytes | words of the merges | filler | the family's added tokens | padding rows
 *
 * Any text can be encoded and any id decoded, and the special tokens stand where a reader of the
 * family's files expects them. */
#ifndef SHOAL_CLI_SYNTH_VOCAB_H
#define SHOAL_CLI_SYNTH_VOCAB_H

#include <stdint.h>

#include "base/error.h"
#include "model/gguf_writer.h"
#include "model/hparams.h"

/* Bytes and added tokens must fit. */
#define SYNTH_VOCAB_MIN 300u

struct synth_vocab_options {
    enum arch arch; /* decides the pre-tokenizer and the number of added tokens */
    uint32_t n_vocab, n_padding;
};

/* The keys "tokenizer.*". ERR_INPUT: too small. */
enum status synth_vocab_write(const struct synth_vocab_options *options, struct gguf_writer *w,
                              struct error *err);

extern const char synth_chat_template[];

#endif
