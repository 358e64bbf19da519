/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on purpose, so that tests can end a rank at a named place.
 *
 *     PHASE[/LAYER]:RANK:ACTION      "exchange/3:2:kill", "load:0:error"
 *
 * PHASE is a group_phase_name, LAYER any if it is missing, ACTION one of
 *     kill    the process dies as if by kill -9
 *     stop    the process is stopped as if by kill -STOP
 *     error   fault_here returns an error
 *     hang    the calling thread sleeps for ever, the process lives
 * A rank has at most one; fault_here is called where the phases begin and once per layer, and costs
 * a comparison of pointers when there is none. Read-only after parsing; any thread. */
#ifndef SHOAL_WORKER_FAULT_H
#define SHOAL_WORKER_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "worker/comm/group.h"

enum fault_action { FAULT_KILL, FAULT_STOP, FAULT_ERROR, FAULT_HANG };

struct fault {
    enum group_phase phase;
    bool any_layer;
    uint32_t layer;
    uint32_t rank_idx;
    enum fault_action action;
};

/* ERR_INPUT: says what was found and what is allowed. */
enum status fault_parse(struct fault *fault, const char *text, struct error *err);

/* Does what the fault says if it is meant here; NULL: there is none. ERR_DEVICE: the action is
 * `error`. */
enum status fault_here(const struct fault *fault, enum group_phase phase, uint32_t layer,
                       uint32_t rank_idx, struct error *err);

#endif
