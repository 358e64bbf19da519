/* SPDX-License-Identifier: Apache-2.0 */
/* A config file: INI, UTF-8, "key = value" under "[section]" or "[section \"NAME\"]".
 *
 * Read by our own few lines: libinih cuts names at 50 and lines at 200 bytes without a word, which
 * a system prompt exceeds. Comments are whole lines that begin with # or ;. ${NAME} in a value is
 * the environment's; an unset one is an error. One owner thread. */
#ifndef SHOAL_CLI_CONFIG_FILE_H
#define SHOAL_CLI_CONFIG_FILE_H

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"

#include <stdint.h>

#define CONFIG_FILE_BYTES_MAX (1u << 20)

struct config_entry {
    const char *section; /* "run"; "" before the first section */
    const char *name;    /* of [model "NAME"]; NULL: none */
    const char *key;
    const char *value; /* trimmed, ${} resolved */
    const char *path;
    uint32_t line;
    struct config_entry *next; /* in file order */
};

/* Where ${NAME} comes from; NULL: unset. */
typedef const char *config_lookup(void *user, const char *name);

/* Everything is in the arena. ERR_IO: cannot be read; ERR_INPUT: "<path>:<line>: ...". */
struct config_source {
    const char *path;
    config_lookup *lookup;
    void *user;
};
enum status config_file_read(const struct config_source *source, struct arena *arena,
                             struct config_entry **out, struct error *err);

/* The same on bytes in memory. */
enum status config_parse(const struct config_source *source, struct span bytes, struct arena *arena,
                         struct config_entry **out, struct error *err);

#endif
