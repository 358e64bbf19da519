/* SPDX-License-Identifier: Apache-2.0 */
/* How the ranks of a node come to hold one piece of memory without a name: the first listens on a
 * socket of the abstract namespace, which lives no longer than its processes, and passes the
 * descriptor over it (SCM_RIGHTS). Only processes of the same user are heard. The memory is handed
 * out when all have come and agree about the options; else all who came are told what is wrong. */
#ifndef SHOAL_WORKER_COMM_WINDOW_HANDOVER_H
#define SHOAL_WORKER_COMM_WINDOW_HANDOVER_H

#include "base/error.h"
#include "worker/comm/window.h"

/* The first rank gives `memory` to all others; it stays open here. ERR_COMM names who is missing or
 * differs. */
enum status window_hand_out(int memory, const struct window_options *options, uint64_t deadline_ns,
                            struct error *err);

/* Any other rank: *memory is a descriptor of its own. */
enum status window_take(int *memory, const struct window_options *options, uint64_t deadline_ns,
                        struct error *err);

#endif
