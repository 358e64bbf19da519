/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal COMMAND --workers N`: the same command in a worker group that we start.
 *
 *     shoal -> mpirun -n N shoal-worker --launched-by NAME --standalone COMMAND ...
 *
 * Rank 0 of the group runs the command with our descriptors (cli/handover.h); we pass signals on,
 * keep mpirun's own messages away as long as somebody of ours has explained the end, and leave with
 * rank 0's exit status when no process of the group is left. If we die first, the group ends. Where
 * rank 0 is on another machine, mpirun's own copying of the streams is what there is. */
#ifndef SHOAL_CLI_LAUNCH_H
#define SHOAL_CLI_LAUNCH_H

#include "cli/command.h"

/* Whether the options ask for a group that this process has to start. */
bool launch_is_wanted(const struct cli *cli);

/* Starts it and waits for its end; returns the exit status. CLI_DEVICE: it could not be started. */
int launch_run(struct cli *cli);

#endif
