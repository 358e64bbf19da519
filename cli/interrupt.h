/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C as something to ask for between two steps, instead of something that happens anywhere.
 *
 * SIGINT is blocked and read from a descriptor (signalfd(2)), so there is no handler and no state
 * outside this struct. Open it before threads start: they inherit the mask. Main thread only. */
#ifndef SHOAL_CLI_INTERRUPT_H
#define SHOAL_CLI_INTERRUPT_H

#include "base/error.h"

#include <stdbool.h>

struct interrupt {
    int fd;
};

/* ERR_IO. */
enum status interrupt_open(struct interrupt *interrupt, struct error *err);
void interrupt_close(struct interrupt *interrupt); /* SIGINT is what it was before */

/* Whether SIGINT came since the last question. */
bool interrupt_came(const struct interrupt *interrupt);

#endif
