/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the tests, whole in memory. A file that cannot be read fails the test. */
#ifndef SHOAL_TESTS_SUPPORT_FILES_H
#define SHOAL_TESTS_SUPPORT_FILES_H

#include "base/json.h"
#include "base/span.h"
#include "base/text.h"

/* The bytes of a file; text_free follows. */
struct text test_read_file(const char *path);

/* The JSON value of a file; json_object_put follows. */
struct json_object *test_read_json(const char *path);

/* Cuts the next line (without its line feed) off the front of *rest; false at the end. */
bool test_next_line(struct span *rest, struct span *line);

/* obj[key], which must be there; NULL only if it is null. */
struct json_object *test_field(struct json_object *object, const char *key);

#endif
