/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as JSON. What is accepted must be read by json-c, and what json-c writes
 * of it must be accepted again. */
#include "base/json.h"
#include "tests/fuzz/support_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct json_object *value, *again;
    struct error err = {0};
    if (json_parse(span_make((const char *)data, size), &value, &err) != OK) {
        fuzz_check(value == NULL && err.text[0] != '\0');
        return 0;
    }
    const char *written = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
    fuzz_check(json_parse(span_of(written), &again, &err) == OK);
    fuzz_check(json_object_equal(value, again) || json_object_is_type(value, json_type_double));
    json_object_put(again);
    json_object_put(value);
    return 0;
}
