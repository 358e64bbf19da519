/* SPDX-License-Identifier: Apache-2.0 */
/* Man pages (man(7) macros), made from the same tables as help: shoal.1 and shoal-<command>.1. */
#ifndef SHOAL_CLI_MANPAGE_H
#define SHOAL_CLI_MANPAGE_H

#include "base/error.h"
#include "cli/options.h"

#include <stdio.h>

void manpage_overview(FILE *to);
void manpage_command(FILE *to, enum command_id command);

/* All of them as files of a folder that exists. ERR_IO. */
enum status manpage_write_all(const char *dir, struct error *err);

#endif
