/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the option module: what a text means for a row of the table, and how a value from some
 * origin takes the place of another. Commands use cli/options.h. */
#ifndef SHOAL_CLI_OPTION_VALUE_H
#define SHOAL_CLI_OPTION_VALUE_H

#include "base/span.h"
#include "cli/options.h"

/* Fills the union of *value from the text. ERR_INPUT: what was found and what is allowed. */
enum status option_value_parse(const struct option *row, const char *text,
                               struct option_value *value, struct error *err);

/* true, on, yes, 1 and their opposites. */
bool option_bool_parse(const char *text, bool *out);

struct option_source {
    enum option_origin origin;
    uint32_t level;    /* within the origin, 0..15; higher wins */
    const char *where; /* as in struct option_value; lives as long as the options */
};

/* Sets the value unless one of higher rank stands there; repeatable options collect the values of
 * one rank. `text` must live as long as the options. */
enum status options_assign(struct options *options, enum option_id id, const char *text,
                           const struct option_source *source, struct error *err);

/* The option called `name` (long, alias, or "no-" and a flag, then *negated) in `command`;
 * CMD_N: among the options that every command has. */
bool option_find_long(enum command_id command, struct span name, enum option_id *id, bool *negated);
bool option_find_short(enum command_id command, struct span name, enum option_id *id);

/* Whether `name` is one of the words of a list of shorts or aliases. */
bool option_word_in(const char *list, struct span name);

/* Command line without argv[0]: sets options->command and the operands. */
enum status options_read_line(struct options *options, const struct options_input *input,
                              struct error *err);

/* /etc/shoal/shoal.ini and the user's, or the one of --config. */
enum status options_read_config(struct options *options, const struct options_input *input,
                                struct error *err);

#endif
