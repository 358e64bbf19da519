/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's terminal in the hands of rank 0.
 *
 *     shoal score --workers 4            listens, starts mpirun
 *      |  descriptors 0, 1, 2; signals   ------------->  rank 0 of shoal-worker
 *      |  <-------------  exit status
 *
 * mpirun would copy what rank 0 reads and writes through pipes of its own: no terminal, no
 * backpressure, its messages between ours. Instead rank 0 fetches the launcher's three descriptors
 * over a socket of the abstract namespace (no file is left behind; only processes of the same user
 * are let in) and is then what the person or the pipe talks to. The open connection is also how
 * each learns of the other's death. Calls are made by the main thread, except handover_signal. */
#ifndef SHOAL_CLI_HANDOVER_H
#define SHOAL_CLI_HANDOVER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>

/* ---- the launcher's side ---- */

struct handover {
    char name[64];   /* "shoal-launch-<pid>-<random>", an argument for shoal-worker */
    int listener;    /* readable: rank 0 is here; -1 once it was */
    int peer;        /* readable: a status, or rank 0 is gone; -1: not there */
    bool gives_term; /* the terminal of standard input was given, and must be taken back */
};

enum status handover_open(struct handover *h, struct error *err);
void handover_close(struct handover *h);

/* Takes the connection that waits and sends the descriptors. A stranger is dropped silently. */
void handover_give(struct handover *h);
/* Tells rank 0 of a signal. */
void handover_signal(const struct handover *h, int signo);
/* Reads what rank 0 says. False: it is gone, `peer` is closed. *code is set if a status came. */
bool handover_hear(struct handover *h, int *code);

/* ---- rank 0's side ---- */

struct receiver; /* opaque: the connection and the thread that listens to it */

/* Makes the launcher's descriptors 0 and 1 this process's, and its terminal ours to read from; for
 * its 2 there is *messages, open as long as the receiver: descriptor 2 stays mpirun's, to which
 * libraries (MPI above all) write what the person should see only if nothing else explains an end.
 * Signals that the launcher gets are raised here from now on; if it dies, SIGTERM is. ERR_IO:
 * nobody of that name listens here. */
enum status receiver_open(struct receiver **out, const char *name, FILE **messages,
                          struct error *err);
/* Says the exit status, for the case that close is not reached. Any thread; NULL is fine. */
void receiver_tell(struct receiver *receiver, int code);
/* Says the exit status as the last words. NULL is fine. */
void receiver_close(struct receiver *receiver, int code);

#endif
