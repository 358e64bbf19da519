/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal score` as scripts use it: one line in, one line out, in order, whatever --parallel says.
 */
#include "tests/integration/support_process.h"

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char lines[] = "{\"id\":1,\"text\":\"Once there was a little\"}\n"
                            "\n"
                            "{\"id\":\"b\",\"ids\":[901,431,366,258,805]}\n"
                            "{\"id\":3,\"ids\":[901,-1]}\n"
                            "not json\n"
                            "{\"id\":5,\"text\":\"\"}\n"
                            "{\"id\":6,\"ids\":[291]}\n";

static struct json_object *field(struct json_object *object, const char *key) {
    struct json_object *value = NULL;
    assert_true(json_object_object_get_ex(object, key, &value));
    return value;
}

/* Line i of the output, parsed; the caller puts it back. */
static struct json_object *output_line(const struct process_result *result, int i) {
    const char *at = text_str(&result->out);
    while (i-- > 0) {
        at = strchr(at, '\n');
        assert_non_null(at);
        at++;
    }
    struct json_object *object = NULL;
    struct error err;
    if (json_parse(span_make(at, strcspn(at, "\n")), &object, &err) != OK)
        fail_msg("%s", err.text);
    return object;
}

static void check_refusal(const struct process_result *result, int i, int line, const char *name) {
    struct json_object *answer = output_line(result, i);
    struct json_object *error = field(answer, "error");
    assert_int_equal(json_object_get_int(field(error, "line")), line);
    if (name)
        assert_string_equal(json_object_get_string(field(error, "field")), name);
    assert_true(json_object_get_string_len(field(error, "message")) > 0);
    json_object_put(answer);
}

static void answers_come_in_order_and_bad_lines_are_named(void **state) {
    (void)state;
    struct process_result plain, together;
    const char *one[] = {shoal_program(), "score", "-n", "4", "--top", "3", NULL};
    const char *many[] = {shoal_program(), "score", "-n", "4", "--top", "3", "-np", "8", NULL};
    process_run(one, lines, 60, &plain);
    process_run(many, lines, 60, &together);
    assert_int_equal(plain.exit_code, 1); /* some lines were bad */
    assert_string_equal(text_str(&plain.out), text_str(&together.out));

    struct json_object *first = output_line(&plain, 0), *second = output_line(&plain, 1);
    assert_int_equal(json_object_get_int(field(first, "id")), 1);
    assert_string_equal(json_object_get_string(field(second, "id")), "b");
    assert_string_equal(json_object_get_string(field(first, "logits_hash")),
                        json_object_get_string(field(second, "logits_hash")));
    assert_int_equal(json_object_array_length(field(first, "ids")), 5);
    assert_int_equal(json_object_array_length(field(first, "top")), 3);
    assert_int_equal(json_object_array_length(field(first, "greedy")), 4);
    json_object_put(first);
    json_object_put(second);
    check_refusal(&plain, 2, 4, "ids[1]");
    check_refusal(&plain, 3, 5, NULL);
    check_refusal(&plain, 4, 6, "text");
    struct json_object *last = output_line(&plain, 5);
    assert_int_equal(json_object_get_int(field(last, "id")), 6);
    json_object_put(last);
    process_result_free(&plain);
    process_result_free(&together);
}

static void dumps_name_every_stage(void **state) {
    (void)state;
    char directory[64], prefix[80], path[96];
    struct process_result result;
    test_directory(directory);
    snprintf(prefix, sizeof prefix, "%s/dump", directory);
    const char *argv[] = {shoal_program(), "score", "--dump", prefix, "-ub", "3", NULL};
    process_run(argv, "{\"ids\":[901,431,366,258,805]}\n", 60, &result);
    if (result.exit_code != 0)
        fail_msg("%s%s", text_str(&result.out), text_str(&result.err));
    snprintf(path, sizeof path, "%s.json", prefix);
    struct json_object *dump = json_object_from_file(path);
    assert_non_null(dump);
    static const struct {
        const char *name;
        int columns;
    } expected[] = {{"embedding", 256},      {"layer 0 output", 256}, {"layer 1 output", 256},
                    {"layer 2 output", 256}, {"layer 3 output", 256}, {"final norm", 256},
                    {"logits", 2048},        {"mtp logits", 2048}};
    struct json_object *tensors = field(dump, "tensors");
    assert_int_equal(json_object_array_length(tensors), 8);
    int64_t offset = 0;
    for (size_t i = 0; i < 8; i++) {
        struct json_object *tensor = json_object_array_get_idx(tensors, i);
        assert_string_equal(json_object_get_string(field(tensor, "name")), expected[i].name);
        struct json_object *shape = field(tensor, "shape");
        assert_int_equal(json_object_get_int(json_object_array_get_idx(shape, 0)), 5);
        assert_int_equal(json_object_get_int(json_object_array_get_idx(shape, 1)),
                         expected[i].columns);
        assert_int_equal(json_object_get_int64(field(tensor, "offset")), offset);
        offset += 5 * expected[i].columns * 4;
    }
    snprintf(path, sizeof path, "%s.f32", prefix);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    assert_int_equal(ftell(file), offset);
    fclose(file);
    json_object_put(dump);
    process_result_free(&result);
    test_directory_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_in_order_and_bad_lines_are_named),
        cmocka_unit_test(dumps_name_every_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
