/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values as Python prints them: what the published templates' `tojson` and `string` filters
 * give, to the byte, because the model was trained on it. */
#ifndef SHOAL_MODEL_PYTHON_TEXT_H
#define SHOAL_MODEL_PYTHON_TEXT_H

#include <stdbool.h>

#include "base/json.h"
#include "base/text.h"

enum json_style {
    JSON_SPACED,  /* json.dumps(value, ensure_ascii=False): ", " and ": " */
    JSON_COMPACT, /* the same without the spaces */
};

/* Keys keep their order. False (and an unfinished text) if it is nested deeper than
 * JSON_DEPTH_MAX, which no parsed value is. */
bool python_add_json(struct text *out, struct json_object *value, enum json_style style);

/* str(value) of a string, number, boolean or null: True, None, 0.5. */
void python_add_str(struct text *out, struct json_object *value);

/* A float in JSON: the shortest digits that read back the same; 1e-05, 1e+20, 100000.0, and NaN,
 * Infinity, -Infinity. */
void python_add_double(struct text *out, double value);

#endif
