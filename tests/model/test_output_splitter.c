/* SPDX-License-Identifier: Apache-2.0 */
/* Generated texts and what comes out of them, written as one line:
 *     R{thought}C{content}F{name}A{arguments}E
 * Every text is also cut at every place, and into single bytes: the line must be the same. */
#include "model/output_splitter.h"

#include "base/rng.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* Writes the events of one run; neighbours of one kind become one. */
struct record {
    struct text line;
    int last;    /* kind, -1 if none is open */
    bool broken; /* a text that is no whole UTF-8 */
};

static void on_event(void *user, const struct output_event *event) {
    struct record *r = user;
    static const char *const open[] = {"R{", "C{", "F{", "A{", "E"};
    r->broken |= !utf8_valid(event->text);
    if (r->last != (int)event->kind) {
        if (r->last >= 0)
            text_add_str(&r->line, "}");
        text_add_str(&r->line, open[event->kind]);
    }
    text_add(&r->line, event->text);
    r->last = event->kind == OUTPUT_CALL_END ? -1 : (int)event->kind;
}

struct run {
    bool starts_in_thought;
    enum call_format calls;
    struct json_object *tools;
};

/* Pushes the parts between the cuts, ascending places in the text. */
static struct text split(const struct run *run, struct span text, const size_t *cuts, size_t n) {
    struct record record = {.last = -1};
    struct output_splitter_options options = {
        .starts_in_thought = run->starts_in_thought,
        .calls = run->calls,
        .tools = run->tools,
        .sink = on_event,
        .user = &record,
    };
    struct output_splitter *s;
    struct error err;
    assert_int_equal(output_splitter_open(&s, &options, &err), OK);
    size_t begin = 0;
    for (size_t i = 0; i <= n; i++) {
        size_t end = i < n ? cuts[i] : text.len;
        assert_int_equal(output_splitter_push(s, span_make(text.data + begin, end - begin), &err),
                         OK);
        begin = end;
    }
    assert_int_equal(output_splitter_finish(s, &err), OK);
    output_splitter_close(s);
    if (record.last >= 0)
        text_add_str(&record.line, "}");
    assert_false(record.broken);
    return record.line;
}

static void check_cut(const struct run *run, struct span text, const char *expected,
                      const size_t *cuts, size_t n) {
    struct text line = split(run, text, cuts, n);
    if (!span_is(text_span(&line), expected))
        fail_msg("'%.*s' (%zu cuts, first at %zu)\ngives    %s\nexpected %s", (int)text.len,
                 text.data, n, n ? cuts[0] : 0, text_str(&line), expected);
    text_free(&line);
}

static void check(const struct run *run, const char *str, const char *expected) {
    struct span text = span_of(str);
    size_t cuts[2000];
    assert_true(text.len < 2000);
    check_cut(run, text, expected, NULL, 0);
    for (size_t at = 0; at <= text.len; at++)
        check_cut(run, text, expected, &at, 1);
    for (size_t i = 0; i < text.len; i++)
        cuts[i] = i;
    check_cut(run, text, expected, cuts, text.len);
}

static const struct run thinking = {.starts_in_thought = true, .calls = CALLS_XML};
static const struct run answering = {.calls = CALLS_XML};
static const struct run json_calls = {.calls = CALLS_JSON};
static const struct run json_thinking = {.starts_in_thought = true, .calls = CALLS_JSON};

static void thought_ends_at_its_tag_and_is_trimmed(void **state) {
    (void)state;
    check(&thinking, "Easy.\n</think>\n\n4", "R{Easy.}C{4}");
    check(&thinking, "  \n two words \n\n</think>\n\n  4 \n", "R{two words}C{4 \n}");
    check(&thinking, "</think>\n\n4", "C{4}");
    check(&thinking, "\n\n</think>\n\n4", "C{4}");
    check(&thinking, "a < b </thin k>\n</think>x", "R{a < b </thin k>}C{x}");
    check(&thinking, "a</think>b</think>c", "R{a}C{b</think>c}");
    check(&thinking, "\xe3\x80\x80\xc3\xa9 \xe3\x80\x80</think>\xe3\x80\x80\xc3\xa9",
          "R{\xc3\xa9}C{\xc3\xa9}");
}

static void repeated_opening_tag_is_dropped_once(void **state) {
    (void)state;
    check(&thinking, "<think>\nso</think>x", "R{so}C{x}");
    check(&thinking, "\n <think>so</think>x", "R{so}C{x}");
    check(&thinking, "<think><think>so</think>x", "R{<think>so}C{x}");
    check(&thinking, "x<think>so</think>x", "R{x<think>so}C{x}");
}

static void thought_that_is_cut_off_leaves_no_content(void **state) {
    (void)state;
    check(&thinking, "", "");
    check(&thinking, "\n", "");
    check(&thinking, "never ends \n", "R{never ends}");
    check(&thinking, "never ends </thin", "R{never ends </thin}");
    check(&thinking, "x <tool_call>\n", "R{x <tool_call>}");
    check(&thinking, "x <tool_call>\n<func", "R{x <tool_call>\n<func}");
}

static void answer_without_thought_is_kept_as_it_is(void **state) {
    (void)state;
    check(&answering, "Hello", "C{Hello}");
    check(&answering, " \n Hello \n\n", "C{ \n Hello \n\n}");
    check(&answering, "<think>x</think>", "C{<think>x</think>}");
    check(&answering, "a<b <t <to <tool_ </tool_call> <", "C{a<b <t <to <tool_ </tool_call> <}");
    check(&answering, "<<tool_cal", "C{<<tool_cal}");
    check(&answering, "   ", "C{   }");
}

#define CALL(name, body)      "<tool_call>\n<function=" name ">\n" body "</function>\n</tool_call>"
#define PARAMETER(key, value) "<parameter=" key ">\n" value "\n</parameter>\n"

static void calls_come_out_with_their_arguments(void **state) {
    (void)state;
    check(&answering, CALL("get_weather", PARAMETER("city", "Paris")),
          "F{get_weather}A{{\"city\":\"Paris\"}}E");
    check(&answering, "Let me look.\n\n" CALL("f", ""), "C{Let me look.}F{f}A{{}}E");
    check(&answering, CALL("f", PARAMETER("a", "x") PARAMETER("b", "y")) "\n" CALL("g", "") "\n",
          "F{f}A{{\"a\":\"x\",\"b\":\"y\"}}EF{g}A{{}}E");
    check(&thinking, "hm\n</think>\n\n" CALL("f", ""), "R{hm}F{f}A{{}}E");
    check(&answering, "<tool_call><function=f><parameter=a>x</parameter></function></tool_call>",
          "F{f}A{{\"a\":\"x\"}}E");
}

static void values_lose_one_line_feed_at_each_end(void **state) {
    (void)state;
    check(&answering, CALL("f", PARAMETER("code", "\n  def x():\n    return '<b>'\n")),
          "F{f}A{{\"code\":\"\\n  def x():\\n    return '<b>'\\n\"}}E");
    check(&answering, CALL("f", "<parameter=a> x </parameter>"), "F{f}A{{\"a\":\" x \"}}E");
    check(&answering, CALL("f", "<parameter=a>\n</parameter>"), "F{f}A{{\"a\":\"\"}}E");
    check(&answering, CALL("f", "<parameter=a></parameter>"), "F{f}A{{\"a\":\"\"}}E");
    check(&answering, CALL("f", "<parameter=></parameter>"), "F{f}A{{\"\":\"\"}}E");
}

static void missing_closing_tags_end_where_the_next_begins(void **state) {
    (void)state;
    check(&answering, CALL("f", "<parameter=a>\n1x\n<parameter=b>\n2x\n</parameter>\n"),
          "F{f}A{{\"a\":\"1x\",\"b\":\"2x\"}}E");
    check(&answering, CALL("f", "<parameter=a>\n1x\n"), "F{f}A{{\"a\":\"1x\"}}E");
    check(&answering, "<tool_call>\n<function=f>\n<parameter=a>\n1x\n</tool_call>\n",
          "F{f}A{{\"a\":\"1x\"}}E");
    check(&answering, "<tool_call>\n<function=f>\n</tool_call>\n" CALL("g", ""),
          "F{f}A{{}}EF{g}A{{}}E");
    check(&answering, "<tool_call>\n<function=f>\n" CALL("g", ""), "F{f}A{{}}EF{g}A{{}}E");
    check(&answering, "<tool_call>\n<function=f>\n</function>\n" CALL("g", ""),
          "F{f}A{{}}EF{g}A{{}}E");
}

static void call_inside_the_thought_ends_it(void **state) {
    (void)state;
    check(&thinking, "I need it.\n" CALL("f", ""), "R{I need it.}F{f}A{{}}E");
    check(&thinking, CALL("f", ""), "F{f}A{{}}E");
    check(&thinking, "a <tool_call> is a tag\n</think>\n\nx", "R{a <tool_call> is a tag}C{x}");
    check(&thinking, "a <tool_call>\n</think>\n\nx", "R{a <tool_call>}C{x}");
    check(&thinking, "<tool_call><tool_call>\n<function=f>\n</function>",
          "R{<tool_call>}F{f}A{{}}E");
}

static void malformed_blocks_are_content_unchanged(void **state) {
    (void)state;
    check(&answering, "a \n<tool_call>\nb</tool_call> ", "C{a \n<tool_call>\nb</tool_call> }");
    check(&answering, "<tool_call>\n<function=>\n</function>",
          "C{<tool_call>\n<function=>\n</function>}");
    check(&answering, "a\n<tool_call>\n<function=get_wea", "C{a\n<tool_call>\n<function=get_wea}");
    check(&answering, "a\n<tool_call>\n<func", "C{a\n<tool_call>\n<func}");
    check(&answering, "a\n<tool_call> \n", "C{a\n<tool_call> \n}");
    check(&answering, "<tool_call>{\"name\":\"f\"}</tool_call>",
          "C{<tool_call>{\"name\":\"f\"}</tool_call>}");
    check(&thinking, "x\n<tool_call>\n<function=get", "R{x}C{<tool_call>\n<function=get}");
}

static void cut_off_calls_close_their_json(void **state) {
    (void)state;
    check(&answering, "<tool_call>\n<function=f>", "F{f}A{{}}E");
    check(&answering, "<tool_call>\n<function=f>\n<param", "F{f}A{{}}E");
    check(&answering, "<tool_call>\n<function=f>\n<parameter=ci", "F{f}A{{}}E");
    check(&answering, "<tool_call>\n<function=f>\n" PARAMETER("a", "x") "<parameter=b>\nhal",
          "F{f}A{{\"a\":\"x\"}}E");
    check(&answering, "<tool_call>\n<function=f>\n<parameter=a>\nx\n</param", "F{f}A{{}}E");
    check(&answering, "<tool_call>\n<function=f>\n</function>\n</tool_c", "F{f}A{{}}E");
}

static void text_behind_a_call_is_content(void **state) {
    (void)state;
    check(&answering, "a\n" CALL("f", "") "\n\nb \n", "C{a}F{f}A{{}}EC{\n\nb}");
    check(&answering, "<tool_call>\n<function=f>\n</function>\noops", "F{f}A{{}}EC{\noops}");
}

static void values_take_the_type_of_their_schema(void **state) {
    (void)state;
    struct json_object *tools = NULL;
    struct error err;
    static const char schema[] =
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
        "\"properties\":{\"s\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},"
        "\"n\":{\"type\":\"number\"},\"b\":{\"type\":\"boolean\"},\"o\":{\"type\":\"object\"},"
        "\"l\":{\"type\":\"array\"},\"z\":{\"type\":\"null\"},\"e\":{\"enum\":[\"1\",\"2\"]},"
        "\"sn\":{\"type\":[\"string\",\"null\"]},\"in\":{\"anyOf\":[{\"type\":\"integer\"},"
        "{\"type\":\"null\"}]},\"u\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]},"
        "\"r\":{\"anyOf\":[{\"$ref\":\"#/x\"},{\"type\":\"null\"}]}}}}}]";
    assert_int_equal(json_parse(span_of(schema), &tools, &err), OK);
    struct run run = {.calls = CALLS_XML, .tools = tools};
    static const struct {
        const char *key, *value, *json;
    } cases[] = {
        {"s", "5", "\"5\""},
        {"s", "null", "\"null\""},
        {"s", "true", "\"true\""},
        {"s", "{}", "\"{}\""},
        {"i", "5", "5"},
        {"i", "-5", "-5"},
        {"i", "+007", "7"},
        {"i", "-0", "0"},
        {"i", " 5 ", "5"},
        {"i", "5.5", "\"5.5\""},
        {"i", "five", "\"five\""},
        {"i", "None", "null"},
        {"i", "123456789012345678901234567890", "123456789012345678901234567890"},
        {"n", "5", "5"},
        {"n", "5.0", "5"},
        {"n", "5.25", "5.25"},
        {"n", "1e3", "1000"},
        {"n", "1e-7", "1e-07"},
        {"n", "1e300", "1e+300"},
        {"n", "1e999", "\"1e999\""},
        {"n", "nan", "\"nan\""},
        {"n", "-0.0", "0"},
        {"n", "5.", "\"5.\""},
        {"n", "1e", "\"1e\""},
        {"n", "-1E+2", "-100"},
        {"x", "-", "\"-\""},
        {"x", "-1.5e2", "-1.5e2"},
        {"b", "true", "true"},
        {"b", "False", "false"},
        {"b", "yes", "\"yes\""},
        {"b", "null", "null"},
        {"o", "{\"a\": [1, 2.50]}", "{\"a\":[1,2.5]}"},
        {"o", "{a: 1}", "\"{a: 1}\""},
        {"l", "[ ]", "[]"},
        {"l", "None", "null"},
        {"z", "null", "null"},
        {"z", "x", "\"x\""},
        {"e", "1", "\"1\""},
        {"sn", "NULL", "null"},
        {"sn", "5", "\"5\""},
        {"in", "5", "5"},
        {"in", "null", "null"},
        {"in", "x", "\"x\""},
        {"u", "5", "5"},
        {"u", "true", "\"true\""},
        {"u", "null", "\"null\""},
        {"r", "{\"x\":null}", "{\"x\":null}"},
        {"r", "none", "null"},
        /* no schema */
        {"x", "5", "5"},
        {"x", "1.50", "1.50"},
        {"x", "007", "\"007\""},
        {"x", "True", "true"},
        {"x", "None", "null"},
        {"x", "[1,{}]", "[1,{}]"},
        {"x", "[1,", "\"[1,\""},
        {"x", "Rome", "\"Rome\""},
        {"x", "\"q\"", "\"\\\"q\\\"\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text text = {0}, expected = {0};
        text_printf(&text, CALL("f", PARAMETER("%s", "%s")), cases[i].key, cases[i].value);
        text_printf(&expected, "F{f}A{{\"%s\":%s}}E", cases[i].key, cases[i].json);
        check(&run, text_str(&text), text_str(&expected));
        text_free(&text);
        text_free(&expected);
    }
    json_object_put(tools);
}

static void schemas_may_stand_without_their_wrapper(void **state) {
    (void)state;
    struct json_object *tools = NULL;
    struct error err;
    static const char schema[] =
        "[5,{\"name\":\"g\"},{\"name\":\"f\",\"parameters\":{\"properties\":"
        "{\"a\":{\"type\":\"string\"},\"b\":true}}}]";
    assert_int_equal(json_parse(span_of(schema), &tools, &err), OK);
    struct run run = {.calls = CALLS_XML, .tools = tools};
    check(&run, CALL("f", PARAMETER("a", "5") PARAMETER("b", "5")),
          "F{f}A{{\"a\":\"5\",\"b\":\"5\"}}E");
    check(&run, CALL("g", PARAMETER("a", "5")), "F{g}A{{\"a\":5}}E");
    json_object_put(tools);
}

static void json_calls_come_out_with_their_arguments(void **state) {
    (void)state;
    check(&json_calls, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1.50}}\n</tool_call>",
          "F{f}A{{\"a\":1.5}}E");
    check(&json_calls,
          "x\n<tool_call>{\"arguments\": {}, \"name\": \"f\"}</tool_call>\n<tool_call>\n"
          "{\"name\":\"g\",\"arguments\":{\"s\":\"</tool_call>}\\\"{\"}}\n</tool_call>",
          "C{x}F{f}A{{}}EF{g}A{{\"s\":\"</tool_call>}\\\"{\"}}E");
    check(&json_calls, "<tool_call>{\"name\":\"f\"}</tool_call>", "F{f}A{{}}E");
    check(&json_calls, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>",
          "F{f}A{{\"a\":1}}E");
    check(&json_thinking, "so\n</think>\n\n<tool_call>{\"name\":\"f\",\"arguments\":{}}",
          "R{so}F{f}A{{}}E");
    check(&json_thinking, "so <tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
          "R{so}F{f}A{{}}E");
}

static void malformed_json_calls_are_content_unchanged(void **state) {
    (void)state;
    check(&json_calls, "<tool_call>\n{\"nam\": 1}\n</tool_call>",
          "C{<tool_call>\n{\"nam\": 1}\n</tool_call>}");
    check(&json_calls, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\n</tool_call> x",
          "C{<tool_call>\n{\"name\": \"f\", \"arguments\": {\n</tool_call> x}");
    check(&json_calls, "<tool_call>\n<function=f>\n</function>",
          "C{<tool_call>\n<function=f>\n</function>}");
    check(&json_calls, "<tool_call>{\"name\": \"f\", \"arguments\": 5}",
          "C{<tool_call>{\"name\": \"f\", \"arguments\": 5}}");
    check(&json_calls, "<tool_call>{\"name\": \"f", "C{<tool_call>{\"name\": \"f}");
    check(&json_thinking, "a <tool_call> b</think>c", "R{a <tool_call> b}C{c}");
}

static void cut_off_json_calls_keep_complete_arguments(void **state) {
    (void)state;
    check(&json_calls, "<tool_call>\n{\"name\": \"f\", \"argum", "F{f}A{{}}E");
    check(&json_calls, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, 2], \"b\": 12",
          "F{f}A{{\"a\":[1,2]}}E");
    check(&json_calls, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x, y",
          "F{f}A{{}}E");
    check(&json_calls, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}",
          "F{f}A{{\"a\":1}}E");
}

static void leading_think_opens_the_thought_of_qwen3(void **state) {
    (void)state;
    check(&json_calls, "<think>\nso\n</think>\n\nx", "R{so}C{x}");
    check(&json_calls, "\n<think>\n\n</think>\n\nx", "C{x}");
    check(&json_calls, "x <think>so</think>", "C{x <think>so</think>}");
    check(&json_calls, " \nx", "C{ \nx}");
}

static void broken_characters_become_replacements(void **state) {
    (void)state;
    check(&answering,
          "a\xff"
          "b",
          "C{a\xef\xbf\xbd"
          "b}");
    check(&answering, "a\xe2\x82", "C{a\xef\xbf\xbd}");
    check(&answering, "\xe2\x82\xac", "C{\xe2\x82\xac}");
    check(&thinking, "\xf0\x9f\x90</think>\xf0\x9f", "R{\xef\xbf\xbd}C{\xef\xbf\xbd}");
    check(&answering, "<tool_call>\n<function=f>\n<parameter=a>\n\xc3</parameter>",
          "F{f}A{{\"a\":\"\xef\xbf\xbd\"}}E");
}

/* Random rows of fragments, cut at random places: equal to the uncut run, whatever that gives. */
static void events_do_not_depend_on_the_cuts(void **state) {
    (void)state;
    static const char *const fragments[] = {
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<function=",
        "</function>",
        "<parameter=",
        "</parameter>",
        ">",
        "<",
        "\n",
        " ",
        "f",
        "city",
        "5",
        "null",
        "{",
        "}",
        "\"name\":",
        "\"f\"",
        "\"arguments\":",
        ",",
        "[",
        "]",
        "\"",
        "\\",
        "\xc3\xa9",
        "\xe3\x80\x80",
        "\xf0\x9f\x90\x9f",
        "\xff",
        "\xe2\x82",
        "</",
        "<tool",
        "<function=f>",
        "<parameter=a>\n",
        "{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
        "text ",
    };
    const size_t n_fragments = sizeof fragments / sizeof fragments[0];
    uint64_t counter = 0;
    struct text text = {0};
    for (int round = 0; round < 20000; round++) {
        struct run run = {.starts_in_thought = round % 2, .calls = round % 4 < 2};
        text_clear(&text);
        size_t n = 1 + rng_u64(1, counter++) % 14;
        for (size_t i = 0; i < n; i++)
            text_add_str(&text, fragments[rng_u64(2, counter++) % n_fragments]);
        struct text whole = split(&run, text_span(&text), NULL, 0);
        size_t cuts[8], n_cuts = 0, at = 0;
        while (n_cuts < 8 && (at += 1 + rng_u64(3, counter++) % 9) < text.len)
            cuts[n_cuts++] = at;
        check_cut(&run, text_span(&text), text_str(&whole), cuts, n_cuts);
        text_free(&whole);
    }
    text_free(&text);
}

static void long_undecided_text_costs_linear_time(void **state) {
    (void)state;
    const size_t n = 1u << 20;
    struct text text = {0};
    text_add_str(&text, "<tool_call>");
    for (size_t i = 0; i < n; i++)
        text_add_char(&text, ' ');
    text_add_char(&text, 'x');
    struct record record = {.last = -1};
    struct output_splitter_options options = {.sink = on_event, .user = &record};
    struct output_splitter *s;
    struct error err;
    assert_int_equal(output_splitter_open(&s, &options, &err), OK);
    for (size_t i = 0; i < text.len; i++)
        assert_int_equal(output_splitter_push(s, span_make(text.data + i, 1), &err), OK);
    assert_int_equal(output_splitter_finish(s, &err), OK);
    output_splitter_close(s);
    assert_int_equal(record.line.len, text.len + 2);
    text_free(&record.line);
    text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thought_ends_at_its_tag_and_is_trimmed),
        cmocka_unit_test(repeated_opening_tag_is_dropped_once),
        cmocka_unit_test(thought_that_is_cut_off_leaves_no_content),
        cmocka_unit_test(answer_without_thought_is_kept_as_it_is),
        cmocka_unit_test(calls_come_out_with_their_arguments),
        cmocka_unit_test(values_lose_one_line_feed_at_each_end),
        cmocka_unit_test(missing_closing_tags_end_where_the_next_begins),
        cmocka_unit_test(call_inside_the_thought_ends_it),
        cmocka_unit_test(malformed_blocks_are_content_unchanged),
        cmocka_unit_test(cut_off_calls_close_their_json),
        cmocka_unit_test(text_behind_a_call_is_content),
        cmocka_unit_test(values_take_the_type_of_their_schema),
        cmocka_unit_test(schemas_may_stand_without_their_wrapper),
        cmocka_unit_test(json_calls_come_out_with_their_arguments),
        cmocka_unit_test(malformed_json_calls_are_content_unchanged),
        cmocka_unit_test(cut_off_json_calls_keep_complete_arguments),
        cmocka_unit_test(leading_think_opens_the_thought_of_qwen3),
        cmocka_unit_test(broken_characters_become_replacements),
        cmocka_unit_test(events_do_not_depend_on_the_cuts),
        cmocka_unit_test(long_undecided_text_costs_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
