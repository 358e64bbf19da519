/* SPDX-License-Identifier: Apache-2.0 */
/* What the three standard streams are, and what may be written to them: colour, width, blocks.
 * Filled once by main; any thread may read. */
#ifndef SHOAL_CLI_TERMINAL_H
#define SHOAL_CLI_TERMINAL_H

#include "base/span.h"
#include "cli/options.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct terminal {
    int err_fd; /* where messages go: 2, unless a launcher gave another */
    bool in_is_tty, out_is_tty, err_is_tty;
    bool is_dumb;   /* TERM is "dumb" or unset: no cursor movement, no colour */
    bool is_utf8;   /* the locale's encoding */
    bool color_out; /* escape codes for colour may go to stdout */
    bool color_err;
    uint32_t columns; /* COLUMNS, 0 if unset */
};

/* The caller has set the locale. */
void terminal_init(struct terminal *terminal, const struct options *options, int err_fd);

/* Columns of the terminal behind stderr now (people resize windows): asked from the system,
 * else COLUMNS, else 80. */
uint32_t terminal_width(const struct terminal *terminal);

/* Writes text of a model or a file without its control characters (line ends and tabs stay): on a
 * terminal they could move the cursor or worse. */
void terminal_write(FILE *to, struct span text);

/* Columns that UTF-8 text takes; each code point counts by wcwidth, unknown ones as 1. */
uint32_t terminal_text_width(const char *text);

#endif
