/* SPDX-License-Identifier: Apache-2.0 */
/* The command line that starts a worker group, from our options. */
#ifndef SHOAL_CLI_LAUNCH_LINE_H
#define SHOAL_CLI_LAUNCH_LINE_H

#include "base/arena.h"
#include "cli/command.h"

struct launch_line {
    char **argv;        /* NULL-terminated, in the arena */
    char **environment; /* likewise; what mpirun gets */
    bool is_here;       /* rank 0 will be on this machine */
};

/* `launched_by`: name of the handover, NULL: none is offered. ERR_INPUT: a hostfile that cannot be
 * read or names nobody; ERR_UNSUPPORTED: there is no shoal-worker beside this program. */
enum status launch_line_make(struct launch_line *line, const struct cli *cli,
                             const char *launched_by, struct arena *arena, struct error *err);

#endif
