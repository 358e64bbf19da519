/* SPDX-License-Identifier: Apache-2.0 */
/* The chat in the terminal: lines in, answers out, commands that begin with a slash. */
#ifndef SHOAL_CLI_CHAT_H
#define SHOAL_CLI_CHAT_H

#include "cli/command.h"
#include "cli/conversation.h"

/* Runs until the person leaves; returns the exit status. */
int chat_run(struct cli *cli, struct conversation *conversation);

#endif
