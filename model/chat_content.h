/* SPDX-License-Identifier: Apache-2.0 */
/* The content of one message as one text, of which some bytes are the template's (the markers of
 * images and videos) and the rest the caller's. Templates strip and cut this text, so the
 * distinction travels with it. */
#ifndef SHOAL_MODEL_CHAT_CONTENT_H
#define SHOAL_MODEL_CHAT_CONTENT_H

#include "model/chat_template.h"

struct chat_content {
    struct chat_prompt parts; /* text and pieces as in a prompt */
};

/* How parts with images and videos are rendered. */
struct chat_vision {
    bool allowed;            /* otherwise an image or video is an error */
    const char *image_error; /* what the error says */
    const char *video_error;
    bool add_id;                 /* "Picture 1: " before each */
    uint32_t n_images, n_videos; /* counted so far */
};

/* Renders `value` (a string, null, or a list of parts) in place of what was there. `path` names
 * it in errors: "messages[2].content". */
enum status chat_content_read(struct chat_content *content, struct json_object *value,
                              struct chat_vision *vision, const char *path, struct error *err);
void chat_content_free(struct chat_content *content); /* safe on a zeroed struct */

/* Appends a part of the content, a view into its text. */
void chat_content_add(struct chat_prompt *prompt, const struct chat_content *content,
                      struct span part);

/* The whole text. */
static inline struct span chat_content_span(const struct chat_content *content) {
    return span_make(text_str(&content->parts.text), content->parts.text.len);
}

#endif
