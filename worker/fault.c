/* SPDX-License-Identifier: Apache-2.0 */
/* Signals are sent to the process itself, so that its end looks to the group like that of a rank
 * which somebody else has killed. */
#include "worker/fault.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/span.h"

static const char *const actions[] = {
    [FAULT_KILL] = "kill", [FAULT_STOP] = "stop", [FAULT_ERROR] = "error", [FAULT_HANG] = "hang"};

/* Cuts off the front up to `end`, or everything if it is not there. */
static struct span cut(struct span *rest, const char *end) {
    size_t n = span_find(*rest, end);
    bool found = n != (size_t)-1;
    struct span front = span_make(rest->data, found ? n : rest->len);
    *rest = span_from(*rest, found ? n + 1 : rest->len);
    return front;
}

static bool parse_number(struct span text, uint32_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i == 9)
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = (uint32_t)value;
    return text.len > 0;
}

static bool parse_phase(struct span word, enum group_phase *out) {
    for (int phase = PHASE_START; phase <= PHASE_END; phase++) {
        if (span_is(word, group_phase_name((enum group_phase)phase))) {
            *out = (enum group_phase)phase;
            return true;
        }
    }
    return false;
}

static bool parse_action(struct span word, enum fault_action *out) {
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (span_is(word, actions[i])) {
            *out = (enum fault_action)i;
            return true;
        }
    }
    return false;
}

enum status fault_parse(struct fault *fault, const char *text, struct error *err) {
    struct span rest = span_of(text);
    struct span place = cut(&rest, ":"), rank = cut(&rest, ":");
    bool any_layer = span_find(place, "/") == (size_t)-1;
    struct span phase = cut(&place, "/");
    *fault = (struct fault){.any_layer = any_layer};
    if (!parse_phase(phase, &fault->phase) || (!any_layer && !parse_number(place, &fault->layer)) ||
        !parse_number(rank, &fault->rank_idx) || !parse_action(rest, &fault->action))
        return error_set(err, ERR_INPUT,
                         "fault '%s': allowed is PHASE[/LAYER]:RANK:ACTION, with the phases start, "
                         "self-test, load, idle, step, exchange, end and the actions kill, stop, "
                         "error, hang",
                         text);
    return OK;
}

enum status fault_here(const struct fault *fault, enum group_phase phase, uint32_t layer,
                       uint32_t rank_idx, struct error *err) {
    if (!fault || fault->phase != phase || fault->rank_idx != rank_idx ||
        (!fault->any_layer && fault->layer != layer))
        return OK;
    switch (fault->action) {
    case FAULT_KILL:
        raise(SIGKILL);
        break;
    case FAULT_STOP:
        kill(getpid(), SIGSTOP);
        break;
    case FAULT_HANG:
        for (;;)
            pause();
    case FAULT_ERROR:
        return error_set(err, ERR_DEVICE, "an error on purpose at rank %u, phase %s, layer %u",
                         rank_idx, group_phase_name(phase), layer);
    }
    return OK;
}
