/* SPDX-License-Identifier: Apache-2.0 */
/* The measurements behind `shoal bench`; each returns the exit status. */
#ifndef SHOAL_CLI_BENCH_H
#define SHOAL_CLI_BENCH_H

#include "cli/command.h"

int bench_model(struct cli *cli);
int bench_kernel(struct cli *cli);
int bench_comm(struct cli *cli);
int bench_scale(struct cli *cli);

/* Whether this measurement starts its groups itself: --workers is then not about this process. */
bool bench_starts_groups(const struct options *options);

/* Where a number was measured: names that go into every record. */
struct bench_machine {
    char host[128], cpu[128];
};
void bench_machine_read(struct bench_machine *machine);

#endif
