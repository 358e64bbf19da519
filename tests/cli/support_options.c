/* SPDX-License-Identifier: Apache-2.0 */
/* Words are split in place and freed at the end. */
#include "support_options.h"

#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int split(const char *text, char **words, int n) {
    while (text && *text) {
        size_t len = strcspn(text, " ");
        if (len && n < SUPPORT_WORDS_MAX)
            words[n++] = strndup(text, len);
        text += len + (text[len] == ' ');
    }
    words[n] = NULL;
    return n;
}

enum status support_read(struct support_options *s, const char *line, const char *environment) {
    *s = (struct support_options){0};
    s->argv[0] = strdup("shoal");
    int argc = split(line, s->argv, 1);
    split(environment, (char **)s->environment, 0);
    struct options_input input = {.argc = argc,
                                  .argv = s->argv,
                                  .environment = s->environment,
                                  .command_of = command_find,
                                  .command_unknown = command_unknown};
    return options_read(&s->options, &input, &s->phase, &s->err);
}

void support_free(struct support_options *s) {
    options_free(&s->options);
    for (char **word = s->argv; *word; word++)
        free(*word);
    for (const char **word = s->environment; *word; word++)
        free((char *)*word);
}

void support_write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (!file)
        abort();
    fputs(text, file);
    fclose(file);
}
