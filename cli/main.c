/* SPDX-License-Identifier: Apache-2.0 */
/* The command `shoal`: read the options, look at the terminal, hand over to one subcommand. */
#include "cli/start.h"

#include <locale.h>
#include <signal.h>

int main(int argc, char **argv, char **envp) {
    setlocale(LC_CTYPE, "");  /* numbers stay in the C locale: results are for programs */
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write that meets it */
    struct start start;
    start_read(&start, argc, argv, envp);
    start.cli.may_launch = true;
    start_terminal(&start);
    int code = start_run(&start);
    start_free(&start);
    return code;
}
