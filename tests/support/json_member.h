/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects that must be there: the running test fails where one is not. */
#ifndef SHOAL_TESTS_SUPPORT_JSON_MEMBER_H
#define SHOAL_TESTS_SUPPORT_JSON_MEMBER_H

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static inline struct json_object *json_member(struct json_object *object, const char *key) {
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(object, key, &value))
        fail_msg("no member '%s'", key);
    return value;
}

static inline double json_number(struct json_object *object, const char *key) {
    return json_object_get_double(json_member(object, key));
}

#endif
