/* SPDX-License-Identifier: Apache-2.0 */
/* Reading is by plain stdio: a test must not rely on the code it tests. */
#include "support_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct text test_read_file(const char *path) {
    struct text text = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: cannot be opened", path);
    char *to;
    size_t n;
    while ((to = text_reserve(&text, 1 << 16)) && (n = fread(to, 1, 1 << 16, file)) > 0)
        text_grew(&text, n);
    assert_false(text.failed);
    fclose(file);
    return text;
}

struct json_object *test_read_json(const char *path) {
    struct text text = test_read_file(path);
    struct json_object *value = NULL;
    struct error err;
    if (json_parse(text_span(&text), &value, &err) != OK)
        fail_msg("%s: %s", path, err.text);
    text_free(&text);
    return value;
}

bool test_next_line(struct span *rest, struct span *line) {
    if (rest->len == 0)
        return false;
    size_t end = span_find(*rest, "\n");
    bool last = end == SIZE_MAX;
    *line = span_make(rest->data, last ? rest->len : end);
    *rest = span_from(*rest, last ? rest->len : end + 1);
    return true;
}

struct json_object *test_field(struct json_object *object, const char *key) {
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(object, key, &value))
        fail_msg("field '%s' is missing", key);
    return value;
}
