/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs shoal and shoal-worker do alike: options, terminal and log, one command.
 *
 *     start_read -> start_terminal -> start_run -> start_free
 *
 * In parts, because a rank of a worker group reads its options before it knows who it is, and gets
 * its terminal afterwards. Nothing is said before start_run. Main thread. */
#ifndef SHOAL_CLI_START_H
#define SHOAL_CLI_START_H

#include "cli/command.h"

struct start {
    struct cli cli; /* points into this struct */
    struct options options;
    enum status status; /* of reading the options */
    enum options_phase phase;
    struct error err;
};

/* argv[0] is not looked at; argv and the environment live as long as the struct. */
void start_read(struct start *start, int argc, char *const *argv, char *const *environment);
/* The three streams are now what they will be. */
void start_terminal(struct start *start);
/* Tells what was wrong with the options, or does what they ask for; returns the exit status. */
int start_run(struct start *start);
void start_free(struct start *start);

#endif
