/* SPDX-License-Identifier: Apache-2.0 */
/* The template of Qwen3, as functions. It is less strict than its successors: content is not
 * stripped, a system message may stand anywhere, no user message need be there. Where it fails with
 * an error of its engine or drops a message of unknown role, here is an error that names the field;
 * content that is null or a list of texts, which it cannot take either, is taken as text. */
#include "model/chat_renderers.h"

#include <stdio.h>

static const char tools_preamble[] =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";

static const char tools_instructions[] =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

struct renderer {
    struct chat_prompt *prompt;
    const struct chat_input *input;
    struct chat_content content; /* of the message at hand */
    struct span text;            /* it, whole */
    size_t n_messages;
    size_t last_query;
};

static enum status read_content(struct renderer *r, size_t i, struct error *err) {
    char path[CHAT_PATH_MAX];
    struct chat_vision none = {
        .image_error = "the template takes no images",
        .video_error = "the template takes no videos",
    };
    snprintf(path, sizeof path, "messages[%zu].content", i);
    struct json_object *value = chat_field(chat_message(r->input, i), "content");
    TRY(chat_content_read(&r->content, value, &none, path, err));
    r->text = chat_content_span(&r->content);
    return OK;
}

static enum status render_system(struct renderer *r, struct error *err) {
    size_t n_tools = r->input->tools ? json_object_array_length(r->input->tools) : 0;
    bool system = span_is(chat_role(r->input, 0), "system");
    if (!n_tools && !system)
        return OK;
    chat_add(r->prompt, "<|im_start|>system\n");
    if (system) {
        TRY(read_content(r, 0, err));
        chat_add_caller(r->prompt, r->text);
    }
    if (!n_tools) {
        chat_add(r->prompt, "<|im_end|>\n");
        return OK;
    }
    if (system)
        chat_add(r->prompt, "\n\n");
    chat_add(r->prompt, tools_preamble);
    for (size_t i = 0; i < n_tools; i++) {
        chat_add(r->prompt, "\n");
        chat_add_json(r->prompt, json_object_array_get_idx(r->input->tools, i));
    }
    chat_add(r->prompt, tools_instructions);
    return OK;
}

/* Without a user message the last message counts as the query. */
static enum status find_last_query(struct renderer *r, struct error *err) {
    r->last_query = r->n_messages - 1;
    for (size_t i = r->n_messages; i-- > 0;) {
        if (!span_is(chat_role(r->input, i), "user"))
            continue;
        TRY(read_content(r, i, err));
        if (!chat_is_tool_response(r->text)) {
            r->last_query = i;
            break;
        }
    }
    return OK;
}

static enum status render_call(struct renderer *r, struct json_object *calls, size_t i, size_t k,
                               struct error *err) {
    char path[CHAT_PATH_MAX];
    struct json_object *function, *arguments;
    TRY(chat_call_function(calls, i, k, &function, path, err));
    chat_add(r->prompt, "<tool_call>\n{\"name\": \"");
    chat_add_caller(r->prompt, json_span(chat_field(function, "name")));
    chat_add(r->prompt, "\", \"arguments\": ");
    if (!json_object_object_get_ex(function, "arguments", &arguments))
        return error_set(err, ERR_INPUT, "%s.arguments: missing", path);
    if (json_object_is_type(arguments, json_type_string))
        chat_add_caller(r->prompt, json_span(arguments));
    else
        chat_add_json(r->prompt, arguments);
    chat_add(r->prompt, "}\n</tool_call>");
    return OK;
}

/* Finds the thought beside the answer or inside it. */
static enum status read_thought(struct renderer *r, size_t i, struct span *content,
                                struct span *thought, struct error *err) {
    struct json_object *given = chat_field(chat_message(r->input, i), "reasoning_content");
    if (given && !json_object_is_type(given, json_type_string))
        return error_set(err, ERR_INPUT,
                         "messages[%zu].reasoning_content: must be a string, not %s", i,
                         json_type_word(given));
    if (given)
        *thought = json_span(given);
    else if (chat_cut_thought(content, thought))
        *thought = chat_trim_line_feeds(*thought);
    return OK;
}

static enum status render_assistant(struct renderer *r, size_t i, struct error *err) {
    struct span content = r->text, thought = {0};
    TRY(read_thought(r, i, &content, &thought, err));
    bool is_last = i + 1 == r->n_messages;
    chat_add(r->prompt, "<|im_start|>assistant\n");
    if (i > r->last_query && (is_last || thought.len)) {
        chat_add(r->prompt, "<think>\n");
        chat_add_caller(r->prompt, chat_trim_line_feeds(thought));
        chat_add(r->prompt, "\n</think>\n\n");
        chat_add_caller(r->prompt, chat_skip_line_feeds(content));
    } else {
        chat_add_caller(r->prompt, content);
    }
    struct json_object *calls;
    TRY(chat_tool_calls(r->input, i, &calls, err));
    for (size_t k = 0; k < (calls ? json_object_array_length(calls) : 0); k++) {
        if (k > 0 || content.len)
            chat_add(r->prompt, "\n");
        TRY(render_call(r, calls, i, k, err));
    }
    chat_add(r->prompt, "<|im_end|>\n");
    return OK;
}

static void render_tool(struct renderer *r, size_t i) {
    if (i == 0 || !span_is(chat_role(r->input, i - 1), "tool"))
        chat_add(r->prompt, "<|im_start|>user");
    chat_add(r->prompt, "\n<tool_response>\n");
    chat_add_caller(r->prompt, r->text);
    chat_add(r->prompt, "\n</tool_response>");
    if (i + 1 == r->n_messages || !span_is(chat_role(r->input, i + 1), "tool"))
        chat_add(r->prompt, "<|im_end|>\n");
}

static enum status render_message(struct renderer *r, size_t i, struct error *err) {
    struct span role = chat_role(r->input, i);
    bool system = span_is(role, "system");
    if (system && i == 0)
        return OK;
    TRY(read_content(r, i, err));
    if (system || span_is(role, "user")) {
        chat_add(r->prompt, system ? "<|im_start|>system\n" : "<|im_start|>user\n");
        chat_add_caller(r->prompt, r->text);
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

static enum status render(struct renderer *r, struct error *err) {
    TRY(chat_check_messages(r->input, err));
    TRY(render_system(r, err));
    TRY(find_last_query(r, err));
    for (size_t i = 0; i < r->n_messages; i++)
        TRY(render_message(r, i, err));
    if (r->input->add_generation_prompt) {
        chat_add(r->prompt, "<|im_start|>assistant\n");
        if (r->input->enable_thinking == TRI_FALSE)
            chat_add(r->prompt, "<think>\n\n</think>\n\n");
    }
    return OK;
}

enum status chat_render_qwen3(struct chat_prompt *prompt, enum chat_template t,
                              const struct chat_input *input, struct error *err) {
    (void)t;
    struct renderer r = {
        .prompt = prompt,
        .input = input,
        .n_messages = json_object_array_length(input->messages),
    };
    enum status status = render(&r, err);
    chat_content_free(&r.content);
    return status;
}
