/* SPDX-License-Identifier: Apache-2.0 */
/* The renderers behind chat_render, and what they share; nobody else includes this. */
#ifndef SHOAL_MODEL_CHAT_RENDERERS_H
#define SHOAL_MODEL_CHAT_RENDERERS_H

#include "model/chat_content.h"
#include "model/chat_template.h"

#define CHAT_PATH_MAX 96 /* bytes of "messages[123].tool_calls[45].function.arguments" */

/* input->messages is an array that is not empty. */
typedef enum status chat_renderer(struct chat_prompt *prompt, enum chat_template t,
                                  const struct chat_input *input, struct error *err);
chat_renderer chat_render_qwen35, chat_render_qwen3;

/* Text of the template. */
static inline void chat_add(struct chat_prompt *prompt, const char *text) {
    chat_prompt_add(prompt, span_of(text), false);
}

/* Text of the caller. */
static inline void chat_add_caller(struct chat_prompt *prompt, struct span text) {
    chat_prompt_add(prompt, text, true);
}

/* A value as JSON or as Python text, of the caller. */
void chat_add_json(struct chat_prompt *prompt, struct json_object *value);
void chat_add_str(struct chat_prompt *prompt, struct json_object *value);

/* Message i, and its role: empty unless a string. */
struct json_object *chat_message(const struct chat_input *input, size_t i);
struct span chat_role(const struct chat_input *input, size_t i);

/* object[key], NULL if absent or null. */
struct json_object *chat_field(struct json_object *object, const char *key);

/* Every message must be an object. */
enum status chat_check_messages(const struct chat_input *input, struct error *err);

/* A message without calls gives NULL; otherwise its array, every entry checked to be an object. */
enum status chat_tool_calls(const struct chat_input *input, size_t i, struct json_object **out,
                            struct error *err);

/* The object that has name and arguments of call k: the call itself or its field "function".
 * `path` becomes the path of that object. The name is checked to be a string. */
enum status chat_call_function(struct json_object *calls, size_t i, size_t k,
                               struct json_object **out, char path[CHAT_PATH_MAX],
                               struct error *err);

/* Cuts a thought out of an answer: after the last <think> of what stands before the first
 * </think>; the answer is what follows the last </think>, less line feeds at its front. False and
 * nothing changed if there is no </think>. */
bool chat_cut_thought(struct span *content, struct span *thought);

/* `text` without line feeds at its front, or at both ends. */
struct span chat_skip_line_feeds(struct span text);
struct span chat_trim_line_feeds(struct span text);

/* Whether this is the content of a tool result that a client sent as a user message. */
static inline bool chat_is_tool_response(struct span content) {
    return span_starts_with(content, "<tool_response>") &&
           span_ends_with(content, "</tool_response>");
}

#endif
