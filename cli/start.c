/* SPDX-License-Identifier: Apache-2.0 */
/* Between the options and the command stand the questions that every command answers alike. */
#include "cli/start.h"

#include "cli/help.h"
#include "cli/launch.h"

static enum log_level log_level_of(const struct options *options) {
    if (!options_is_set(options, OPT_LOG_LEVEL)) {
        if (options_flag(options, OPT_QUIET))
            return LOG_ERROR;
        if (options_flag(options, OPT_VERBOSE))
            return LOG_DEBUG;
    }
    return (enum log_level)options_choice(options, OPT_LOG_LEVEL); /* same order */
}

void start_read(struct start *start, int argc, char *const *argv, char *const *environment) {
    struct options_input input = {.argc = argc,
                                  .argv = argv,
                                  .environment = (const char *const *)environment,
                                  .command_of = command_find,
                                  .command_unknown = command_unknown};
    start->status = options_read(&start->options, &input, &start->phase, &start->err);
    start->cli = (struct cli){.command = command_row(start->options.command),
                              .options = &start->options,
                              .in = stdin,
                              .out = stdout,
                              .err = stderr,
                              .args = argc > 0 ? argv + 1 : argv};
}

void start_terminal(struct start *start) {
    struct cli *cli = &start->cli;
    terminal_init(&cli->terminal, &start->options, fileno(cli->err));
    cli->log = (struct log){.to = cli->err,
                            .level = start->status == OK ? log_level_of(&start->options) : LOG_INFO,
                            .color = cli->terminal.color_err};
}

static int print_config(struct cli *cli) {
    struct error err;
    if (cli->command->offer_defaults && cli->command->offer_defaults(cli, &err) != OK)
        return cli_fail(cli, DURING_LOAD, &err);
    help_config(cli->out, cli->options);
    return CLI_OK;
}

static int run_command(struct cli *cli) {
    struct options *options = cli->options;
    if (options_flag(options, OPT_VERSION)) {
        help_version(cli->out);
        return CLI_OK;
    }
    bool with_rare = options_flag(options, OPT_HELP_ALL);
    if (options_flag(options, OPT_HELP) || with_rare) {
        if (options->command == CMD_HELP)
            help_overview(cli->out);
        else
            help_command(cli->out, options->command, with_rare);
        return CLI_OK;
    }
    if (options_flag(options, OPT_PRINT_CONFIG))
        return print_config(cli);
    if (options->n_operands > cli->command->n_operands_max) {
        struct error err;
        error_set(&err, ERR_INPUT, "unexpected operand '%.60s'",
                  options->operands[cli->command->n_operands_max]);
        return cli_fail(cli, DURING_USAGE, &err);
    }
    return launch_is_wanted(cli) ? launch_run(cli) : cli->command->run(cli);
}

int start_run(struct start *start) {
    struct cli *cli = &start->cli;
    if (start->status == OK)
        return cli_finish(cli, run_command(cli));
    if (start->phase == PHASE_LINE)
        return cli_fail(cli, DURING_USAGE, &start->err);
    log_error(&cli->log, "%s", start->err.text);
    return CLI_CONFIG;
}

void start_free(struct start *start) {
    options_free(&start->options);
}
