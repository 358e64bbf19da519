/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `shoal`: what main hands to each, and what each hands back.
 *
 * A command is a function of struct cli that returns the exit status. Results go to cli->out,
 * everything else to the log, so that a pipe carries clean data. */
#ifndef SHOAL_CLI_COMMAND_H
#define SHOAL_CLI_COMMAND_H

#include "base/error.h"
#include "base/log.h"
#include "cli/options.h"
#include "cli/terminal.h"

#include <stdbool.h>
#include <stdio.h>

enum exit_code { /* the contract with scripts and units */
                 CLI_OK = 0,
                 CLI_FAILED = 1,        /* failed while running */
                 CLI_USAGE = 2,         /* wrong command line */
                 CLI_CONFIG = 3,        /* config file or environment invalid */
                 CLI_MODEL = 4,         /* model missing, damaged or unsupported */
                 CLI_NO_FIT = 5,        /* not enough memory */
                 CLI_DEVICE = 6,        /* a device failed to start */
                 CLI_WORKER_LOST = 8,   /* a worker of a group was lost while running */
                 CLI_INTERRUPTED = 130, /* SIGINT */
                 CLI_TERMINATED = 143,  /* SIGTERM */
};

struct worker_group; /* cli/worker_group.h */

struct cli {
    const struct command *command;
    struct options *options;
    struct log log; /* on stderr */
    struct terminal terminal;
    FILE *in, *out, *err;       /* stdin, stdout, stderr */
    char *const *args;          /* the command line behind the program's name, NULL-terminated */
    bool may_launch;            /* the command may be run by a worker group of ours instead */
    struct worker_group *group; /* this process is rank 0 of a worker group; NULL: alone */
};

struct command {
    const char *name;
    const char *operands;        /* "[MODEL] [PROMPT]"; "" if it takes none */
    const char *purpose;         /* one line, lower case, no full stop */
    const char *about;           /* a paragraph for the man page and --help; may be "" */
    const char *const *examples; /* pairs: command line, what it does; NULL-terminated */
    uint32_t n_operands_max;
    int (*run)(struct cli *cli);
    /* Adds the defaults of the model file to the options, for --print-config; NULL: it has none. */
    enum status (*offer_defaults)(struct cli *cli, struct error *err);
};

int command_run(struct cli *cli);
int command_inspect(struct cli *cli);
int command_plan(struct cli *cli);
int command_synth(struct cli *cli);
int command_tokenize(struct cli *cli);
int command_detokenize(struct cli *cli);
int command_render(struct cli *cli);
int command_parse(struct cli *cli);
int command_score(struct cli *cli);
int command_bench(struct cli *cli);
int command_completion(struct cli *cli);
int command_version(struct cli *cli);
int command_help(struct cli *cli);
enum status command_run_offer_defaults(struct cli *cli, struct error *err);

/* The table, by enum command_id. */
const struct command *command_row(enum command_id id);
bool command_find(const char *name, enum command_id *out);
/* ERR_INPUT: unknown command, with the nearest one that exists. */
enum status command_unknown(const char *name, struct error *err);

/* What was going on when an error came: the same code means different things to a script. */
enum cli_phase {
    DURING_USAGE, /* options and operands: always CLI_USAGE */
    DURING_LOAD,  /* opening model and engine: CLI_MODEL, CLI_NO_FIT, CLI_DEVICE */
    DURING_WORK,  /* afterwards: CLI_FAILED, CLI_INTERRUPTED if cancelled */
};
int cli_exit_code(enum cli_phase phase, enum status status);

/* Logs the error and returns its exit status: `return cli_fail(cli, DURING_LOAD, &err);` */
int cli_fail(const struct cli *cli, enum cli_phase phase, const struct error *err);

/* What was written to cli->out has arrived? Logs and gives CLI_FAILED if not (a full disk, a
 * closed pipe); the last line of a command: `return cli_finish(cli, CLI_OK);` */
int cli_finish(const struct cli *cli, int code);

#endif
