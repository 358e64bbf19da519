/* SPDX-License-Identifier: Apache-2.0 */
/* Completion scripts for shells, made from the tables of commands and options. */
#ifndef SHOAL_CLI_COMPLETION_H
#define SHOAL_CLI_COMPLETION_H

#include <stdio.h>

void completion_bash(FILE *to);
void completion_zsh(FILE *to);
void completion_fish(FILE *to);

#endif
