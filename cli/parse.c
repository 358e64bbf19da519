/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal parse`: generated text split into reasoning, content and tool calls, as JSON lines.
 *
 * The form of the calls is that of --chat-template, else of the model that is named, else XML.
 * With "tools" in a line, arguments take the types of their schemas. */
#include "cli/jsonl.h"
#include "cli/render.h"
#include "cli/session.h"
#include "model/output_splitter.h"

#include <xxhash.h>

struct parsed {
    struct span input;
    struct text reasoning, content;
    struct text calls; /* the members of the array */
    struct text name, arguments;
    unsigned n_calls;
};

/* 24 digits, the same in every run: scripts compare lines. */
static void add_call_id(struct text *out, const struct parsed *p) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    text_add_str(out, "call_");
    for (unsigned third = 0; third < 3; third++) {
        uint64_t bits = XXH3_64bits_withSeed(p->input.data, p->input.len, 3 * p->n_calls + third);
        for (int i = 0; i < 8; i++, bits /= 62)
            text_add_char(out, digits[bits % 62]);
    }
}

static void add_call(struct parsed *p) {
    text_add_str(&p->calls, p->n_calls ? ",{\"id\":\"" : "{\"id\":\"");
    add_call_id(&p->calls, p);
    text_add_str(&p->calls, "\",\"type\":\"function\",\"function\":{\"name\":");
    json_add_string(&p->calls, text_span(&p->name));
    text_add_str(&p->calls, ",\"arguments\":");
    json_add_string(&p->calls, text_span(&p->arguments));
    text_add_str(&p->calls, "}}");
    p->n_calls++;
}

static void on_event(void *user, const struct output_event *event) {
    struct parsed *p = user;
    switch (event->kind) {
    case OUTPUT_REASONING:
        text_add(&p->reasoning, event->text);
        break;
    case OUTPUT_CONTENT:
        text_add(&p->content, event->text);
        break;
    case OUTPUT_CALL_BEGIN:
        text_clear(&p->name);
        text_clear(&p->arguments);
        text_add(&p->name, event->text);
        break;
    case OUTPUT_CALL_ARGUMENTS:
        text_add(&p->arguments, event->text);
        break;
    case OUTPUT_CALL_END:
        add_call(p);
        break;
    }
}

static enum status split(struct parsed *p, const struct output_splitter_options *options,
                         struct error *err) {
    struct output_splitter *splitter;
    TRY(output_splitter_open(&splitter, options, err));
    enum status status = output_splitter_push(splitter, p->input, err);
    if (status == OK)
        status = output_splitter_finish(splitter, err);
    output_splitter_close(splitter);
    if (status == OK && (p->reasoning.failed || p->content.failed || p->calls.failed))
        status = error_set(err, ERR_NOMEM, "text: no memory for its parts");
    return status;
}

static void add_parsed(struct text *fields, const struct parsed *p) {
    text_add_str(fields, "\"reasoning_content\":");
    json_add_string(fields, span_make(text_str(&p->reasoning), p->reasoning.len));
    text_add_str(fields, ",\"content\":");
    if (p->content.len || !p->n_calls)
        json_add_string(fields, span_make(text_str(&p->content), p->content.len));
    else
        text_add_str(fields, "null");
    text_add_str(fields, ",\"tool_calls\":[");
    text_add(fields, text_span(&p->calls));
    text_add_char(fields, ']');
}

static enum status answer_parse(void *user, struct json_object *request, struct text *fields,
                                struct error *err) {
    enum chat_template t = *(const enum chat_template *)user;
    struct parsed p = {0};
    struct output_splitter_options options = {.sink = on_event, .user = &p};
    TRY(json_get_string(request, "text", &p.input, err));
    if (!p.input.data)
        return error_set(err, ERR_INPUT, "text: is missing");
    TRY(json_get_bool(request, "thinking", &options.starts_in_thought, err));
    TRY(json_get_array(request, "tools", &options.tools, err));
    TRY(render_get_template(request, &t, err));
    options.calls = t == CHAT_QWEN3 ? CALLS_JSON : CALLS_XML;
    enum status status = split(&p, &options, err);
    if (status == OK)
        add_parsed(fields, &p);
    text_free(&p.reasoning);
    text_free(&p.content);
    text_free(&p.calls);
    text_free(&p.name);
    text_free(&p.arguments);
    return status;
}

int command_parse(struct cli *cli) {
    enum chat_template t = CHAT_QWEN35;
    const char *name = options_string(cli->options, OPT_CHAT_TEMPLATE);
    bool chosen = name && chat_template_from_name(span_of(name), &t);
    if (!chosen && options_is_set(cli->options, OPT_MODEL)) {
        struct model model = {0};
        struct error err;
        struct session_model_options options = {.text_only = true};
        if (session_open_model(cli, &options, &model, &err) != OK)
            return cli_fail(cli, DURING_LOAD, &err);
        t = model.chat_template;
        model_close(&model);
    }
    return jsonl_run(cli, answer_parse, &t);
}
