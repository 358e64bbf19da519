/* SPDX-License-Identifier: Apache-2.0 */
/* json-c builds the values of a text that base/json_syntax.h approved; here stand the limits, the
 * questions about fields and exact output. */
#include "base/json.h"

#include "base/json_syntax.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum status json_parse(struct span bytes, struct json_object **out, struct error *err) {
    *out = NULL;
    if (bytes.len > JSON_BYTES_MAX)
        return error_set(err, ERR_LIMIT, "json: %zu bytes, at most %u are read", bytes.len,
                         JSON_BYTES_MAX);
    TRY(json_check_syntax(bytes, err));
    /* json-c counts the scalar inside the innermost array as a level. */
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
    if (!tokener)
        return error_set(err, ERR_NOMEM, "json: no memory");
    struct json_object *value = json_tokener_parse_ex(tokener, bytes.data, (int)bytes.len);
    if (json_tokener_get_error(tokener) == json_tokener_continue)
        value = json_tokener_parse_ex(tokener, "", 1); /* a number ends with the text */
    enum json_tokener_error code = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    if (code != json_tokener_success) {
        json_object_put(value);
        return error_set(err, ERR_INPUT, "json: %s", json_tokener_error_desc(code));
    }
    *out = value;
    return OK;
}

void json_add_string(struct text *out, struct span bytes) {
    static const char letters[] = "btn?fr"; /* of 0x08..0x0d; 0x0b has none */
    struct text repaired = {0};
    if (!utf8_valid(bytes)) {
        utf8_append_repaired(&repaired, bytes);
        bytes = text_span(&repaired);
    }
    text_add_char(out, '"');
    size_t begin = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        text_add(out, span_make(bytes.data + begin, i - begin));
        begin = i + 1;
        if (c == '"' || c == '\\')
            text_printf(out, "\\%c", c);
        else if (c >= 0x08 && c <= 0x0d && c != 0x0b)
            text_printf(out, "\\%c", letters[c - 0x08]);
        else
            text_printf(out, "\\u%04x", c);
    }
    if (begin < bytes.len)
        text_add(out, span_from(bytes, begin));
    text_add_char(out, '"');
    text_free(&repaired);
}

void json_add_double(struct text *out, double value) {
    if (!isfinite(value)) {
        text_add_str(out, "null");
        return;
    }
    char digits[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    text_add_str(out, digits);
}

struct span json_span(struct json_object *value) {
    if (!json_object_is_type(value, json_type_string))
        return (struct span){0};
    return span_make(json_object_get_string(value), (size_t)json_object_get_string_len(value));
}

const char *json_type_word(struct json_object *value) {
    switch (json_object_get_type(value)) {
    case json_type_boolean:
        return "boolean";
    case json_type_double:
        return "number";
    case json_type_int:
        return "integer";
    case json_type_object:
        return "object";
    case json_type_array:
        return "array";
    case json_type_string:
        return "string";
    case json_type_null:
        break;
    }
    return "null";
}

/* The field, or NULL if it is absent or null. */
static enum status get_field(struct json_object *object, const char *key, enum json_type type,
                             const char *word, struct json_object **out, struct error *err) {
    struct json_object *value = NULL;
    *out = NULL;
    if (!json_object_object_get_ex(object, key, &value) || !value)
        return OK;
    if (!json_object_is_type(value, type))
        return error_set(err, ERR_INPUT, "%s: must be %s, not %s", key, word,
                         json_type_word(value));
    *out = value;
    return OK;
}

enum status json_get_bool(struct json_object *object, const char *key, bool *out,
                          struct error *err) {
    struct json_object *value;
    TRY(get_field(object, key, json_type_boolean, "a boolean", &value, err));
    if (value)
        *out = json_object_get_boolean(value);
    return OK;
}

enum status json_get_int(struct json_object *object, const char *key, int64_t min, int64_t max,
                         int64_t *out, struct error *err) {
    struct json_object *value;
    TRY(get_field(object, key, json_type_int, "an integer", &value, err));
    if (!value)
        return OK;
    int64_t n = json_object_get_int64(value);
    if (n < min || n > max)
        return error_set(err, ERR_INPUT, "%s: %" PRId64 " is not in %" PRId64 "..%" PRId64, key, n,
                         min, max);
    *out = n;
    return OK;
}

enum status json_get_string(struct json_object *object, const char *key, struct span *out,
                            struct error *err) {
    struct json_object *value;
    TRY(get_field(object, key, json_type_string, "a string", &value, err));
    if (value)
        *out = json_span(value);
    return OK;
}

enum status json_get_array(struct json_object *object, const char *key, struct json_object **out,
                           struct error *err) {
    struct json_object *value;
    TRY(get_field(object, key, json_type_array, "an array", &value, err));
    if (value)
        *out = value;
    return OK;
}
