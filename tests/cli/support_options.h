/* SPDX-License-Identifier: Apache-2.0 */
/* A command line, an environment and a config file for tests, without touching the real ones. */
#ifndef SHOAL_TESTS_CLI_SUPPORT_OPTIONS_H
#define SHOAL_TESTS_CLI_SUPPORT_OPTIONS_H

#include "cli/options.h"

#define SUPPORT_WORDS_MAX 64

struct support_options {
    struct options options;
    enum options_phase phase;
    struct error err;
    char *argv[SUPPORT_WORDS_MAX + 1];
    const char *environment[SUPPORT_WORDS_MAX + 1];
};

/* `line` is split at blanks ("shoal" in front is added); `environment` likewise, may be NULL. The
 * system's config file is out of the way because HOME points nowhere unless given. */
enum status support_read(struct support_options *s, const char *line, const char *environment);
void support_free(struct support_options *s);

/* Creates or replaces a file. */
void support_write_file(const char *path, const char *text);

#endif
