/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a conversation; how an answer comes about stands in answer.c. */
#include "cli/conversation.h"

#include "cli/answer.h"

#include <stdio.h>
#include <string.h>

enum status conversation_open(struct conversation *c, const struct conversation_parts *parts,
                              struct error *err) {
    *c = (struct conversation){.cli = parts->cli,
                               .interrupt = parts->interrupt,
                               .model = parts->model,
                               .engine = parts->engine};
    c->messages = json_object_new_array();
    c->bias = arena_array(&c->arena, SAMPLER_BIASES_MAX, sizeof *c->bias);
    enum status status = OK;
    struct sampler_params params;
    if (!c->messages || !c->bias)
        status = error_set(err, ERR_NOMEM, "no memory for the conversation");
    if (status == OK)
        status = sampling_params(c, &params, err);
    if (status == OK)
        status = sampler_init(&c->sampler, &params, c->model->hp.n_vocab, &c->arena, err);
    if (status == OK)
        status = engine_seq_open(c->engine, &c->seq, err);
    if (status != OK) {
        json_object_put(c->messages);
        arena_free(&c->arena);
        return status;
    }
    const char *system = options_string(c->cli->options, OPT_SYSTEM_PROMPT);
    if (system)
        conversation_set_system(c, span_of(system));
    return OK;
}

void conversation_close(struct conversation *c) {
    if (c->engine)
        engine_seq_close(c->engine, c->seq);
    json_object_put(c->messages);
    arena_free(&c->arena);
    *c = (struct conversation){0};
}

/* NULL if memory is gone. */
static struct json_object *message_new(const char *role, struct span content) {
    struct json_object *message = json_object_new_object();
    json_object_object_add(message, "role", json_object_new_string(role));
    json_object_object_add(
        message, "content",
        json_object_new_string_len(content.data ? content.data : "", (int)content.len));
    return message;
}

static bool has_role(struct json_object *message, const char *role) {
    return span_is(json_span(json_object_object_get(message, "role")), role);
}

/* The system message, or NULL; the template takes only one, at the front. */
static struct json_object *system_message(const struct conversation *c) {
    struct json_object *first = json_object_array_get_idx(c->messages, 0);
    return first && has_role(first, "system") ? first : NULL;
}

struct span conversation_system(const struct conversation *c) {
    struct json_object *system = system_message(c);
    return system ? json_span(json_object_object_get(system, "content")) : (struct span){0};
}

void conversation_set_system(struct conversation *c, struct span text) {
    struct json_object *messages = json_object_new_array();
    if (text.len)
        json_object_array_add(messages, message_new("system", text));
    size_t n = json_object_array_length(c->messages);
    for (size_t i = system_message(c) ? 1 : 0; i < n; i++)
        json_object_array_add(messages, json_object_get(json_object_array_get_idx(c->messages, i)));
    json_object_put(c->messages);
    c->messages = messages;
}

void conversation_clear(struct conversation *c) {
    size_t keep = system_message(c) ? 1 : 0;
    json_object_array_del_idx(c->messages, keep, json_object_array_length(c->messages) - keep);
}

enum status conversation_set_messages(struct conversation *c, struct json_object *messages,
                                      struct error *err) {
    enum status status = OK;
    if (!json_object_is_type(messages, json_type_array))
        status = error_set(err, ERR_INPUT, "no array of messages but %s", json_type_word(messages));
    size_t n = status == OK ? json_object_array_length(messages) : 0;
    for (size_t i = 0; i < n && status == OK; i++) {
        struct json_object *message = json_object_array_get_idx(messages, i);
        if (!json_object_is_type(message, json_type_object) ||
            !json_object_is_type(json_object_object_get(message, "role"), json_type_string))
            status = error_set(err, ERR_INPUT, "[%zu]: no object with a role", i);
    }
    if (status != OK) {
        json_object_put(messages);
        return status;
    }
    json_object_put(c->messages);
    c->messages = messages;
    return OK;
}

enum status conversation_answer(struct conversation *c, struct span user_text, output_sink *sink,
                                void *user, struct answer *answer, struct error *err) {
    size_t n_before = json_object_array_length(c->messages);
    json_object_array_add(c->messages, message_new("user", user_text));
    struct json_object *reply = NULL;
    struct answer_request request = {.conversation = c, .sink = sink, .user = user};
    enum status status = answer_generate(&request, answer, &reply, err);
    if (status == OK)
        json_object_array_add(c->messages, reply);
    else
        json_object_array_del_idx(c->messages, n_before,
                                  json_object_array_length(c->messages) - n_before);
    return status;
}
