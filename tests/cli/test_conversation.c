/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with the demonstration model. */
#include "cli/conversation.h"

#include "cli/session.h"
#include "support_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The command line and everything behind it. */
struct opened {
    struct support_options line;
    struct cli cli;
    struct model model;
    struct engine *engine;
    struct conversation conversation;
};

static void open_all(struct opened *all, const char *line) {
    *all = (struct opened){0};
    struct error err = {0};
    assert_int_equal(support_read(&all->line, line, NULL), OK);
    all->cli.options = &all->line.options;
    all->cli.out = stdout;
    struct session_model_options model_options = {0};
    struct session_engine_options engine_options = {.n_seqs = 1};
    assert_int_equal(session_open_model(&all->cli, &model_options, &all->model, &err), OK);
    assert_int_equal(
        session_open_engine(&all->cli, &all->model, &engine_options, &all->engine, &err), OK);
    struct conversation_parts parts = {
        .cli = &all->cli, .model = &all->model, .engine = all->engine};
    if (conversation_open(&all->conversation, &parts, &err) != OK)
        fail_msg("%s", err.text);
}

static void close_all(struct opened *all) {
    conversation_close(&all->conversation);
    engine_close(all->engine);
    model_close(&all->model);
    support_free(&all->line);
}

/* Collects the text of one kind of event. */
struct collected {
    struct text content, reasoning;
};

static void collect(void *user, const struct output_event *event) {
    struct collected *collected = user;
    if (event->kind == OUTPUT_CONTENT)
        text_add(&collected->content, event->text);
    if (event->kind == OUTPUT_REASONING)
        text_add(&collected->reasoning, event->text);
}

static const char *last(const struct conversation *c, const char *field) {
    size_t n = json_object_array_length(c->messages);
    struct json_object *message = json_object_array_get_idx(c->messages, n - 1);
    return json_object_get_string(json_object_object_get(message, field));
}

static void answers_stream_and_are_remembered(void **state) {
    (void)state;
    struct opened all;
    open_all(&all, "run --temp 0 --reasoning on -c 512");
    struct collected collected = {0};
    struct answer answer;
    struct error err;
    assert_int_equal(conversation_answer(&all.conversation, span_of("What is 27 + 58?"), collect,
                                         &collected, &answer, &err),
                     OK);
    assert_int_equal(answer.end, ANSWER_COMPLETE);
    assert_non_null(strstr(text_str(&collected.content), "85"));
    assert_true(collected.reasoning.len > 0);
    assert_int_equal(json_object_array_length(all.conversation.messages), 2);
    assert_string_equal(last(&all.conversation, "role"), "assistant");
    assert_string_equal(last(&all.conversation, "content"), text_str(&collected.content));
    assert_string_equal(last(&all.conversation, "reasoning_content"),
                        text_str(&collected.reasoning));
    text_free(&collected.content);
    text_free(&collected.reasoning);
    close_all(&all);
}

static void a_prompt_that_does_not_fit_leaves_no_trace(void **state) {
    (void)state;
    struct opened all;
    open_all(&all, "run --temp 0 -c 64");
    char giant[2000];
    memset(giant, '1', sizeof giant);
    struct collected collected = {0};
    struct answer answer;
    struct error err;
    assert_int_equal(conversation_answer(&all.conversation, span_make(giant, sizeof giant), collect,
                                         &collected, &answer, &err),
                     ERR_LIMIT);
    assert_int_equal(json_object_array_length(all.conversation.messages), 0);
    assert_int_equal(conversation_answer(&all.conversation, span_of("Count to 3."), collect,
                                         &collected, &answer, &err),
                     OK);
    text_free(&collected.content);
    text_free(&collected.reasoning);
    close_all(&all);
}

static void answers_end_at_predict_and_at_a_full_context(void **state) {
    (void)state;
    /* The model's end tokens are made impossible, so that only the limits end the answer. */
    static const struct {
        const char *line;
        enum answer_end end;
        uint32_t n_answer; /* 0: not known beforehand */
    } cases[] = {
        {"run -c 96 -n 5 --logit-bias 1673-100 --logit-bias 1671-100", ANSWER_LENGTH, 5},
        {"run -c 96 -n 0 --logit-bias 1673-100 --logit-bias 1671-100", ANSWER_LENGTH, 0},
        {"run -c 96 --logit-bias 1673-100 --logit-bias 1671-100", ANSWER_CONTEXT, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened all;
        open_all(&all, cases[i].line);
        struct collected collected = {0};
        struct answer answer;
        struct error err;
        assert_int_equal(conversation_answer(&all.conversation, span_of("Count from 1 to 9."),
                                             collect, &collected, &answer, &err),
                         OK);
        assert_int_equal(answer.end, cases[i].end);
        if (answer.end == ANSWER_LENGTH)
            assert_int_equal(answer.n_answer, cases[i].n_answer);
        else
            assert_int_equal(answer.n_prompt + answer.n_answer, 97); /* the last one is not fed */
        text_free(&collected.content);
        text_free(&collected.reasoning);
        close_all(&all);
    }
}

static void the_system_message_stays_in_front(void **state) {
    (void)state;
    struct opened all;
    open_all(&all, "run -sys first");
    struct conversation *c = &all.conversation;
    struct error err;
    assert_true(span_is(conversation_system(c), "first"));
    struct json_object *messages = json_tokener_parse(
        "[{\"role\":\"system\",\"content\":\"loaded\"},{\"role\":\"user\",\"content\":\"x\"}]");
    assert_int_equal(conversation_set_messages(c, messages, &err), OK);
    assert_true(span_is(conversation_system(c), "loaded"));
    conversation_set_system(c, span_of("second"));
    assert_true(span_is(conversation_system(c), "second"));
    assert_int_equal(json_object_array_length(c->messages), 2);
    conversation_clear(c);
    assert_int_equal(json_object_array_length(c->messages), 1);
    conversation_set_system(c, span_of(""));
    assert_int_equal(json_object_array_length(c->messages), 0);
    assert_true(conversation_system(c).len == 0);
    close_all(&all);
}

static void messages_that_are_none_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{}", "no array of messages but object"},
        {"[1]", "[0]: no object with a role"},
        {"[{\"role\":\"user\",\"content\":\"x\"},{\"role\":5}]", "[1]: no object with a role"},
    };
    struct opened all;
    open_all(&all, "run");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        assert_int_equal(
            conversation_set_messages(&all.conversation, json_tokener_parse(cases[i].text), &err),
            ERR_INPUT);
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(json_object_array_length(all.conversation.messages), 0);
    }
    close_all(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_stream_and_are_remembered),
        cmocka_unit_test(a_prompt_that_does_not_fit_leaves_no_trace),
        cmocka_unit_test(answers_end_at_predict_and_at_a_full_context),
        cmocka_unit_test(the_system_message_stays_in_front),
        cmocka_unit_test(messages_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
