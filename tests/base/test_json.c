/* SPDX-License-Identifier: Apache-2.0 */
/* What is read, what is refused and where, and what is written back exactly. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *parse(const char *text) {
    struct json_object *value = NULL;
    struct error err;
    if (json_parse(span_of(text), &value, &err) != OK)
        fail_msg("%s: %s", text, err.text);
    return value;
}

static void any_value_with_white_space_around_is_read(void **state) {
    (void)state;
    static const struct {
        const char *text, *type;
    } cases[] = {
        {"{}", "object"},      {" [1, 2]\n", "array"},   {"\t\"x\"\r\n ", "string"},
        {"12", "integer"},     {"-7 ", "integer"},       {"0.5", "number"},
        {"1e3", "number"},     {" 1.25e-3\n", "number"}, {"true", "boolean"},
        {"false ", "boolean"}, {"null", "null"},         {" null ", "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_object *value = parse(cases[i].text);
        assert_string_equal(json_type_word(value), cases[i].type);
        json_object_put(value);
    }
}

static void what_is_no_json_is_refused(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        " ",
        "{",
        "[1,",
        "[1,]",
        "{\"a\":1,}",
        "{'a':1}",
        "{a:1}",
        "\"x",
        "\"\\x\"",
        "nul",
        "tru",
        "TRUE",
        "NaN",
        "Infinity",
        "-Infinity",
        "-",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "0x10",
        "1 2",
        "{} x",
        "{}{}",
        "[1]]",
        "// c\n1",
        "/* c */ 1",
        "\"a\nb\"",
        "\"\x80\"",
        "\"\xed\xa0\x80\"",
        "[NaN]",
        "[-01]",
        "[1.]",
        "['a']",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":}",
        "[,]",
        "{,}",
        "[}",
        "{]",
        "{\"a\":1]",
        "[1}",
        "\f1",
        "\xef\xbb\xbf{}",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "-Inf",
        "[truefalse]",
        "nullx",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_object *value;
        struct error err;
        enum status status = json_parse(span_of(cases[i]), &value, &err);
        if (status != ERR_INPUT)
            fail_msg("'%s' was read as %s", cases[i], json_type_word(value));
        assert_null(value);
        assert_non_null(strstr(err.text, "at byte "));
    }
}

static void a_zero_byte_is_no_end(void **state) {
    (void)state;
    struct json_object *value;
    assert_int_equal(json_parse(span_make("1\0", 2), &value, NULL), ERR_INPUT);
    assert_int_equal(json_parse(span_make("{}\0{}", 5), &value, NULL), ERR_INPUT);
    assert_int_equal(json_parse(span_make("\"a\0b\"", 5), &value, NULL), ERR_INPUT);
    assert_int_equal(json_parse((struct span){0}, &value, NULL), ERR_INPUT);
}

static void the_error_names_the_byte(void **state) {
    (void)state;
    struct json_object *value;
    struct error err;
    json_parse(span_of("{\"a\": 1, \"b\": x}"), &value, &err);
    assert_non_null(strstr(err.text, "at byte 14"));
    json_parse(span_of("{}  x"), &value, &err);
    assert_non_null(strstr(err.text, "at byte 4"));
}

static void depth_is_limited(void **state) {
    (void)state;
    struct text text = {0};
    struct json_object *value;
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        text_add_str(&text, i % 2 ? "{\"a\":" : "[");
    text_add_char(&text, '1');
    for (int i = JSON_DEPTH_MAX; i-- > 0;)
        text_add_char(&text, i % 2 ? '}' : ']');
    assert_int_equal(json_parse(text_span(&text), &value, NULL), OK);
    json_object_put(value);
    text_clear(&text);
    for (int i = 0; i <= JSON_DEPTH_MAX; i++)
        text_add_char(&text, '[');
    assert_int_equal(json_parse(text_span(&text), &value, NULL), ERR_LIMIT);
    text_free(&text);
}

/* A hostile size in bounded time: the check is one pass, and a duplicate replaces. */
static void a_megabyte_of_duplicates_is_one_field(void **state) {
    (void)state;
    struct text text = {0};
    text_add_char(&text, '{');
    for (int i = 0; i < 150000; i++)
        text_printf(&text, "\"a\":%d,", i);
    text_add_str(&text, "\"a\":-1}");
    struct json_object *value = parse(text_str(&text));
    int64_t last = 0;
    assert_int_equal(json_object_object_length(value), 1);
    assert_int_equal(json_get_int(value, "a", -1, -1, &last, NULL), OK);
    json_object_put(value);
    text_free(&text);
}

static void a_zero_character_is_kept_in_strings_and_refused_in_names(void **state) {
    (void)state;
    struct json_object *value = parse("\"a\\u0000b\"");
    assert_true(span_eq(json_span(value), span_make("a\0b", 3)));
    json_object_put(value);
    assert_int_equal(json_parse(span_of("{\"a\\u0000b\":1}"), &value, NULL), ERR_INPUT);
}

static void length_is_limited_before_anything_is_read(void **state) {
    (void)state;
    struct json_object *value;
    struct error err;
    assert_int_equal(json_parse(span_make("1", (size_t)JSON_BYTES_MAX + 1), &value, &err),
                     ERR_LIMIT);
    assert_non_null(strstr(err.text, "67108865"));
}

static void strings_are_written_so_that_they_read_back(void **state) {
    (void)state;
    struct text out = {0};
    char all[128];
    for (int i = 0; i < 128; i++)
        all[i] = (char)i;
    json_add_string(&out, span_make(all, sizeof all));
    for (size_t i = 0; i < out.len; i++)
        assert_true((unsigned char)out.data[i] >= 0x20);
    struct json_object *value = parse(text_str(&out));
    struct span back = json_span(value);
    assert_true(span_eq(back, span_make(all, sizeof all)));
    json_object_put(value);
    text_clear(&out);
    json_add_string(&out, span_of("\"a\\b\"\n\t\r\x01\xc3\xa9"));
    assert_string_equal(text_str(&out), "\"\\\"a\\\\b\\\"\\n\\t\\r\\u0001\xc3\xa9\"");
    text_clear(&out);
    json_add_string(&out, span_make("x\xff", 2));
    assert_string_equal(text_str(&out), "\"x\xef\xbf\xbd\"");
    text_free(&out);
}

static void doubles_are_written_shortest_and_exact(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},       {1, "1"},          {0.1, "0.1"},
                 {-2.5, "-2.5"}, {1e21, "1e+21"},   {1.0 / 3, "0.3333333333333333"},
                 {NAN, "null"},  {INFINITY, "null"}};
    struct text out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_clear(&out);
        json_add_double(&out, cases[i].value);
        assert_string_equal(text_str(&out), cases[i].text);
    }
    static const double values[] = {DBL_MAX, DBL_MIN, DBL_TRUE_MIN, 0.1 + 0.2, 123456789.123456789};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        text_clear(&out);
        json_add_double(&out, values[i]);
        assert_true(strtod(text_str(&out), NULL) == values[i]);
    }
    text_free(&out);
}

static void fields_are_read_by_type(void **state) {
    (void)state;
    struct json_object *o =
        parse("{\"b\":true,\"i\":-3,\"s\":\"a\\u0000b\",\"a\":[1,2],\"n\":null}");
    bool flag = false;
    int64_t number = 0;
    struct span string = {0};
    struct json_object *array = NULL;
    assert_int_equal(json_get_bool(o, "b", &flag, NULL), OK);
    assert_true(flag);
    assert_int_equal(json_get_int(o, "i", -5, 5, &number, NULL), OK);
    assert_int_equal(number, -3);
    assert_int_equal(json_get_string(o, "s", &string, NULL), OK);
    assert_true(span_eq(string, span_make("a\0b", 3)));
    assert_int_equal(json_get_array(o, "a", &array, NULL), OK);
    assert_int_equal(json_object_array_length(array), 2);
    json_object_put(o);
}

static void absent_and_null_fields_leave_the_default(void **state) {
    (void)state;
    struct json_object *o = parse("{\"n\":null}");
    bool flag = true;
    int64_t number = 42;
    struct span string = span_of("default");
    static const char *const keys[] = {"n", "absent"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(json_get_bool(o, keys[i], &flag, NULL), OK);
        assert_int_equal(json_get_int(o, keys[i], 0, 1, &number, NULL), OK);
        assert_int_equal(json_get_string(o, keys[i], &string, NULL), OK);
    }
    assert_true(flag);
    assert_int_equal(number, 42);
    assert_true(span_is(string, "default"));
    json_object_put(o);
}

static void wrong_types_and_ranges_are_named(void **state) {
    (void)state;
    struct json_object *o = parse("{\"x\":1.5,\"y\":7,\"z\":18446744073709551615,\"s\":\"1\"}");
    bool flag;
    int64_t number;
    struct span string;
    struct json_object *array;
    struct error err;
    assert_int_equal(json_get_int(o, "x", 0, 9, &number, &err), ERR_INPUT);
    assert_string_equal(err.text, "x: must be an integer, not number");
    assert_int_equal(json_get_int(o, "s", 0, 9, &number, &err), ERR_INPUT);
    assert_int_equal(json_get_int(o, "y", 0, 6, &number, &err), ERR_INPUT);
    assert_string_equal(err.text, "y: 7 is not in 0..6");
    assert_int_equal(json_get_int(o, "z", 0, 1000, &number, &err), ERR_INPUT);
    assert_int_equal(json_get_bool(o, "y", &flag, &err), ERR_INPUT);
    assert_string_equal(err.text, "y: must be a boolean, not integer");
    assert_int_equal(json_get_string(o, "y", &string, &err), ERR_INPUT);
    assert_int_equal(json_get_array(o, "y", &array, &err), ERR_INPUT);
    json_object_put(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_value_with_white_space_around_is_read),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(a_zero_byte_is_no_end),
        cmocka_unit_test(the_error_names_the_byte),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(a_megabyte_of_duplicates_is_one_field),
        cmocka_unit_test(a_zero_character_is_kept_in_strings_and_refused_in_names),
        cmocka_unit_test(length_is_limited_before_anything_is_read),
        cmocka_unit_test(strings_are_written_so_that_they_read_back),
        cmocka_unit_test(doubles_are_written_shortest_and_exact),
        cmocka_unit_test(fields_are_read_by_type),
        cmocka_unit_test(absent_and_null_fields_leave_the_default),
        cmocka_unit_test(wrong_types_and_ranges_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
