/* SPDX-License-Identifier: Apache-2.0 */
/* The few questions that tokenizers and templates ask about a character.
 *
 * The classes are those of the pre-tokenizer patterns: \p{L}, \p{M}, \p{N} by Unicode general
 * category, \s by the property White_Space, and the rest. No character is in two of them. */
#ifndef SHOAL_MODEL_CHAR_CLASS_H
#define SHOAL_MODEL_CHAR_CLASS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum char_class {
    CHAR_OTHER,
    CHAR_LETTER, /* Lu Ll Lt Lm Lo */
    CHAR_MARK,   /* Mn Mc Me */
    CHAR_NUMBER, /* Nd Nl No */
    CHAR_SPACE,  /* White_Space, line breaks included */
};

enum char_class char_class_of(uint32_t code_point);

/* What str.strip of Python removes: White_Space and U+001C..U+001F. */
bool char_is_python_space(uint32_t code_point);

/* `text` (valid UTF-8) without such characters at both ends: a view into it. */
struct span span_strip(struct span text);

#endif
