/* SPDX-License-Identifier: Apache-2.0 */
/* Rendered the same way by every template that knows vision. */
#include "model/chat_content.h"

#include <stdio.h>

void chat_content_free(struct chat_content *content) {
    chat_prompt_free(&content->parts);
}

static bool has_key(struct json_object *object, const char *key) {
    return json_object_object_get_ex(object, key, NULL);
}

static bool has_type(struct json_object *part, const char *type) {
    struct json_object *value = NULL;
    return json_object_object_get_ex(part, "type", &value) && span_is(json_span(value), type);
}

static void add_vision(struct chat_prompt *to, const struct chat_vision *vision, const char *word,
                       uint32_t number, const char *markers) {
    char label[32];
    if (vision->add_id) {
        snprintf(label, sizeof label, "%s %u: ", word, number);
        chat_prompt_add(to, span_of(label), false);
    }
    chat_prompt_add(to, span_of(markers), false);
}

static enum status add_part(struct chat_prompt *to, struct json_object *part,
                            struct chat_vision *vision, const char *path, size_t i,
                            struct error *err) {
    struct json_object *text = NULL;
    if (!json_object_is_type(part, json_type_object))
        return error_set(err, ERR_INPUT, "%s[%zu]: must be an object, not %s", path, i,
                         json_type_word(part));
    if (has_key(part, "image") || has_key(part, "image_url") || has_type(part, "image")) {
        if (!vision->allowed)
            return error_set(err, ERR_INPUT, "%s[%zu]: %s", path, i, vision->image_error);
        add_vision(to, vision, "Picture", ++vision->n_images,
                   "<|vision_start|><|image_pad|><|vision_end|>");
        return OK;
    }
    if (has_key(part, "video") || has_type(part, "video")) {
        if (!vision->allowed)
            return error_set(err, ERR_INPUT, "%s[%zu]: %s", path, i, vision->video_error);
        add_vision(to, vision, "Video", ++vision->n_videos,
                   "<|vision_start|><|video_pad|><|vision_end|>");
        return OK;
    }
    if (!json_object_object_get_ex(part, "text", &text))
        return error_set(err, ERR_INPUT, "%s[%zu]: Unexpected item type in content.", path, i);
    if (!json_object_is_type(text, json_type_string))
        return error_set(err, ERR_INPUT, "%s[%zu].text: must be a string, not %s", path, i,
                         json_type_word(text));
    chat_prompt_add(to, json_span(text), true);
    return OK;
}

static enum status add_value(struct chat_prompt *to, struct json_object *value,
                             struct chat_vision *vision, const char *path, struct error *err) {
    switch (json_object_get_type(value)) {
    case json_type_null:
        return OK;
    case json_type_string:
        chat_prompt_add(to, json_span(value), true);
        return OK;
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(value); i++)
            TRY(add_part(to, json_object_array_get_idx(value, i), vision, path, i, err));
        return OK;
    default:
        return error_set(err, ERR_INPUT, "%s: Unexpected content type.", path);
    }
}

enum status chat_content_read(struct chat_content *content, struct json_object *value,
                              struct chat_vision *vision, const char *path, struct error *err) {
    struct chat_prompt *to = &content->parts;
    text_clear(&to->text);
    to->n_pieces = 0;
    TRY(add_value(to, value, vision, path, err));
    if (to->text.failed)
        return error_set(err, ERR_NOMEM, "%s: no memory", path);
    return OK;
}

void chat_content_add(struct chat_prompt *prompt, const struct chat_content *content,
                      struct span part) {
    if (part.len == 0)
        return;
    size_t begin = (size_t)(part.data - content->parts.text.data);
    size_t end = begin + part.len;
    for (size_t i = 0; i < content->parts.n_pieces; i++) {
        const struct chat_piece *piece = &content->parts.pieces[i];
        size_t from = piece->begin > begin ? piece->begin : begin;
        size_t to = piece->end < end ? piece->end : end;
        if (from < to)
            chat_prompt_add(prompt, span_make(content->parts.text.data + from, to - from),
                            piece->from_caller);
    }
}
