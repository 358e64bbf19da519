/* SPDX-License-Identifier: Apache-2.0 */
/* Prompt to tokens, tokens to the engine, logits to tokens, tokens to text, one step at a time. */
#include "cli/answer.h"

#include "base/clock.h"
#include "cli/session.h"

#include <stdio.h>

/* What is alive during one answer. */
struct generation {
    const struct answer_request *request;
    struct conversation *c;
    struct chat_prompt prompt;
    struct token_ids ids; /* of the prompt */
    struct output_splitter *splitter;
    uint64_t position; /* tokens in the sequence before the one that is picked next */
    int32_t picked;
    /* what the splitter has given so far, for the message that is remembered */
    struct text reasoning, content, arguments, call_name;
    struct json_object *calls; /* NULL: none yet */
};

static void remember_call(struct generation *g) {
    struct json_object *arguments = NULL, *function = json_object_new_object();
    struct json_object *call = json_object_new_object();
    /* The splitter closes cut-off calls, so that its pieces are always one JSON object. */
    if (json_parse(text_span(&g->arguments), &arguments, NULL) != OK)
        arguments = json_object_new_object();
    json_object_object_add(function, "name", json_object_new_string(text_str(&g->call_name)));
    json_object_object_add(function, "arguments", arguments);
    json_object_object_add(call, "type", json_object_new_string("function"));
    json_object_object_add(call, "function", function);
    if (!g->calls)
        g->calls = json_object_new_array();
    json_object_array_add(g->calls, call);
}

static void on_event(void *user, const struct output_event *event) {
    struct generation *g = user;
    switch (event->kind) {
    case OUTPUT_REASONING:
        text_add(&g->reasoning, event->text);
        break;
    case OUTPUT_CONTENT:
        text_add(&g->content, event->text);
        break;
    case OUTPUT_CALL_BEGIN:
        text_clear(&g->arguments);
        text_clear(&g->call_name);
        text_add(&g->call_name, event->text);
        break;
    case OUTPUT_CALL_ARGUMENTS:
        text_add(&g->arguments, event->text);
        break;
    case OUTPUT_CALL_END:
        remember_call(g);
        break;
    }
    session_rest_if_blocked(g->c->cli, g->c->engine);
    g->request->sink(g->request->user, event);
}

static enum tri thinking_of(const struct cli *cli) {
    static const enum tri words[] = {TRI_UNSET, TRI_TRUE, TRI_FALSE}; /* auto|on|off */
    return words[options_choice(cli->options, OPT_REASONING)];
}

static enum status prepare(struct generation *g, struct error *err) {
    struct conversation *c = g->c;
    const struct model *model = c->model;
    struct chat_input input = {.messages = c->messages,
                               .enable_thinking = thinking_of(c->cli),
                               .add_generation_prompt = true};
    TRY(chat_render(&g->prompt, model->chat_template, &input, err));
    TRY(chat_tokenize(&g->prompt, model->tokenizer, &g->ids, err));
    uint32_t ctx_size = engine_ctx_size(c->engine);
    if (g->ids.n >= ctx_size)
        return error_set(err, ERR_LIMIT, "the prompt has %zu tokens, the context holds %u",
                         g->ids.n, ctx_size);
    struct output_splitter_options options = {
        .starts_in_thought = g->prompt.starts_in_thought,
        .calls = model->chat_template == CHAT_QWEN3 ? CALLS_JSON : CALLS_XML,
        .sink = on_event,
        .user = g,
    };
    TRY(output_splitter_open(&g->splitter, &options, err));
    struct sampler_params params;
    TRY(sampling_params(c, &params, err));
    sampler_reset(&c->sampler, &params);
    sampler_saw_prompt(&c->sampler, g->ids.data, (uint32_t)g->ids.n);
    engine_seq_clear(c->engine, c->seq);
    return OK;
}

static void pick(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits) {
    (void)rows_idx;
    (void)token_idx;
    struct generation *g = user;
    g->picked = sampler_pick(&g->c->sampler, logits, g->position);
}

/* Runs `n` tokens; with `picks` the next one is drawn behind them. */
static enum status step(struct generation *g, const int32_t *tokens, uint32_t n, bool picks,
                        struct error *err) {
    struct step_rows rows = {
        .seq = g->c->seq, .tokens = tokens, .n_tokens = n, .n_outputs = picks ? 1 : 0};
    struct step step = {.rows = &rows, .n_rows = 1, .sink = pick, .user = g};
    g->position += n;
    return engine_step(g->c->engine, &step, err);
}

/* By Ctrl-C, or because nobody reads any more: `shoal run | head`. */
static bool is_interrupted(const struct generation *g) {
    return ferror(g->c->cli->out) || (g->c->interrupt && interrupt_came(g->c->interrupt));
}

/* Reads the prompt in chunks; afterwards the first token is picked, unless it was interrupted. */
static enum status prefill(struct generation *g, struct answer *answer, struct error *err) {
    uint64_t begin_ns = clock_ns();
    uint32_t chunk = (uint32_t)options_int(g->c->cli->options, OPT_UBATCH_SIZE);
    uint32_t n_step_tokens = engine_n_step_tokens(g->c->engine);
    if (chunk == 0 || chunk > n_step_tokens)
        chunk = n_step_tokens;
    answer->n_prompt = (uint32_t)g->ids.n;
    for (uint32_t done = 0; done < answer->n_prompt;) {
        if (is_interrupted(g)) {
            answer->end = ANSWER_INTERRUPTED;
            return OK;
        }
        uint32_t left = answer->n_prompt - done, n = left < chunk ? left : chunk;
        TRY(step(g, g->ids.data + done, n, n == left, err));
        done += n;
    }
    answer->prefill_s = clock_seconds_since(begin_ns);
    return OK;
}

static enum status decode(struct generation *g, struct answer *answer, struct error *err) {
    struct conversation *c = g->c;
    const struct tokenizer *tokenizer = c->model->tokenizer;
    int64_t n_max = options_int(c->cli->options, OPT_PREDICT);
    uint64_t begin_ns = clock_ns();
    answer->end = ANSWER_COMPLETE;
    while (!tokenizer_is_end(tokenizer, g->picked)) {
        if (n_max >= 0 && answer->n_answer >= n_max) {
            answer->end = ANSWER_LENGTH;
            break;
        }
        int32_t id = g->picked;
        sampler_accept(&c->sampler, id);
        answer->n_answer++;
        if (tokenizer_kind(tokenizer, id) != TOKEN_CONTROL) /* those are not for people */
            TRY(output_splitter_push(g->splitter, tokenizer_bytes(tokenizer, id), err));
        if (engine_seq_length(c->engine, c->seq) == engine_ctx_size(c->engine)) {
            answer->end = ANSWER_CONTEXT;
            break;
        }
        if (is_interrupted(g)) {
            answer->end = ANSWER_INTERRUPTED;
            break;
        }
        TRY(step(g, &id, 1, true, err));
    }
    answer->decode_s = clock_seconds_since(begin_ns);
    return OK;
}

static struct json_object *reply_of(struct generation *g) {
    struct json_object *reply = json_object_new_object();
    json_object_object_add(reply, "role", json_object_new_string("assistant"));
    json_object_object_add(reply, "content", json_object_new_string(text_str(&g->content)));
    if (g->reasoning.len)
        json_object_object_add(reply, "reasoning_content",
                               json_object_new_string(text_str(&g->reasoning)));
    if (g->calls)
        json_object_object_add(reply, "tool_calls", json_object_get(g->calls));
    return reply;
}

enum status answer_generate(const struct answer_request *request, struct answer *answer,
                            struct json_object **reply, struct error *err) {
    struct generation g = {.request = request, .c = request->conversation};
    *answer = (struct answer){0};
    enum status status = prepare(&g, err);
    if (status == OK)
        status = prefill(&g, answer, err);
    if (status == OK && answer->end != ANSWER_INTERRUPTED)
        status = decode(&g, answer, err);
    if (status == OK)
        status = output_splitter_finish(g.splitter, err);
    session_rest(g.c->engine); /* a person reads and types now */
    if (status == OK)
        *reply = reply_of(&g);
    output_splitter_close(g.splitter);
    json_object_put(g.calls);
    text_free(&g.reasoning);
    text_free(&g.content);
    text_free(&g.arguments);
    text_free(&g.call_name);
    token_ids_free(&g.ids);
    chat_prompt_free(&g.prompt);
    return status;
}
