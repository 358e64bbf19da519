/* SPDX-License-Identifier: Apache-2.0 */
/* This program once more, as a child with other arguments, its standard output in our hands: how a
 * measurement starts groups of workers one after the other. Nothing comes to its standard input,
 * its messages go to our standard error. SIGINT, SIGTERM and SIGHUP that we get meanwhile are
 * passed on, and the child ends if we do. Main thread only. */
#ifndef SHOAL_CLI_RERUN_H
#define SHOAL_CLI_RERUN_H

#include "base/error.h"
#include "base/text.h"

struct rerun {
    const char *const *argv;        /* NULL-terminated, the name included */
    const char *const *environment; /* NULL-terminated */
};

/* Waits for its end; `out` receives what it wrote, *code its exit status, 128 + N after a signal N
 * (also if it was passed on and the child ended well in spite of it). ERR_IO: it did not start. */
enum status rerun(const struct rerun *what, struct text *out, int *code, struct error *err);

#endif
