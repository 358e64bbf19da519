/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, strictly as in RFC 3629: no surrogates, no overlong forms, at most U+10FFFF. */
#ifndef SHOAL_BASE_UTF8_H
#define SHOAL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/text.h"

/* Length 1..4 of the character at the front of `bytes` and its code point; 0 if the bytes there
 * are not a whole valid character (bytes.len 0 included). */
size_t utf8_decode(struct span bytes, uint32_t *code_point);

/* Writes 1..4 bytes; returns how many. A surrogate or a value above U+10FFFF gives U+FFFD. */
size_t utf8_encode(uint32_t code_point, char out[4]);

bool utf8_valid(struct span bytes);

/* Appends `bytes`; each maximal broken sequence becomes one U+FFFD (Unicode 15, 3.9, "best
 * practice", which is what Python and browsers do). Returns whether something was replaced. */
bool utf8_append_repaired(struct text *out, struct span bytes);

/* How many bytes at the end of `bytes` may be the beginning of a character whose rest has not
 * come yet (0..3). A stream holds these back. */
size_t utf8_incomplete_tail(struct span bytes);

#endif
