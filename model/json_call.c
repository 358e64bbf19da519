/* SPDX-License-Identifier: Apache-2.0 */
/* A cut-off call is closed behind the last member that is surely complete, and read again. */
#include "model/json_call.h"

#include "base/json.h"
#include "model/python_text.h"

bool json_scan_byte(struct json_scan *scan, char c) {
    if (scan->in_string) {
        bool escape = !scan->escaped && c == '\\';
        scan->in_string = scan->escaped || c != '"';
        scan->escaped = escape;
        return false;
    }
    if (c == '"')
        scan->in_string = true;
    else if (c == '{' || c == '[')
        scan->depth++;
    else if ((c == '}' || c == ']') && scan->depth)
        return --scan->depth == 0;
    return false;
}

/* Arguments may also come as a string that holds the object, or not at all. */
static bool add_arguments(struct text *out, struct json_object *arguments) {
    struct json_object *parsed = NULL;
    if (!arguments) {
        text_add_str(out, "{}");
        return true;
    }
    if (json_object_is_type(arguments, json_type_string)) {
        if (json_parse(json_span(arguments), &parsed, NULL) != OK)
            return false;
        arguments = parsed;
    }
    bool added = json_object_is_type(arguments, json_type_object) &&
                 python_add_json(out, arguments, JSON_COMPACT);
    json_object_put(parsed);
    return added;
}

bool json_call_read(struct span object, struct text *name, struct text *arguments) {
    struct json_object *call, *call_name = NULL, *call_arguments = NULL;
    text_clear(name);
    text_clear(arguments);
    if (json_parse(object, &call, NULL) != OK)
        return false;
    bool ok = json_object_is_type(call, json_type_object) &&
              json_object_object_get_ex(call, "name", &call_name) && json_span(call_name).len > 0;
    if (ok) {
        json_object_object_get_ex(call, "arguments", &call_arguments);
        text_add(name, json_span(call_name));
        ok = add_arguments(arguments, call_arguments);
    }
    json_object_put(call);
    return ok;
}

bool json_call_read_cut(struct span object, struct text *name, struct text *arguments) {
    struct json_scan scan = {0};
    size_t complete = 0;
    const char *closers = "";
    for (size_t i = 0; i < object.len; i++) {
        char c = object.data[i];
        size_t depth = scan.depth;
        bool in_string = scan.in_string;
        json_scan_byte(&scan, c);
        if (in_string || scan.in_string)
            continue;
        bool opened = depth == 1 && c == '{'; /* the arguments begin */
        bool closed = depth == 2 && c == '}'; /* ... and end */
        bool between = c == ',' && (depth == 1 || depth == 2);
        if (opened || closed || between) {
            complete = i + !between;
            closers = scan.depth == 2 ? "}}" : "}";
        }
    }
    if (complete == 0)
        return false;
    struct text repaired = {0};
    text_add(&repaired, span_make(object.data, complete));
    text_add_str(&repaired, closers);
    bool ok = !repaired.failed && json_call_read(text_span(&repaired), name, arguments);
    text_free(&repaired);
    return ok;
}
