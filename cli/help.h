/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts and the version line, made from the tables of commands and options. */
#ifndef SHOAL_CLI_HELP_H
#define SHOAL_CLI_HELP_H

#include "base/text.h"
#include "cli/options.h"

#include <stdbool.h>
#include <stdio.h>

#define HELP_COLUMNS 100u /* no line is longer */

void help_overview(FILE *to);
void help_command(FILE *to, enum command_id command, bool with_rare);
void help_version(FILE *to); /* "shoal 0.1.0 (abcdef0, cpu)" */

/* Every value of the chosen command as "name = value  # origin". */
void help_config(FILE *to, const struct options *options);

/* Pieces that help, man page and completion share. */

/* "-ctk, -ctv, --kv-cache-dtype auto|f32|f16|bf16", "--[no-]history". */
void option_spelled(const struct option *row, struct text *out);
/* The row's sentence, with its default. */
void option_explained(const struct option *row, struct text *out);
/* "Options of run", "Sampling", ... */
const char *option_group_title(enum option_group group);
/* The groups in the order of help: what is special to the command comes first. */
enum option_group option_group_at(uint32_t i); /* i < GROUP_N */

/* Calls `visit` for each option of the command that belongs to the group and is not hidden, in
 * table order. */
typedef void option_visit(void *user, enum option_id id, const struct option *row);
void option_each(enum command_id command, enum option_group group, option_visit *visit, void *user);

#endif
