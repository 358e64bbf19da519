/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, strings and nested values against what Python prints (data/templates/make-cases.py). */
#include "model/python_text.h"

#include "support_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* Any value, also one that is no container; json_object_put follows. */
static struct json_object *parse(const char *json) {
    struct json_object *array = NULL;
    struct text text = {0};
    struct error err;
    text_printf(&text, "[%s]", json);
    if (json_parse(text_span(&text), &array, &err) != OK)
        fail_msg("%s: %s", json, err.text);
    struct json_object *value = json_object_get(json_object_array_get_idx(array, 0));
    json_object_put(array);
    text_free(&text);
    return value;
}

static void numbers_print_as_in_python(void **state) {
    (void)state;
    struct json_object *rows = test_read_json(TEST_DATA "/templates/python-numbers.json");
    size_t n = json_object_array_length(rows);
    assert_true(n > 2000);
    for (size_t i = 0; i < n; i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        const char *json = json_object_get_string(json_object_array_get_idx(row, 0));
        struct json_object *value = parse(json);
        struct text str = {0}, dump = {0};
        python_add_str(&str, value);
        assert_true(python_add_json(&dump, value, JSON_SPACED));
        assert_string_equal(text_str(&str),
                            json_object_get_string(json_object_array_get_idx(row, 1)));
        assert_string_equal(text_str(&dump),
                            json_object_get_string(json_object_array_get_idx(row, 2)));
        text_free(&str);
        text_free(&dump);
        json_object_put(value);
    }
    json_object_put(rows);
}

static void check(const char *json, enum json_style style, const char *expected) {
    struct json_object *value = parse(json);
    struct text out = {0};
    assert_true(python_add_json(&out, value, style));
    assert_string_equal(text_str(&out), expected);
    text_free(&out);
    json_object_put(value);
}

static void containers_keep_their_order_and_nest(void **state) {
    (void)state;
    check("{\"b\":1,\"a\":[],\"c\":{}}", JSON_SPACED, "{\"b\": 1, \"a\": [], \"c\": {}}");
    check("[[[1,2],{\"x\":[null,true,false]}],\"s\"]", JSON_SPACED,
          "[[[1, 2], {\"x\": [null, true, false]}], \"s\"]");
    check("{ \"a\" : [ 1 , 2.50 ] }", JSON_COMPACT, "{\"a\":[1,2.5]}");
    check("[]", JSON_COMPACT, "[]");
    check("null", JSON_SPACED, "null");
}

static void strings_escape_what_json_must(void **state) {
    (void)state;
    check("\"\\b\\f\\n\\r\\t\\u000b\\u0000\\u001f\\u007f\\\"\\\\\\/caf\xc3\xa9\\u2028\"",
          JSON_SPACED,
          "\"\\b\\f\\n\\r\\t\\u000b\\u0000\\u001f\x7f\\\"\\\\/caf\xc3\xa9\xe2\x80\xa8\"");
}

static void scalars_print_as_python_text(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"true", "True"}, {"false", "False"}, {"null", "None"}, {"\"x\\n\"", "x\n"}, {"3", "3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_object *value = parse(cases[i][0]);
        struct text out = {0};
        python_add_str(&out, value);
        assert_string_equal(text_str(&out), cases[i][1]);
        text_free(&out);
        json_object_put(value);
    }
}

static void deeper_than_the_limit_is_refused(void **state) {
    (void)state;
    struct json_object *value = json_object_new_array();
    for (int depth = 1; depth < JSON_DEPTH_MAX; depth++) {
        struct json_object *outer = json_object_new_array();
        json_object_array_add(outer, value);
        value = outer;
    }
    struct text out = {0};
    assert_true(python_add_json(&out, value, JSON_SPACED));
    assert_int_equal(out.len, 2 * JSON_DEPTH_MAX);
    struct json_object *outer = json_object_new_array();
    json_object_array_add(outer, value);
    assert_false(python_add_json(&out, outer, JSON_SPACED));
    text_free(&out);
    json_object_put(outer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_print_as_in_python),
        cmocka_unit_test(containers_keep_their_order_and_nest),
        cmocka_unit_test(strings_escape_what_json_must),
        cmocka_unit_test(scalars_print_as_python_text),
        cmocka_unit_test(deeper_than_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
