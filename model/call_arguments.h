/* SPDX-License-Identifier: Apache-2.0 */
/* Values of tool calls: text that the model wrote between tags, as JSON of the type that the
 * tool's schema asks for.
 *
 *     string, or no type        the text; null if it says so and the schema also allows null
 *     null or None, any case    null, for every other type
 *     integer, number, boolean  that, if the text is one; a number without fraction is an integer
 *     object, array, others     the JSON value, if the text is one
 *     several types             the first of null, boolean, integer, number, object or array that
 *                               is among them and fits
 *     no schema for it          as if all types were allowed, but a number is kept as written
 *
 * What does not fit stays text: a client can mend a string, not a wrong number. */
#ifndef SHOAL_MODEL_CALL_ARGUMENTS_H
#define SHOAL_MODEL_CALL_ARGUMENTS_H

#include "base/json.h"
#include "base/span.h"
#include "base/text.h"

/* The schemas of the parameters of this tool, by name; NULL if there are none. `tools` is the list
 * of a request ({"type":"function","function":{"name",...}}) or NULL; the result is borrowed. */
struct json_object *call_arguments_schemas(struct json_object *tools, struct span name);

/* Appends the value of one parameter (valid UTF-8) as JSON. `schemas` from above. */
void call_arguments_add(struct text *out, struct json_object *schemas, struct span key,
                        struct span value);

#endif
