/* SPDX-License-Identifier: Apache-2.0 */
/* The printable spelling of bytes in vocabulary files: every byte is written as one character.
 *
 * 0x21..0x7e, 0xa1..0xac and 0xae..0xff stand for themselves; the other 68 bytes, in order, are
 * U+0100, U+0101, ... (so a space is U+0120). Source: the vocabulary format of GPT-2, which files
 * with tokenizer.ggml.model = "gpt2" keep. */
#ifndef SHOAL_MODEL_BYTE_ALPHABET_H
#define SHOAL_MODEL_BYTE_ALPHABET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/text.h"

/* The byte that a character stands for, -1 if none. */
int byte_alphabet_byte(uint32_t code_point);

/* The character that stands for a byte. */
uint32_t byte_alphabet_char(unsigned char byte);

/* Appends the bytes that `spelling` stands for; false (and nothing appended) if it is not in the
 * alphabet. */
bool byte_alphabet_decode(struct text *out, struct span spelling);

#endif
