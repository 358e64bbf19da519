/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as generated text; the first byte chooses the form of calls, whether the
 * thought is open, and where the text is cut. Cut or whole, the same must come out, as whole
 * characters; calls must open and close in turn, and their arguments be one JSON object. */
#include "model/output_splitter.h"

#include "base/utf8.h"
#include "tests/fuzz/support_fuzz.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct record {
    struct text line; /* of all events: kind and text, neighbours of one kind joined */
    struct text arguments;
    int last;
    bool in_call;
};

static void end_call(struct record *r) {
    struct json_object *object;
    struct error err;
    enum status status = json_parse(text_span(&r->arguments), &object, &err);
    /* A value of the greatest depth is one too deep inside the object. */
    fuzz_check(status == ERR_LIMIT || json_object_is_type(object, json_type_object));
    json_object_put(object);
    r->in_call = false;
}

static void on_event(void *user, const struct output_event *event) {
    struct record *r = user;
    bool of_call = event->kind == OUTPUT_CALL_ARGUMENTS || event->kind == OUTPUT_CALL_END;
    fuzz_check(r->in_call == of_call);
    fuzz_check(utf8_valid(event->text));
    if (r->last != (int)event->kind || event->kind == OUTPUT_CALL_BEGIN)
        text_printf(&r->line, "|%d:", (int)event->kind);
    r->last = (int)event->kind;
    text_add(&r->line, event->text);
    if (event->kind == OUTPUT_CALL_BEGIN) {
        r->in_call = true;
        text_clear(&r->arguments);
    } else if (event->kind == OUTPUT_CALL_ARGUMENTS) {
        text_add(&r->arguments, event->text);
    } else if (event->kind == OUTPUT_CALL_END) {
        end_call(r);
    }
}

static struct text split(uint8_t choice, struct span text, size_t step) {
    struct record record = {.last = -1};
    struct output_splitter_options options = {
        .starts_in_thought = choice & 1,
        .calls = choice & 2 ? CALLS_JSON : CALLS_XML,
        .sink = on_event,
        .user = &record,
    };
    struct output_splitter *s;
    struct error err;
    fuzz_check(output_splitter_open(&s, &options, &err) == OK);
    for (size_t at = 0; at < text.len; at += step) {
        size_t n = text.len - at < step ? text.len - at : step;
        fuzz_check(output_splitter_push(s, span_make(text.data + at, n), &err) == OK);
    }
    fuzz_check(output_splitter_finish(s, &err) == OK);
    fuzz_check(!record.in_call);
    output_splitter_close(s);
    text_free(&record.arguments);
    return record.line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    struct span text = span_make((const char *)data + 1, size - 1);
    struct text whole = split(data[0], text, size);
    struct text cut = split(data[0], text, 1 + data[0] / 4 % 7);
    fuzz_check(span_eq(text_span(&whole), text_span(&cut)));
    text_free(&whole);
    text_free(&cut);
    return 0;
}
