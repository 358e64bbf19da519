/* SPDX-License-Identifier: Apache-2.0 */
/* A schema becomes a set of types; the text is tried against them in a fixed order. */
#include "model/call_arguments.h"

#include "model/char_class.h"
#include "model/python_text.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

#define KEY_MAX    255 /* bytes of a parameter's name; a longer one has no schema */
#define NUMBER_MAX 400 /* bytes of a number that is read; a longer text is no number */

enum value_type {
    VALUE_NULL = 1,
    VALUE_BOOLEAN = 2,
    VALUE_INTEGER = 4,
    VALUE_NUMBER = 8,
    VALUE_CONTAINER = 16,
    VALUE_STRING = 32,
    VALUE_ANY = 64, /* no schema: numbers as written */
};

static struct json_object *field(struct json_object *object, const char *key) {
    struct json_object *value = NULL;
    if (json_object_is_type(object, json_type_object))
        json_object_object_get_ex(object, key, &value);
    return value;
}

struct json_object *call_arguments_schemas(struct json_object *tools, struct span name) {
    size_t n = json_object_is_type(tools, json_type_array) ? json_object_array_length(tools) : 0;
    for (size_t i = 0; i < n; i++) {
        struct json_object *tool = json_object_array_get_idx(tools, i);
        struct json_object *function = field(tool, "function");
        if (!function)
            function = tool;
        struct json_object *tool_name = field(function, "name");
        if (tool_name && span_eq(json_span(tool_name), name)) {
            struct json_object *schemas = field(field(function, "parameters"), "properties");
            return json_object_is_type(schemas, json_type_object) ? schemas : NULL;
        }
    }
    return NULL;
}

static unsigned type_of_word(struct span word) {
    static const struct {
        const char *word;
        unsigned type;
    } words[] = {
        {"null", VALUE_NULL},     {"boolean", VALUE_BOOLEAN}, {"integer", VALUE_INTEGER},
        {"number", VALUE_NUMBER}, {"string", VALUE_STRING},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (span_is(word, words[i].word))
            return words[i].type;
    }
    return VALUE_CONTAINER;
}

/* The types of "type": a word or a list of words; 0 if it says nothing. */
static unsigned declared_types(struct json_object *schema) {
    struct json_object *type = field(schema, "type");
    if (json_object_is_type(type, json_type_string))
        return type_of_word(json_span(type));
    unsigned types = 0;
    if (json_object_is_type(type, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(type); i++)
            types |= type_of_word(json_span(json_object_array_get_idx(type, i)));
    }
    return types;
}

/* A member of anyOf without a type is a reference to an object more often than not. */
static unsigned alternative_types(struct json_object *schema) {
    struct json_object *list = field(schema, "anyOf");
    if (!json_object_is_type(list, json_type_array))
        list = field(schema, "oneOf");
    unsigned types = 0;
    if (json_object_is_type(list, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(list); i++) {
            unsigned member = declared_types(json_object_array_get_idx(list, i));
            types |= member ? member : VALUE_CONTAINER;
        }
    }
    return types;
}

static unsigned schema_types(struct json_object *schemas, struct span key) {
    struct json_object *schema = NULL;
    char name[KEY_MAX + 1] = "";
    if (key.len > 0 && key.len <= KEY_MAX) {
        memcpy(name, key.data, key.len);
        schema = field(schemas, name);
    }
    if (!schema)
        return VALUE_ANY | VALUE_STRING;
    unsigned types = declared_types(schema);
    if (!types)
        types = alternative_types(schema);
    return types ? types : VALUE_STRING;
}

static bool is_word(struct span text, const char *word) {
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

static size_t count_digits(struct span text, size_t at) {
    size_t n = 0;
    while (at + n < text.len && text.data[at + n] >= '0' && text.data[at + n] <= '9')
        n++;
    return n;
}

/* Whether `text` is a number of JSON, and whether it is one without fraction and exponent. */
static bool is_json_number(struct span text, bool *integer) {
    size_t at = text.len && text.data[0] == '-';
    size_t n = count_digits(text, at);
    if (n == 0 || (n > 1 && text.data[at] == '0'))
        return false;
    at += n;
    *integer = at == text.len;
    if (at < text.len && text.data[at] == '.') {
        n = count_digits(text, at + 1);
        if (n == 0)
            return false;
        at += 1 + n;
    }
    if (at < text.len && (text.data[at] | 0x20) == 'e') {
        at++;
        if (at < text.len && (text.data[at] == '+' || text.data[at] == '-'))
            at++;
        n = count_digits(text, at);
        if (n == 0)
            return false;
        at += n;
    }
    return at == text.len;
}

/* An integer may have a plus or zeros in front, which JSON forbids. */
static bool add_integer(struct text *out, struct span text) {
    bool negative = text.len && text.data[0] == '-';
    if (text.len && (text.data[0] == '-' || text.data[0] == '+'))
        text = span_from(text, 1);
    if (text.len == 0 || count_digits(text, 0) != text.len)
        return false;
    while (text.len > 1 && text.data[0] == '0')
        text = span_from(text, 1);
    if (negative && text.data[0] != '0')
        text_add_char(out, '-');
    text_add(out, text);
    return true;
}

static bool add_number(struct text *out, struct span text) {
    bool integer;
    char digits[NUMBER_MAX + 1];
    if (add_integer(out, text))
        return true;
    if (text.len > NUMBER_MAX || !is_json_number(text, &integer))
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    double value = strtod(digits, NULL);
    if (!isfinite(value))
        return false;
    if (value == floor(value) && fabs(value) < 0x1p53)
        text_printf(out, "%.0f", value == 0 ? 0.0 : value);
    else
        python_add_double(out, value);
    return true;
}

static bool add_container(struct text *out, struct span text) {
    struct json_object *value;
    if (!span_starts_with(text, "{") && !span_starts_with(text, "["))
        return false;
    if (json_parse(text, &value, NULL) != OK)
        return false;
    size_t before = out->len;
    bool added = python_add_json(out, value, JSON_COMPACT);
    if (!added)
        out->len = before;
    json_object_put(value);
    return added;
}

/* The first of the types that the text fits, as JSON; false if there is none but string. */
static bool add_typed(struct text *out, unsigned types, struct span text) {
    bool any = types & VALUE_ANY;
    bool integer;
    bool nullable = any || (types & VALUE_NULL) || !(types & VALUE_STRING);
    if (nullable && (is_word(text, "null") || is_word(text, "none"))) {
        text_add_str(out, "null");
        return true;
    }
    if ((any || (types & VALUE_BOOLEAN)) && (is_word(text, "true") || is_word(text, "false"))) {
        text_add_str(out, is_word(text, "true") ? "true" : "false");
        return true;
    }
    if (any && text.len <= NUMBER_MAX && is_json_number(text, &integer)) {
        text_add(out, text);
        return true;
    }
    if ((types & VALUE_INTEGER) && add_integer(out, text))
        return true;
    if ((types & VALUE_NUMBER) && add_number(out, text))
        return true;
    return (any || (types & VALUE_CONTAINER)) && add_container(out, text);
}

void call_arguments_add(struct text *out, struct json_object *schemas, struct span key,
                        struct span value) {
    if (!add_typed(out, schema_types(schemas, key), span_strip(value)))
        json_add_string(out, value);
}
