/* SPDX-License-Identifier: Apache-2.0 */
/* The writer walks the value with its own stack: nesting comes from outside. */
#include "model/python_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS_MAX 17 /* significant digits that identify a double */

/* A decimal number: 0.d1d2d3... * 10^point. */
struct decimal {
    char digits[DIGITS_MAX + 2];
    int n;
    int point;
};

static double decimal_value(const struct decimal *d) {
    char text[DIGITS_MAX + 16];
    snprintf(text, sizeof text, "%se%d", d->digits, d->point - d->n);
    return strtod(text, NULL);
}

/* `value` > 0 rounded to n digits. */
static struct decimal decimal_round(double value, int n) {
    char text[DIGITS_MAX + 16];
    struct decimal d = {.n = n};
    snprintf(text, sizeof text, "%.*e", n - 1, value);
    int n_digits = 0;
    const char *at = text;
    for (; *at && *at != 'e'; at++) { /* the decimal point may be another character elsewhere */
        if (isdigit((unsigned char)*at))
            d.digits[n_digits++] = *at;
    }
    d.point = (*at ? (int)strtol(at + 1, NULL, 10) : 0) + 1;
    return d;
}

/* One more in the last digit. */
static void decimal_increment(struct decimal *d) {
    int i = d->n - 1;
    while (i >= 0 && d->digits[i] == '9')
        d->digits[i--] = '0';
    if (i >= 0) {
        d->digits[i]++;
        return;
    }
    d->digits[0] = '1';
    d->point++;
}

/* The shortest decimal that reads back as `value` > 0. Below a power of two doubles lie closer, so
 * there the nearest decimal of some length may miss where its upper neighbour does not. */
static struct decimal decimal_shortest(double value) {
    for (int n = 1; n < DIGITS_MAX; n++) {
        struct decimal d = decimal_round(value, n);
        if (decimal_value(&d) == value)
            return d;
        decimal_increment(&d);
        if (decimal_value(&d) == value)
            return d;
    }
    return decimal_round(value, DIGITS_MAX);
}

static void add_zeros(struct text *out, int n) {
    for (int i = 0; i < n; i++)
        text_add_char(out, '0');
}

void python_add_double(struct text *out, double value) {
    if (isnan(value)) {
        text_add_str(out, "NaN");
        return;
    }
    if (signbit(value))
        text_add_char(out, '-');
    value = fabs(value);
    if (isinf(value) || value == 0) {
        text_add_str(out, value == 0 ? "0.0" : "Infinity");
        return;
    }
    struct decimal d = decimal_shortest(value);
    size_t n = (size_t)d.n;
    if (d.point < -3 || d.point > 16) { /* as float.__repr__ chooses */
        text_add_char(out, d.digits[0]);
        if (n > 1)
            text_add_char(out, '.');
        text_add(out, span_make(d.digits + 1, n - 1));
        text_printf(out, "e%c%02d", d.point < 1 ? '-' : '+', abs(d.point - 1));
    } else if (d.point <= 0) {
        text_add_str(out, "0.");
        add_zeros(out, -d.point);
        text_add(out, span_make(d.digits, n));
    } else if (d.point >= d.n) {
        text_add(out, span_make(d.digits, n));
        add_zeros(out, d.point - d.n);
        text_add_str(out, ".0");
    } else {
        text_add(out, span_make(d.digits, (size_t)d.point));
        text_add_char(out, '.');
        text_add(out, span_make(d.digits + d.point, (size_t)(d.n - d.point)));
    }
}

static void add_int(struct text *out, struct json_object *value) {
    int64_t n = json_object_get_int64(value);
    if (n == INT64_MAX) /* perhaps more: only the unsigned reading tells */
        text_printf(out, "%" PRIu64, json_object_get_uint64(value));
    else
        text_printf(out, "%" PRId64, n);
}

static void add_json_scalar(struct text *out, struct json_object *value) {
    switch (json_object_get_type(value)) {
    case json_type_string:
        json_add_string(out, json_span(value));
        break;
    case json_type_int:
        add_int(out, value);
        break;
    case json_type_double:
        python_add_double(out, json_object_get_double(value));
        break;
    case json_type_boolean:
        text_add_str(out, json_object_get_boolean(value) ? "true" : "false");
        break;
    default:
        text_add_str(out, "null");
        break;
    }
}

/* A container that is being written: what comes next in it. */
struct json_frame {
    struct json_object *array;   /* NULL if it is an object */
    size_t next_idx;             /* of the array */
    struct lh_entry *next_entry; /* of the object */
    bool any;                    /* a member was written */
};

static bool push_frame(struct text *out, struct json_frame *frames, size_t *depth,
                       struct json_object *container) {
    if (*depth == JSON_DEPTH_MAX)
        return false;
    bool array = json_object_is_type(container, json_type_array);
    frames[(*depth)++] = (struct json_frame){
        .array = array ? container : NULL,
        .next_entry = array ? NULL : json_object_get_object(container)->head,
    };
    text_add_char(out, array ? '[' : '{');
    return true;
}

/* Writes separator and key of the next member and returns its value; false at the end. */
static bool next_member(struct text *out, struct json_frame *frame, enum json_style style,
                        struct json_object **value) {
    struct lh_entry *entry = frame->next_entry;
    if (frame->array ? frame->next_idx == json_object_array_length(frame->array) : !entry)
        return false;
    if (frame->any)
        text_add_str(out, style == JSON_SPACED ? ", " : ",");
    frame->any = true;
    if (frame->array) {
        *value = json_object_array_get_idx(frame->array, frame->next_idx++);
        return true;
    }
    json_add_string(out, span_of(lh_entry_k(entry)));
    text_add_str(out, style == JSON_SPACED ? ": " : ":");
    *value = lh_entry_v(entry);
    frame->next_entry = lh_entry_next(entry);
    return true;
}

static bool is_container(struct json_object *value) {
    return json_object_is_type(value, json_type_object) ||
           json_object_is_type(value, json_type_array);
}

bool python_add_json(struct text *out, struct json_object *value, enum json_style style) {
    struct json_frame frames[JSON_DEPTH_MAX];
    size_t depth = 0;
    if (!is_container(value)) {
        add_json_scalar(out, value);
        return true;
    }
    if (!push_frame(out, frames, &depth, value))
        return false;
    while (depth > 0) {
        struct json_frame *frame = &frames[depth - 1];
        struct json_object *member = NULL;
        if (!next_member(out, frame, style, &member)) {
            text_add_char(out, frame->array ? ']' : '}');
            depth--;
        } else if (!is_container(member)) {
            add_json_scalar(out, member);
        } else if (!push_frame(out, frames, &depth, member)) {
            return false;
        }
    }
    return true;
}

void python_add_str(struct text *out, struct json_object *value) {
    switch (json_object_get_type(value)) {
    case json_type_string:
        text_add(out, json_span(value));
        break;
    case json_type_boolean:
        text_add_str(out, json_object_get_boolean(value) ? "True" : "False");
        break;
    case json_type_null:
        text_add_str(out, "None");
        break;
    case json_type_double:
        if (!isfinite(json_object_get_double(value)))
            text_printf(out, "%g", json_object_get_double(value)); /* inf, -inf, nan */
        else
            python_add_double(out, json_object_get_double(value));
        break;
    default:
        add_json_scalar(out, value);
        break;
    }
}
