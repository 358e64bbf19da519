/* SPDX-License-Identifier: Apache-2.0 */
/* Commands run inside the test, with what they wrote. */
#ifndef SHOAL_TESTS_CLI_SUPPORT_RUN_H
#define SHOAL_TESTS_CLI_SUPPORT_RUN_H

#include <stddef.h>

#include <json-c/json.h>

/* One run of a command: exit status, standard output, standard error. */
struct run {
    int code;
    char *out, *err;
    size_t out_len, err_len;
};

/* `line` as support_read takes it; the options must be right. Followed by run_free. */
struct run run_line(const char *line);
void run_free(struct run *run);

/* The status is `code` and every one of the texts (NULL-terminated) is in the output, or in what
 * was said of errors. */
void expect_text(const char *line, int code, const char *const *texts);

/* The output of a run that ends with `code`, as JSON; the caller puts it. */
struct json_object *run_json(const char *line, int code);

#endif
