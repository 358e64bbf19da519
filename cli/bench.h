/* SPDX-License-Identifier: Apache-2.0 */
/* The measurements behind `shoal bench`; each returns the exit status. */
#ifndef SHOAL_CLI_BENCH_H
#define SHOAL_CLI_BENCH_H

#include "cli/command.h"

int bench_model(struct cli *cli);

#endif
