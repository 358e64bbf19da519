/* SPDX-License-Identifier: Apache-2.0 */
/* The door to libedit: one line from the keyboard, with editing and a history that is kept. */
#ifndef SHOAL_CLI_LINE_EDITOR_H
#define SHOAL_CLI_LINE_EDITOR_H

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"

#define HISTORY_LINES_MAX 1000

struct line_editor; /* opaque: owns libedit's state */

/* The history is read from and kept in $XDG_STATE_HOME/shoal/history, mode 0600, unless
 * --no-history; that it cannot be kept is a warning, not an error. */
enum status line_editor_open(struct line_editor **out, const struct cli *cli, struct error *err);
void line_editor_close(struct line_editor *editor); /* NULL is fine */

enum line_result { LINE_READ, LINE_INTERRUPTED /* Ctrl-C */, LINE_END /* Ctrl-D */ };

/* Appends the line without its end to `line`. */
enum line_result line_editor_read(struct line_editor *editor, const char *prompt,
                                  struct text *line);

#endif
