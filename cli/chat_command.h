/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the chat: /help, /set, /save and so on. */
#ifndef SHOAL_CLI_CHAT_COMMAND_H
#define SHOAL_CLI_CHAT_COMMAND_H

#include "cli/command.h"
#include "cli/conversation.h"

/* Does what `line` ("/name argument") says; true: the chat ends. Mistakes are told to the log. */
bool chat_command(struct cli *cli, struct conversation *conversation, const char *line);

/* general.name of the file, or its path. */
struct span chat_model_name(const struct model *model);

#endif
