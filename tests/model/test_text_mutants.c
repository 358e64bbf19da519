/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged requests, prompts, outputs and vocabularies: seeds are changed at random places, then
 * taken as a command would take them. Each is accepted, or refused with an error that names a
 * field, a byte or an entry; nothing crashes, leaks or hangs.
 *
 *     test_model_text_mutants [NUMBER]      2000 by default */
#include "model/chat_template.h"
#include "model/output_splitter.h"

#include "base/rng.h"
#include "support_files.h"
#include "support_vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEEDS_MAX 64

struct fixture {
    uint64_t n_mutants;
    struct gguf gguf;
    struct tokenizer *tokenizer;
    struct text requests[SEEDS_MAX]; /* lines {"messages", ...} */
    struct text prompts[SEEDS_MAX];  /* what they render to */
    size_t n_seeds;
};

/* Random numbers of one mutant, in order. */
struct dice {
    uint64_t mutant, n;
};

static size_t roll(struct dice *dice, size_t sides) {
    return (size_t)(rng_u64(dice->mutant, dice->n++) % sides);
}

/* Pieces of text that mean something to a parser. */
static const char *const tokens[] = {
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "1e999",
    "1e-7",
    "\\u0000",
    "\\ud800",
    "\"role\"",
    "\"content\"",
    "\"tool_calls\"",
    "\"function\"",
    "\"arguments\"",
    "\"system\"",
    "\"image\"",
    "<think>",
    "</think>",
    "<tool_call>\n<function=f>\n",
    "<parameter=a>\n",
    "</parameter>\n",
    "</function>\n</tool_call>",
    "<|im_end|>",
    "\xcc\x81",
    "\xf0\x9f",
    "\xff",
    "{\"name\": \"f\", \"arguments\": {",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
};

static void mutate(struct text *text, struct dice *dice) {
    struct text out = {0};
    size_t at = roll(dice, text->len + 1);
    size_t n = roll(dice, 24);
    n = n < text->len - at ? n : text->len - at;
    text_add(&out, span_make(text->data, at));
    size_t skipped = 0;
    switch (roll(dice, 5)) {
    case 0: /* one other byte */
        text_add_char(&out, (char)roll(dice, 256));
        skipped = n ? 1 : 0;
        break;
    case 1: /* a hole */
        skipped = n;
        break;
    case 2: /* the same again */
        text_add(&out, span_make(text->data + at, n));
        break;
    case 3: /* something that means something */
        text_add_str(&out, tokens[roll(dice, sizeof tokens / sizeof tokens[0])]);
        break;
    default: /* cut off */
        skipped = roll(dice, 4) == 0 ? text->len - at : 0;
        break;
    }
    text_add(&out, span_from(text_span(text), at + skipped));
    assert_false(out.failed);
    text_free(text);
    *text = out;
}

static struct text mutant_of(const struct text *seed, struct dice *dice) {
    struct text text = {0};
    text_add(&text, text_span(seed));
    for (size_t i = 1 + roll(dice, 4); i > 0; i--)
        mutate(&text, dice);
    return text;
}

static void take_flag(struct json_object *request, const char *key, bool *out) {
    struct error err = {0};
    if (json_get_bool(request, key, out, &err) != OK)
        assert_true(span_starts_with(span_of(err.text), key));
}

/* Renders and tokenises; true if it was accepted. */
static bool take_request(const struct fixture *f, struct json_object *request,
                         enum chat_template t) {
    struct chat_input input = {.enable_thinking = TRI_UNSET};
    struct chat_prompt prompt = {0};
    struct token_ids ids = {0};
    struct error err = {0};
    json_object_object_get_ex(request, "messages", &input.messages);
    json_object_object_get_ex(request, "tools", &input.tools);
    take_flag(request, "preserve_thinking", &input.preserve_thinking);
    take_flag(request, "add_vision_id", &input.add_vision_id);
    take_flag(request, "add_generation_prompt", &input.add_generation_prompt);
    bool accepted = chat_render(&prompt, t, &input, &err) == OK;
    if (accepted)
        assert_int_equal(chat_tokenize(&prompt, f->tokenizer, &ids, &err), OK);
    else if (!span_starts_with(span_of(err.text), "messages") &&
             !span_starts_with(span_of(err.text), "tools"))
        fail_msg("no field: %s", err.text);
    token_ids_free(&ids);
    chat_prompt_free(&prompt);
    return accepted;
}

static void damaged_requests_render_or_name_their_field(void **state) {
    const struct fixture *f = *state;
    uint64_t n_accepted = 0, n_refused = 0, n_no_json = 0;
    for (uint64_t i = 0; i < f->n_mutants; i++) {
        struct dice dice = {.mutant = i};
        struct text line = mutant_of(&f->requests[roll(&dice, f->n_seeds)], &dice);
        struct json_object *request = NULL;
        struct error err = {0};
        if (json_parse(text_span(&line), &request, &err) != OK) {
            assert_non_null(strstr(err.text, "byte"));
            n_no_json++;
        } else if (json_object_is_type(request, json_type_object)) {
            bool accepted = take_request(f, request, (enum chat_template)(i % CHAT_N));
            n_accepted += accepted;
            n_refused += !accepted;
        }
        json_object_put(request);
        text_free(&line);
    }
    assert_true(n_accepted > 0 && n_refused > 0 && n_no_json > 0);
}

/* Appends what the ids of the text mean. */
static void round_trip(const struct tokenizer *t, struct span text, bool special,
                       struct text *back) {
    struct token_ids ids = {0};
    struct error err;
    assert_int_equal(tokenizer_encode(t, text, special, &ids, &err), OK);
    for (size_t i = 0; i < ids.n; i++)
        text_add(back, tokenizer_bytes(t, ids.data[i]));
    token_ids_free(&ids);
}

/* The first trip may change the text to form C, the second changes nothing. */
static void damaged_prompts_survive_a_round_trip(void **state) {
    const struct fixture *f = *state;
    for (uint64_t i = 0; i < f->n_mutants; i++) {
        struct dice dice = {.mutant = i};
        struct text text = mutant_of(&f->prompts[roll(&dice, f->n_seeds)], &dice);
        struct text back = {0}, again = {0};
        round_trip(f->tokenizer, text_span(&text), i % 2, &back);
        round_trip(f->tokenizer, text_span(&back), i % 2, &again);
        assert_true(span_eq(text_span(&again), text_span(&back)));
        text_free(&back);
        text_free(&again);
        text_free(&text);
    }
}

static void count_calls(void *user, const struct output_event *event) {
    int *open = user;
    *open += (event->kind == OUTPUT_CALL_BEGIN) - (event->kind == OUTPUT_CALL_END);
    assert_true(*open >= 0 && *open <= 1);
}

static void damaged_outputs_close_their_calls(void **state) {
    const struct fixture *f = *state;
    for (uint64_t i = 0; i < f->n_mutants; i++) {
        struct dice dice = {.mutant = i};
        struct text text = mutant_of(&f->prompts[roll(&dice, f->n_seeds)], &dice);
        int open = 0;
        struct output_splitter_options options = {
            .starts_in_thought = i % 2,
            .calls = i % 4 < 2 ? CALLS_XML : CALLS_JSON,
            .sink = count_calls,
            .user = &open,
        };
        struct output_splitter *s;
        struct error err;
        assert_int_equal(output_splitter_open(&s, &options, &err), OK);
        size_t cut = roll(&dice, text.len + 1);
        assert_int_equal(output_splitter_push(s, span_make(text.data, cut), &err), OK);
        assert_int_equal(output_splitter_push(s, span_from(text_span(&text), cut), &err), OK);
        assert_int_equal(output_splitter_finish(s, &err), OK);
        assert_int_equal(open, 0);
        output_splitter_close(s);
        text_free(&text);
    }
}

/* Replaces one entry of the tables by a damaged one. */
static void damage_tables(struct vocabulary *v, struct dice *dice) {
    struct span *list = roll(dice, 2) ? v->tokens : v->merges;
    size_t n = list == v->tokens ? v->n_tokens : v->n_merges;
    size_t i = roll(dice, n);
    struct text text = {0};
    switch (roll(dice, 4)) {
    case 0:
        v->kinds[roll(dice, v->n_tokens)] = (uint8_t)roll(dice, 8);
        return;
    case 1:
        list[i] = list[roll(dice, n)];
        return;
    default:
        text_add(&text, list[i]);
        mutate(&text, dice);
        list[i] = span_make(arena_dup(&v->arena, text_span(&text)), text.len);
        text_free(&text);
        return;
    }
}

static void damaged_vocabularies_open_or_name_their_entry(void **state) {
    const struct fixture *f = *state;
    uint64_t n_opened = 0;
    for (uint64_t i = 0; i < f->n_mutants / 10; i++) {
        struct dice dice = {.mutant = i};
        struct vocabulary v;
        struct tokenizer *t = NULL;
        struct error err = {0};
        vocabulary_init(&v, 300);
        vocabulary_add_bytes(&v);
        vocabulary_add(&v, span_of("he"), TOKEN_NORMAL);
        vocabulary_add(&v, span_of("hello"), TOKEN_NORMAL);
        vocabulary_add(&v, span_of("llo"), TOKEN_NORMAL);
        vocabulary_add(&v, span_of("lo"), TOKEN_NORMAL);
        vocabulary_add(&v, span_of("<|im_end|>"), TOKEN_CONTROL);
        vocabulary_add(&v, span_of("<think>"), TOKEN_USER_DEFINED);
        vocabulary_add_merge(&v, span_of("h"), span_of("e"));
        vocabulary_add_merge(&v, span_of("l"), span_of("o"));
        vocabulary_add_merge(&v, span_of("l"), span_of("lo"));
        vocabulary_add_merge(&v, span_of("he"), span_of("llo"));
        damage_tables(&v, &dice);
        struct tokenizer_tables tables = vocabulary_tables(&v, SPLIT_QWEN35);
        if (tokenizer_open_tables(&t, &tables, &err) == OK) {
            struct token_ids ids = {0};
            struct span text = span_of("hello hell <think>\xff he<|im_end|>");
            assert_int_equal(tokenizer_encode(t, text, true, &ids, &err), OK);
            assert_true(ids.n > 0);
            token_ids_free(&ids);
            n_opened++;
        } else if (!strstr(err.text, "[") && !strstr(err.text, "0x")) {
            fail_msg("no entry: %s", err.text);
        }
        tokenizer_close(t);
        vocabulary_free(&v);
    }
    assert_true(n_opened > 0 && n_opened < f->n_mutants / 10);
}

static void add_seeds(struct fixture *f, const char *path) {
    struct json_object *cases = test_read_json(path);
    for (size_t i = 0; i < json_object_array_length(cases) && i < SEEDS_MAX / 2; i++) {
        struct json_object *c = json_object_array_get_idx(cases, i);
        struct json_object *output = NULL;
        const char *line =
            json_object_to_json_string_ext(test_field(c, "input"), JSON_C_TO_STRING_NOSLASHESCAPE);
        json_object_object_get_ex(c, "output", &output);
        text_add_str(&f->requests[f->n_seeds], line);
        text_add(&f->prompts[f->n_seeds++], output ? json_span(output) : span_of(line));
    }
    json_object_put(cases);
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < f->n_seeds; i++) {
        text_free(&f->requests[i]);
        text_free(&f->prompts[i]);
    }
    tokenizer_close(f->tokenizer);
    gguf_close(&f->gguf);
    return 0;
}

static int open_fixture(void **state) {
    struct fixture *f = *state;
    struct error err;
    if (gguf_open(&f->gguf, SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf", &err) != OK ||
        tokenizer_open(&f->tokenizer, &f->gguf, &err) != OK)
        return -1;
    add_seeds(f, TEST_DATA "/templates/render-cases.json");
    add_seeds(f, TEST_DATA "/templates/qwen3-cases.json");
    return 0;
}

int main(int argc, char **argv) {
    struct fixture fixture = {.n_mutants = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(damaged_requests_render_or_name_their_field, &fixture),
        cmocka_unit_test_prestate(damaged_prompts_survive_a_round_trip, &fixture),
        cmocka_unit_test_prestate(damaged_outputs_close_their_calls, &fixture),
        cmocka_unit_test_prestate(damaged_vocabularies_open_or_name_their_entry, &fixture),
    };
    void *state = &fixture;
    if (fixture.n_mutants < 100 || open_fixture(&state) != 0)
        return 1;
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_fixture(&state);
    return n_failed;
}
