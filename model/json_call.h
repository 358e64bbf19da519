/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls as Qwen3 writes them: one JSON object {"name": ..., "arguments": {...}}. */
#ifndef SHOAL_MODEL_JSON_CALL_H
#define SHOAL_MODEL_JSON_CALL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "base/text.h"

/* Follows an object byte by byte to its closing brace, without judging the rest. Zeroed: before
 * the opening brace. */
struct json_scan {
    size_t depth;
    bool in_string, escaped;
};

/* Takes the next byte; true if it closed the outermost object or array. */
bool json_scan_byte(struct json_scan *scan, char c);

/* Name and arguments (compact JSON of an object) of a whole call; false if it is none. */
bool json_call_read(struct span object, struct text *name, struct text *arguments);

/* The same for a call whose text was cut off: with the arguments that were complete. */
bool json_call_read_cut(struct span object, struct text *name, struct text *arguments);

#endif
