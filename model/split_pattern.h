/* SPDX-License-Identifier: Apache-2.0 */
/* The pre-tokenizer patterns of the family: text to words, without a regular expression engine.
 *
 *     1  (?i:'s|'t|'re|'ve|'m|'ll|'d)
 *     2  [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+
 *     3  \p{N}
 *     4   ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*
 *     5  \s*[\r\n]+
 *     6  \s+(?!\S)
 *     7  \s+
 *
 * The first alternative that matches wins, and one always does. That is qwen35; in qwen2, marks
 * are no part of words: \p{L}+ in 2, [^\s\p{L}\p{N}]+ in 4. No alternative looks back, so a word
 * depends only on the text from its beginning. Every character is looked at a bounded number of
 * times, which a backtracking engine does not promise. */
#ifndef SHOAL_MODEL_SPLIT_PATTERN_H
#define SHOAL_MODEL_SPLIT_PATTERN_H

#include <stddef.h>

#include "base/span.h"

enum split_pattern { SPLIT_QWEN2, SPLIT_QWEN35 };

/* The bytes of the first word of `text` (valid UTF-8): at least 1 unless it is empty. */
size_t split_first_word(enum split_pattern pattern, struct span text);

#endif
