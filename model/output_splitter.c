/* SPDX-License-Identifier: Apache-2.0 */
/* An automaton that takes one character at a time: its result cannot depend on the cuts.
 *
 * Markers begin with '<' and have no other one inside. While a marker may still come, its beginning
 * waits in `mark`; when it does not, the '<' is ordinary text of the state and what followed it is
 * read again. Each state says which markers it knows (state_markers), what a marker does
 * (on_marker) and what any other character does (on_char). */
#include "model/output_splitter.h"

#include "base/utf8.h"
#include "model/call_arguments.h"
#include "model/char_class.h"
#include "model/json_call.h"

#include <stdlib.h>

#define MARK_MAX 16

enum marker {
    MARK_THINK,
    MARK_THINK_END,
    MARK_CALL,
    MARK_CALL_END,
    MARK_FUNCTION,
    MARK_FUNCTION_END,
    MARK_PARAMETER,
    MARK_PARAMETER_END,
    MARK_N,
};

static const char *const markers[MARK_N] = {
    [MARK_THINK] = "<think>",         [MARK_THINK_END] = "</think>",
    [MARK_CALL] = "<tool_call>",      [MARK_CALL_END] = "</tool_call>",
    [MARK_FUNCTION] = "<function=",   [MARK_FUNCTION_END] = "</function>",
    [MARK_PARAMETER] = "<parameter=", [MARK_PARAMETER_END] = "</parameter>",
};

enum state {
    THOUGHT_BEGIN, /* white space is dropped, and one <think> that repeats the prompt's */
    THOUGHT_LEAD,  /* white space is dropped */
    THOUGHT,
    GAP,          /* between thought and answer: white space is dropped */
    ANSWER_BEGIN, /* a <think> may still open the thought */
    ANSWER,
    CALL_OPEN,   /* <tool_call> was seen: a call or just a mention? */
    CALL_NAME,   /* behind <function= */
    CALL_BODY,   /* between parameters */
    CALL_KEY,    /* behind <parameter= */
    CALL_VALUE,  /* up to </parameter> */
    CALL_OBJECT, /* the JSON form */
    CALL_TAIL,   /* behind </function> or the object */
    STATE_N,
};

#define BIT(marker) (1u << (marker))

static const unsigned state_markers[STATE_N] = {
    [THOUGHT_BEGIN] = BIT(MARK_THINK) | BIT(MARK_THINK_END) | BIT(MARK_CALL),
    [THOUGHT_LEAD] = BIT(MARK_THINK_END) | BIT(MARK_CALL),
    [THOUGHT] = BIT(MARK_THINK_END) | BIT(MARK_CALL),
    [GAP] = BIT(MARK_CALL),
    [ANSWER_BEGIN] = BIT(MARK_THINK) | BIT(MARK_CALL),
    [ANSWER] = BIT(MARK_CALL),
    [CALL_OPEN] = BIT(MARK_FUNCTION),
    [CALL_BODY] =
        BIT(MARK_PARAMETER) | BIT(MARK_FUNCTION_END) | BIT(MARK_CALL_END) | BIT(MARK_CALL),
    [CALL_VALUE] =
        BIT(MARK_PARAMETER_END) | BIT(MARK_PARAMETER) | BIT(MARK_FUNCTION_END) | BIT(MARK_CALL_END),
    [CALL_TAIL] = BIT(MARK_CALL_END),
};

struct output_splitter {
    struct output_splitter_options options;
    enum state state;
    char tail[4]; /* bytes of a character that is not whole yet */
    size_t n_tail;
    char mark[MARK_MAX]; /* beginning of a marker */
    size_t n_mark;
    bool failed; /* memory was gone */

    struct text out; /* text of the next event */
    enum output_kind out_kind;
    struct text space; /* white space that comes out only if text follows it */

    /* The call at hand. */
    bool in_thought;   /* an undecided one: the text before it is the thought */
    bool any_call;     /* one was decided, now or before */
    bool any_argument; /* the call at hand has one */
    struct text block; /* undecided: all of it, from <tool_call> on */
    size_t name_begin; /* in block */
    struct json_scan scan;
    struct text key, value;
    struct json_object *schemas;
};

static void add(struct output_splitter *s, struct text *to, struct span text) {
    text_add(to, text);
    s->failed |= to->failed;
}

/* The text, which may never have been written to. */
static struct span view(const struct text *text) {
    return span_make(text_str(text), text->len);
}

static void emit(struct output_splitter *s, enum output_kind kind, struct span text) {
    s->options.sink(s->options.user, &(struct output_event){.kind = kind, .text = text});
}

static void flush(struct output_splitter *s) {
    if (s->out.len)
        emit(s, s->out_kind, text_span(&s->out));
    text_clear(&s->out);
}

static bool is_space(struct span character) {
    uint32_t c = 0;
    return utf8_decode(character, &c) && char_is_python_space(c);
}

/* One character of reasoning or content. */
static void add_char(struct output_splitter *s, enum output_kind kind, struct span character) {
    if (is_space(character)) {
        add(s, &s->space, character);
        return;
    }
    if (s->out_kind != kind)
        flush(s);
    s->out_kind = kind;
    add(s, &s->out, text_span(&s->space));
    add(s, &s->out, character);
    text_clear(&s->space);
}

static void end_thought(struct output_splitter *s) {
    text_clear(&s->space);
    flush(s);
}

static void begin_block(struct output_splitter *s, bool in_thought) {
    s->in_thought = in_thought;
    text_clear(&s->block);
    add(s, &s->block, span_of(markers[MARK_CALL]));
    s->state = CALL_OPEN;
}

/* The block is no call: its text belongs to what was before it. */
static void release_block(struct output_splitter *s) {
    enum output_kind kind = s->in_thought ? OUTPUT_REASONING : OUTPUT_CONTENT;
    struct span rest = text_span(&s->block);
    uint32_t c;
    for (size_t n; (n = utf8_decode(rest, &c)); rest = span_from(rest, n))
        add_char(s, kind, span_make(rest.data, n));
    text_clear(&s->block);
    s->state = s->in_thought ? THOUGHT : ANSWER;
}

static void begin_call(struct output_splitter *s, struct span name) {
    text_clear(&s->space);
    flush(s);
    s->any_call = true;
    s->any_argument = false;
    s->schemas = call_arguments_schemas(s->options.tools, name);
    emit(s, OUTPUT_CALL_BEGIN, name);
}

static void end_call(struct output_splitter *s) {
    emit(s, OUTPUT_CALL_ARGUMENTS, span_of(s->any_argument ? "}" : "{}"));
    emit(s, OUTPUT_CALL_END, (struct span){0});
}

static void name_complete(struct output_splitter *s) {
    struct span name = span_strip(span_from(text_span(&s->block), s->name_begin));
    if (name.len == 0) {
        add(s, &s->block, span_of(">"));
        release_block(s);
        return;
    }
    begin_call(s, name);
    s->state = CALL_BODY;
}

static void argument_complete(struct output_splitter *s) {
    struct span value = view(&s->value);
    struct text json = {0};
    if (span_starts_with(value, "\n"))
        value = span_from(value, 1);
    if (span_ends_with(value, "\n"))
        value.len--;
    struct span key = span_strip(view(&s->key));
    text_add_char(&json, s->any_argument ? ',' : '{');
    json_add_string(&json, key);
    text_add_char(&json, ':');
    call_arguments_add(&json, s->schemas, key, value);
    s->any_argument = true;
    s->failed |= json.failed;
    emit(s, OUTPUT_CALL_ARGUMENTS, text_span(&json));
    text_free(&json);
}

/* The JSON form arrives whole, or cut off at the end of generation. */
static void object_complete(struct output_splitter *s, bool cut_off) {
    struct text name = {0}, arguments = {0};
    struct span object = span_from(text_span(&s->block), s->name_begin);
    bool (*read)(struct span, struct text *, struct text *) =
        cut_off ? json_call_read_cut : json_call_read;
    if (read(object, &name, &arguments)) {
        begin_call(s, text_span(&name));
        emit(s, OUTPUT_CALL_ARGUMENTS, text_span(&arguments));
        emit(s, OUTPUT_CALL_END, (struct span){0});
        s->state = CALL_TAIL;
    } else {
        release_block(s);
    }
    s->failed |= name.failed || arguments.failed;
    text_free(&name);
    text_free(&arguments);
}

static void feed(struct output_splitter *s, struct span character);

static void open_char(struct output_splitter *s, struct span character) {
    if (is_space(character)) {
        add(s, &s->block, character);
    } else if (s->options.calls == CALLS_JSON && span_is(character, "{")) {
        s->name_begin = s->block.len;
        s->scan = (struct json_scan){0};
        json_scan_byte(&s->scan, '{');
        add(s, &s->block, character);
        s->state = CALL_OBJECT;
    } else {
        release_block(s);
        feed(s, character);
    }
}

/* Outside a string no '<' belongs in JSON: the model has given up on the call. */
static void object_char(struct output_splitter *s, struct span character) {
    if (!s->scan.in_string && span_is(character, "<")) {
        release_block(s);
        feed(s, character);
        return;
    }
    bool closed = false;
    add(s, &s->block, character);
    for (size_t i = 0; i < character.len; i++)
        closed = json_scan_byte(&s->scan, character.data[i]);
    if (closed)
        object_complete(s, false);
}

/* A character that is no part of a marker. */
static void on_char(struct output_splitter *s, struct span character) {
    switch (s->state) {
    case THOUGHT_BEGIN:
    case THOUGHT_LEAD:
        if (is_space(character))
            break;
        s->state = THOUGHT;
        /* fall through */
    case THOUGHT:
        add_char(s, OUTPUT_REASONING, character);
        break;
    case GAP:
        if (is_space(character))
            break;
        s->state = ANSWER;
        /* fall through */
    case ANSWER:
        add_char(s, OUTPUT_CONTENT, character);
        break;
    case ANSWER_BEGIN:
        if (!is_space(character))
            s->state = ANSWER;
        add_char(s, OUTPUT_CONTENT, character);
        break;
    case CALL_OPEN:
        open_char(s, character);
        break;
    case CALL_NAME:
        if (span_is(character, ">"))
            name_complete(s);
        else
            add(s, &s->block, character);
        break;
    case CALL_KEY:
        if (span_is(character, ">"))
            s->state = CALL_VALUE;
        else /* a zero in a name is more than JSON readers take, json_parse among them */
            add(s, &s->key, character.data[0] ? character : span_of("\xef\xbf\xbd"));
        break;
    case CALL_VALUE:
        add(s, &s->value, character);
        break;
    case CALL_OBJECT:
        object_char(s, character);
        break;
    case CALL_TAIL:
        if (is_space(character)) {
            add(s, &s->space, character);
            break;
        }
        s->state = ANSWER;
        feed(s, character);
        break;
    case CALL_BODY:
    case STATE_N:
        break;
    }
}

static void begin_parameter(struct output_splitter *s) {
    text_clear(&s->key);
    text_clear(&s->value);
    s->state = CALL_KEY;
}

static void on_marker(struct output_splitter *s, enum marker marker) {
    if (s->state == CALL_VALUE)
        argument_complete(s);
    bool in_call = s->state == CALL_VALUE || s->state == CALL_BODY;
    bool in_thought = s->state == THOUGHT || s->state == THOUGHT_LEAD || s->state == THOUGHT_BEGIN;
    if (in_call && marker != MARK_PARAMETER && marker != MARK_PARAMETER_END)
        end_call(s);
    switch (marker) {
    case MARK_THINK:
        text_clear(&s->space);
        s->state = s->state == ANSWER_BEGIN ? THOUGHT_BEGIN : THOUGHT_LEAD;
        break;
    case MARK_THINK_END:
        end_thought(s);
        s->state = GAP;
        break;
    case MARK_CALL:
        begin_block(s, in_thought);
        break;
    case MARK_FUNCTION:
        if (s->in_thought)
            end_thought(s);
        s->in_thought = false;
        add(s, &s->block, span_of(markers[MARK_FUNCTION]));
        s->name_begin = s->block.len;
        s->state = CALL_NAME;
        break;
    case MARK_PARAMETER:
        begin_parameter(s);
        break;
    case MARK_PARAMETER_END:
        s->state = CALL_BODY;
        break;
    case MARK_FUNCTION_END:
        s->state = CALL_TAIL;
        break;
    case MARK_CALL_END:
        text_clear(&s->space);
        s->state = ANSWER;
        break;
    case MARK_N:
        break;
    }
}

static unsigned known_markers(const struct output_splitter *s) {
    if (s->state == CALL_OPEN && s->options.calls == CALLS_JSON)
        return 0;
    return state_markers[s->state];
}

/* The marker that begins with the bytes in s->mark, MARK_N if there is none. */
static enum marker match_mark(const struct output_splitter *s) {
    unsigned known = known_markers(s);
    for (int m = 0; m < MARK_N; m++) {
        if ((known & BIT(m)) && strncmp(markers[m], s->mark, s->n_mark) == 0)
            return (enum marker)m;
    }
    return MARK_N;
}

/* No marker after all: its '<' is text, the rest is read again. */
static void reject_mark(struct output_splitter *s) {
    char mark[MARK_MAX];
    size_t n = s->n_mark;
    memcpy(mark, s->mark, n);
    s->n_mark = 0;
    on_char(s, span_make(mark, 1));
    for (size_t i = 1; i < n; i++)
        feed(s, span_make(mark + i, 1));
}

/* The longest marker has 12 bytes, so that a beginning of one always fits in s->mark. */
static void feed(struct output_splitter *s, struct span character) {
    bool may_begin = span_is(character, "<") && known_markers(s);
    if (s->n_mark == 0 && !may_begin) {
        on_char(s, character);
        return;
    }
    if (character.len == 1) {
        s->mark[s->n_mark++] = character.data[0];
        enum marker marker = match_mark(s);
        if (marker != MARK_N) {
            if (s->n_mark == strlen(markers[marker])) {
                s->n_mark = 0;
                on_marker(s, marker);
            }
            return;
        }
        s->n_mark--;
    }
    reject_mark(s);
    feed(s, character);
}

enum status output_splitter_open(struct output_splitter **out,
                                 const struct output_splitter_options *options, struct error *err) {
    struct output_splitter *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return error_set(err, ERR_NOMEM, "output splitter: no memory");
    s->options = *options;
    if (options->starts_in_thought)
        s->state = THOUGHT_BEGIN;
    else
        s->state = options->calls == CALLS_JSON ? ANSWER_BEGIN : ANSWER;
    return OK;
}

void output_splitter_close(struct output_splitter *s) {
    if (!s)
        return;
    text_free(&s->out);
    text_free(&s->space);
    text_free(&s->block);
    text_free(&s->key);
    text_free(&s->value);
    free(s);
}

static enum status check_memory(const struct output_splitter *s, struct error *err) {
    return s->failed ? error_set(err, ERR_NOMEM, "output splitter: no memory") : OK;
}

/* Feeds text of whole characters; what is broken becomes U+FFFD. */
static void feed_text(struct output_splitter *s, struct span bytes) {
    struct text repaired = {0};
    utf8_append_repaired(&repaired, bytes);
    s->failed |= repaired.failed;
    struct span rest = text_span(&repaired);
    uint32_t c;
    for (size_t n; (n = utf8_decode(rest, &c)); rest = span_from(rest, n))
        feed(s, span_make(rest.data, n));
    text_free(&repaired);
}

enum status output_splitter_push(struct output_splitter *s, struct span text, struct error *err) {
    struct text bytes = {0};
    add(s, &bytes, span_make(s->tail, s->n_tail));
    add(s, &bytes, text);
    s->n_tail = utf8_incomplete_tail(text_span(&bytes));
    size_t n_whole = bytes.len - s->n_tail;
    if (s->n_tail)
        memcpy(s->tail, bytes.data + n_whole, s->n_tail);
    feed_text(s, span_make(bytes.data, n_whole));
    text_free(&bytes);
    flush(s);
    return check_memory(s, err);
}

enum status output_splitter_finish(struct output_splitter *s, struct error *err) {
    feed_text(s, span_make(s->tail, s->n_tail));
    s->n_tail = 0;
    if (s->state == CALL_TAIL)
        s->n_mark = 0; /* the call is complete, only its closing tag is not */
    while (s->n_mark)  /* rejected by an open call, it may begin a marker of the answer */
        reject_mark(s);
    if (s->state == CALL_OBJECT)
        object_complete(s, true);
    if (s->state == CALL_OPEN || s->state == CALL_NAME)
        release_block(s);
    if (s->state == CALL_BODY || s->state == CALL_KEY || s->state == CALL_VALUE)
        end_call(s);
    bool content = s->state == ANSWER || s->state == ANSWER_BEGIN;
    if (content && !s->any_call && s->space.len) {
        if (s->out_kind != OUTPUT_CONTENT)
            flush(s);
        s->out_kind = OUTPUT_CONTENT;
        add(s, &s->out, text_span(&s->space));
    }
    flush(s);
    return check_memory(s, err);
}
