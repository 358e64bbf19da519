/* SPDX-License-Identifier: Apache-2.0 */
/* Reading messages and calls: the same questions in every template. */
#include "model/chat_renderers.h"

#include "model/python_text.h"

#include <stdio.h>

void chat_add_json(struct chat_prompt *prompt, struct json_object *value) {
    struct text json = {0};
    if (!python_add_json(&json, value, JSON_SPACED) || json.failed)
        prompt->text.failed = true;
    chat_prompt_add(prompt, text_span(&json), true);
    text_free(&json);
}

void chat_add_str(struct chat_prompt *prompt, struct json_object *value) {
    struct text str = {0};
    python_add_str(&str, value);
    if (str.failed)
        prompt->text.failed = true;
    chat_prompt_add(prompt, text_span(&str), true);
    text_free(&str);
}

struct json_object *chat_message(const struct chat_input *input, size_t i) {
    return json_object_array_get_idx(input->messages, i);
}

struct json_object *chat_field(struct json_object *object, const char *key) {
    struct json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return value;
}

struct span chat_role(const struct chat_input *input, size_t i) {
    return json_span(chat_field(chat_message(input, i), "role"));
}

enum status chat_check_messages(const struct chat_input *input, struct error *err) {
    for (size_t i = 0; i < json_object_array_length(input->messages); i++) {
        struct json_object *message = chat_message(input, i);
        if (!json_object_is_type(message, json_type_object))
            return error_set(err, ERR_INPUT, "messages[%zu]: must be an object, not %s", i,
                             json_type_word(message));
    }
    return OK;
}

enum status chat_tool_calls(const struct chat_input *input, size_t i, struct json_object **out,
                            struct error *err) {
    struct json_object *calls = chat_field(chat_message(input, i), "tool_calls");
    *out = NULL;
    if (!calls)
        return OK;
    if (!json_object_is_type(calls, json_type_array))
        return error_set(err, ERR_INPUT, "messages[%zu].tool_calls: must be an array, not %s", i,
                         json_type_word(calls));
    for (size_t k = 0; k < json_object_array_length(calls); k++) {
        struct json_object *call = json_object_array_get_idx(calls, k);
        if (!json_object_is_type(call, json_type_object))
            return error_set(err, ERR_INPUT,
                             "messages[%zu].tool_calls[%zu]: must be an object, not %s", i, k,
                             json_type_word(call));
    }
    *out = calls;
    return OK;
}

enum status chat_call_function(struct json_object *calls, size_t i, size_t k,
                               struct json_object **out, char path[CHAT_PATH_MAX],
                               struct error *err) {
    struct json_object *call = json_object_array_get_idx(calls, k);
    struct json_object *function = NULL;
    bool wrapped = json_object_object_get_ex(call, "function", &function);
    if (!wrapped)
        function = call;
    snprintf(path, CHAT_PATH_MAX, "messages[%zu].tool_calls[%zu]%s", i, k,
             wrapped ? ".function" : "");
    if (!json_object_is_type(function, json_type_object))
        return error_set(err, ERR_INPUT, "%s: must be an object, not %s", path,
                         json_type_word(function));
    struct json_object *name = chat_field(function, "name");
    if (!json_object_is_type(name, json_type_string))
        return error_set(err, ERR_INPUT, "%s.name: must be a string, not %s", path,
                         json_type_word(name));
    *out = function;
    return OK;
}

struct span chat_skip_line_feeds(struct span text) {
    while (text.len && text.data[0] == '\n')
        text = span_from(text, 1);
    return text;
}

struct span chat_trim_line_feeds(struct span text) {
    text = chat_skip_line_feeds(text);
    while (text.len && text.data[text.len - 1] == '\n')
        text.len--;
    return text;
}

/* What follows the last `marker`, or all of it. */
static struct span after_last(struct span text, const char *marker) {
    size_t at;
    while ((at = span_find(text, marker)) != SIZE_MAX)
        text = span_from(text, at + strlen(marker));
    return text;
}

bool chat_cut_thought(struct span *content, struct span *thought) {
    size_t end = span_find(*content, "</think>");
    if (end == SIZE_MAX)
        return false;
    *thought = after_last(span_make(content->data, end), "<think>");
    *content = chat_skip_line_feeds(after_last(*content, "</think>"));
    return true;
}
