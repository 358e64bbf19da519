/* SPDX-License-Identifier: Apache-2.0 */
/* The templates of Qwen3.5 and 3.6, as functions. The order of the checks is that of the template,
 * so that a chat with two faults gives the same error. */
#include "model/char_class.h"
#include "model/chat_renderers.h"

#include <stdio.h>

static const char tools_preamble[] =
    "# Tools\n\nYou have access to the following functions:\n\n<tools>";

static const char tools_instructions[] =
    "\n</tools>"
    "\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n"
    "</parameter>\n<parameter=example_parameter_2>\nThis is the value for the second parameter\n"
    "that can span\nmultiple lines\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\n"
    "Reminder:\n"
    "- Function calls MUST follow the specified format: an inner <function=...></function> block "
    "must be nested within <tool_call></tool_call> XML tags\n"
    "- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language BEFORE the "
    "function call, but NOT after\n"
    "- If there is no function call available, answer the question like normal with your current "
    "knowledge and do not tell the user about function calls\n"
    "</IMPORTANT>";

struct renderer {
    struct chat_prompt *prompt;
    enum chat_template t;
    const struct chat_input *input;
    struct chat_content content; /* of the message at hand */
    struct span text;            /* it, stripped */
    struct chat_vision vision;   /* counts what the main pass has rendered */
    size_t n_messages;
    size_t last_query; /* index of the last message that is a question of a person */
};

/* Reads content i into r->content and r->text. */
static enum status read_content(struct renderer *r, size_t i, struct chat_vision *vision,
                                struct error *err) {
    char path[CHAT_PATH_MAX];
    snprintf(path, sizeof path, "messages[%zu].content", i);
    struct json_object *value = chat_field(chat_message(r->input, i), "content");
    TRY(chat_content_read(&r->content, value, vision, path, err));
    r->text = span_strip(chat_content_span(&r->content));
    return OK;
}

static enum status render_system(struct renderer *r, struct error *err) {
    size_t n_tools = r->input->tools ? json_object_array_length(r->input->tools) : 0;
    bool system = span_is(chat_role(r->input, 0), "system");
    if (n_tools) {
        chat_add(r->prompt, "<|im_start|>system\n");
        chat_add(r->prompt, tools_preamble);
        for (size_t i = 0; i < n_tools; i++) {
            chat_add(r->prompt, "\n");
            chat_add_json(r->prompt, json_object_array_get_idx(r->input->tools, i));
        }
        chat_add(r->prompt, tools_instructions);
    }
    if (system) {
        struct chat_vision none = {
            .image_error = "System message cannot contain images.",
            .video_error = "System message cannot contain videos.",
        };
        TRY(read_content(r, 0, &none, err));
        if (!n_tools)
            chat_add(r->prompt, "<|im_start|>system\n");
        else if (r->text.len)
            chat_add(r->prompt, "\n\n");
        chat_content_add(r->prompt, &r->content, r->text);
    }
    if (n_tools || system)
        chat_add(r->prompt, "<|im_end|>\n");
    return OK;
}

static enum status find_last_query(struct renderer *r, struct error *err) {
    for (size_t i = r->n_messages; i-- > 0;) {
        if (!span_is(chat_role(r->input, i), "user"))
            continue;
        struct chat_vision uncounted = r->vision;
        TRY(read_content(r, i, &uncounted, err));
        if (!chat_is_tool_response(r->text)) {
            r->last_query = i;
            return OK;
        }
    }
    return error_set(err, ERR_INPUT, "messages: No user query found in messages.");
}

static void render_argument(struct renderer *r, const char *key, struct json_object *value) {
    chat_add(r->prompt, "<parameter=");
    chat_add_caller(r->prompt, span_of(key));
    chat_add(r->prompt, ">\n");
    bool container =
        json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array);
    bool as_json =
        container || (r->t == CHAT_QWEN36 && !json_object_is_type(value, json_type_string));
    if (as_json)
        chat_add_json(r->prompt, value);
    else
        chat_add_str(r->prompt, value);
    chat_add(r->prompt, "\n</parameter>\n");
}

static enum status render_call(struct renderer *r, struct json_object *calls, size_t i, size_t k,
                               struct error *err) {
    char path[CHAT_PATH_MAX];
    struct json_object *function, *arguments;
    TRY(chat_call_function(calls, i, k, &function, path, err));
    chat_add(r->prompt, "<tool_call>\n<function=");
    chat_add_caller(r->prompt, json_span(chat_field(function, "name")));
    chat_add(r->prompt, ">\n");
    if (json_object_object_get_ex(function, "arguments", &arguments)) {
        if (!json_object_is_type(arguments, json_type_object))
            return error_set(err, ERR_INPUT, "%s.arguments: must be an object, not %s", path,
                             json_type_word(arguments));
        struct lh_entry *entry = json_object_get_object(arguments)->head;
        for (; entry; entry = lh_entry_next(entry))
            render_argument(r, lh_entry_k(entry), lh_entry_v(entry));
    }
    chat_add(r->prompt, "</function>\n</tool_call>");
    return OK;
}

static enum status render_assistant(struct renderer *r, size_t i, struct error *err) {
    struct json_object *given = chat_field(chat_message(r->input, i), "reasoning_content");
    struct span content = r->text, thought = {0}, given_thought = {0};
    bool is_given = json_object_is_type(given, json_type_string);
    if (is_given)
        given_thought = span_strip(json_span(given));
    else if (chat_cut_thought(&content, &thought))
        thought = span_strip(thought);
    chat_add(r->prompt, "<|im_start|>assistant\n");
    bool preserve = r->t == CHAT_QWEN36 && r->input->preserve_thinking;
    if (i > r->last_query || preserve) {
        chat_add(r->prompt, "<think>\n");
        if (is_given)
            chat_add_caller(r->prompt, given_thought);
        else
            chat_content_add(r->prompt, &r->content, thought);
        chat_add(r->prompt, "\n</think>\n\n");
    }
    chat_content_add(r->prompt, &r->content, content);
    struct json_object *calls;
    TRY(chat_tool_calls(r->input, i, &calls, err));
    for (size_t k = 0; k < (calls ? json_object_array_length(calls) : 0); k++) {
        if (k > 0)
            chat_add(r->prompt, "\n");
        else if (span_strip(content).len)
            chat_add(r->prompt, "\n\n");
        TRY(render_call(r, calls, i, k, err));
    }
    chat_add(r->prompt, "<|im_end|>\n");
    return OK;
}

/* The results of one round of calls share a turn of the user; a result that opens the chat has
 * none before it to begin the turn. */
static void render_tool(struct renderer *r, size_t i) {
    if (i > 0 && !span_is(chat_role(r->input, i - 1), "tool"))
        chat_add(r->prompt, "<|im_start|>user");
    chat_add(r->prompt, "\n<tool_response>\n");
    chat_content_add(r->prompt, &r->content, r->text);
    chat_add(r->prompt, "\n</tool_response>");
    if (i + 1 == r->n_messages || !span_is(chat_role(r->input, i + 1), "tool"))
        chat_add(r->prompt, "<|im_end|>\n");
}

static enum status render_message(struct renderer *r, size_t i, struct error *err) {
    struct span role = chat_role(r->input, i);
    TRY(read_content(r, i, &r->vision, err));
    if (span_is(role, "system")) {
        if (i > 0)
            return error_set(err, ERR_INPUT,
                             "messages[%zu].role: System message must be at the beginning.", i);
    } else if (span_is(role, "user")) {
        chat_add(r->prompt, "<|im_start|>user\n");
        chat_content_add(r->prompt, &r->content, r->text);
        chat_add(r->prompt, "<|im_end|>\n");
    } else if (span_is(role, "assistant")) {
        return render_assistant(r, i, err);
    } else if (span_is(role, "tool")) {
        render_tool(r, i);
    } else {
        return error_set(err, ERR_INPUT, "messages[%zu].role: Unexpected message role.", i);
    }
    return OK;
}

static void render_generation_prompt(struct renderer *r) {
    bool think = r->t == CHAT_QWEN35_SMALL ? r->input->enable_thinking == TRI_TRUE
                                           : r->input->enable_thinking != TRI_FALSE;
    chat_add(r->prompt, "<|im_start|>assistant\n");
    chat_add(r->prompt, think ? "<think>\n" : "<think>\n\n</think>\n\n");
}

static enum status render(struct renderer *r, struct error *err) {
    TRY(chat_check_messages(r->input, err));
    TRY(render_system(r, err));
    TRY(find_last_query(r, err));
    for (size_t i = 0; i < r->n_messages; i++)
        TRY(render_message(r, i, err));
    if (r->input->add_generation_prompt)
        render_generation_prompt(r);
    return OK;
}

enum status chat_render_qwen35(struct chat_prompt *prompt, enum chat_template t,
                               const struct chat_input *input, struct error *err) {
    struct renderer r = {
        .prompt = prompt,
        .t = t,
        .input = input,
        .vision = {.allowed = true, .add_id = input->add_vision_id},
        .n_messages = json_object_array_length(input->messages),
    };
    enum status status = render(&r, err);
    chat_content_free(&r.content);
    return status;
}
