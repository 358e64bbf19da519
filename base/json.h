/* SPDX-License-Identifier: Apache-2.0 */
/* The door to json-c: parsing with limits and with messages that say where, and the small
 * questions every reader of JSON asks. Values are json-c objects, kept in the order of the text;
 * the caller releases the root with json_object_put. One thread at a time per tree. */
#ifndef SHOAL_BASE_JSON_H
#define SHOAL_BASE_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json_syntax.h"
#include "base/span.h"
#include "base/text.h"

#define JSON_BYTES_MAX (64u << 20)

/* Exactly one JSON value with white space around it. ERR_INPUT names the byte offset; ERR_LIMIT:
 * too deep or too long. Of two fields with one name the last counts; an integer beyond 64 bits
 * becomes the nearest one that fits; an escaped half of a surrogate pair becomes U+FFFD. */
enum status json_parse(struct span bytes, struct json_object **out, struct error *err);

/* Appends `bytes` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void json_add_string(struct text *out, struct span bytes);

/* Appends the shortest decimal text that reads back as the same double; null if not finite. */
void json_add_double(struct text *out, double value);

/* The string's bytes as a view into `value` (dies with it); empty if `value` is no string. */
struct span json_span(struct json_object *value);

/* One field of a request: its type is checked, its absence (or null) leaves *out alone.
 * ERR_INPUT: "<key>: must be <type>, not <type>". */
enum status json_get_bool(struct json_object *object, const char *key, bool *out,
                          struct error *err);
enum status json_get_int(struct json_object *object, const char *key, int64_t min, int64_t max,
                         int64_t *out, struct error *err);
enum status json_get_string(struct json_object *object, const char *key, struct span *out,
                            struct error *err);
enum status json_get_array(struct json_object *object, const char *key, struct json_object **out,
                           struct error *err);

/* "object", "array", "string", "integer", "number", "boolean", "null". */
const char *json_type_word(struct json_object *value);

#endif
