/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal render`: messages to prompt text and ids, as JSON lines. */
#include "cli/render.h"

#include "cli/jsonl.h"
#include "cli/session.h"

enum status render_get_template(struct json_object *request, enum chat_template *t,
                                struct error *err) {
    struct span name = {0};
    TRY(json_get_string(request, "template", &name, err));
    if (name.data && !chat_template_from_name(name, t))
        return error_set(err, ERR_INPUT,
                         "template: must be qwen3.5, qwen3.5-small, qwen3.6 or qwen3");
    return OK;
}

static enum status read_tri(struct json_object *request, const char *key, enum tri *out,
                            struct error *err) {
    struct json_object *value = NULL;
    bool flag = false;
    TRY(json_get_bool(request, key, &flag, err));
    if (json_object_object_get_ex(request, key, &value) && value)
        *out = flag ? TRI_TRUE : TRI_FALSE;
    return OK;
}

static enum status read_input(struct json_object *request, struct chat_input *input,
                              struct error *err) {
    *input = (struct chat_input){.enable_thinking = TRI_UNSET, .add_generation_prompt = true};
    TRY(json_get_array(request, "messages", &input->messages, err));
    if (!input->messages)
        return error_set(err, ERR_INPUT, "messages: is missing");
    TRY(json_get_array(request, "tools", &input->tools, err));
    TRY(read_tri(request, "enable_thinking", &input->enable_thinking, err));
    TRY(json_get_bool(request, "preserve_thinking", &input->preserve_thinking, err));
    TRY(json_get_bool(request, "add_vision_id", &input->add_vision_id, err));
    return json_get_bool(request, "add_generation_prompt", &input->add_generation_prompt, err);
}

static enum status answer_render(void *user, struct json_object *request, struct text *fields,
                                 struct error *err) {
    const struct model *model = user;
    enum chat_template t = model->chat_template;
    struct chat_input input;
    struct chat_prompt prompt = {0};
    struct token_ids ids = {0};
    TRY(render_get_template(request, &t, err));
    TRY(read_input(request, &input, err));
    enum status status = chat_render(&prompt, t, &input, err);
    if (status == OK)
        status = chat_tokenize(&prompt, model->tokenizer, &ids, err);
    if (status == OK) {
        text_add_str(fields, "\"text\":");
        json_add_string(fields, span_make(text_str(&prompt.text), prompt.text.len));
        text_add_char(fields, ',');
        jsonl_add_ids(fields, "ids", ids.data, ids.n);
    }
    token_ids_free(&ids);
    chat_prompt_free(&prompt);
    return status;
}

int command_render(struct cli *cli) {
    struct model model = {0};
    struct error err;
    struct session_model_options options = {.text_only = true};
    if (session_open_model(cli, &options, &model, &err) != OK)
        return cli_fail(cli, DURING_LOAD, &err);
    int code = jsonl_run(cli, answer_render, &model);
    model_close(&model);
    return code;
}
