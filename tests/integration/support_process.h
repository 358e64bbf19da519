/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program as a user would: arguments, standard input, what came out, how it ended. */
#ifndef SHOAL_TESTS_INTEGRATION_SUPPORT_PROCESS_H
#define SHOAL_TESTS_INTEGRATION_SUPPORT_PROCESS_H

#include <stdint.h>

#include "base/text.h"

struct process_result {
    int exit_code;          /* 128 + signal if it was killed */
    uint64_t max_rss_bytes; /* the largest resident set it had (VmHWM) */
    struct text out, err;
};

/* `argv` ends with NULL; `input` may be NULL (empty). A program that has not ended after
 * `deadline_s` is killed and fails the running test. The result is always freed. */
void process_run(const char *const *argv, const char *input, unsigned deadline_s,
                 struct process_result *result);
void process_result_free(struct process_result *result);

/* The program under test, as built. */
const char *shoal_program(void);

/* A fresh directory for the running test's files; removed with everything in it by the second. */
void test_directory(char path[64]);
void test_directory_remove(const char *path);

#endif
