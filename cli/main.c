/* SPDX-License-Identifier: Apache-2.0 */
/* The command `shoal`: read the options, look at the terminal, hand over to one subcommand. */
#include "cli/command.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/terminal.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>

static enum log_level log_level_of(const struct options *options) {
    if (!options_is_set(options, OPT_LOG_LEVEL)) {
        if (options_flag(options, OPT_QUIET))
            return LOG_ERROR;
        if (options_flag(options, OPT_VERBOSE))
            return LOG_DEBUG;
    }
    return (enum log_level)options_choice(options, OPT_LOG_LEVEL); /* same order */
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
    return cli->command->run(cli);
}

int main(int argc, char **argv, char **envp) {
    setlocale(LC_CTYPE, "");  /* numbers stay in the C locale: results are for programs */
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write that meets it */
    struct options options;
    struct options_input input = {.argc = argc,
                                  .argv = argv,
                                  .environment = (const char *const *)envp,
                                  .command_of = command_find,
                                  .command_unknown = command_unknown};
    enum options_phase phase;
    struct error err;
    enum status status = options_read(&options, &input, &phase, &err);
    struct cli cli = {.command = command_row(options.command),
                      .options = &options,
                      .in = stdin,
                      .out = stdout,
                      .err = stderr};
    terminal_init(&cli.terminal, &options);
    cli.log = (struct log){.to = stderr,
                           .level = status == OK ? log_level_of(&options) : LOG_INFO,
                           .color = cli.terminal.color_err};
    int code;
    if (status == OK)
        code = cli_finish(&cli, run_command(&cli));
    else if (phase == PHASE_LINE)
        code = cli_fail(&cli, DURING_USAGE, &err);
    else {
        log_error(&cli.log, "%s", err.text);
        code = CLI_CONFIG;
    }
    options_free(&options);
    return code;
}
