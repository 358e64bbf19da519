/* SPDX-License-Identifier: Apache-2.0 */
/* One rank that hangs makes all others wait, and heartbeats tell of both with some delay. So all
 * whose counter has been still for nearly as long are compared before one is named. */
#include "worker/link/watch.h"

#include <stdatomic.h>

void watch_clock_tick(struct watch_clock *clock, uint64_t real_ns) {
    uint64_t moved = clock->real_ns ? real_ns - clock->real_ns : 0;
    clock->now_ns += moved < clock->step_max_ns ? moved : clock->step_max_ns;
    clock->real_ns = real_ns;
}

struct rank_report rank_report_of(const struct group_progress *progress) {
    return (struct rank_report){
        .phase = (enum group_phase)atomic_load_explicit(&progress->phase, memory_order_relaxed),
        .layer = atomic_load_explicit(&progress->layer, memory_order_relaxed),
        .step = atomic_load_explicit(&progress->step, memory_order_relaxed),
        .counter = atomic_load_explicit(&progress->counter, memory_order_relaxed)};
}

void watched_hear(struct watched *rank, const struct rank_report *report, uint64_t now_ns) {
    if (!rank->present || report->counter != rank->last.counter)
        rank->moved_ns = now_ns;
    rank->present = true;
    rank->heard_ns = now_ns;
    rank->last = *report;
}

/* Whether a is the likelier reason of a stall than b. */
static bool holds_up(const struct rank_report *a, const struct rank_report *b) {
    bool a_waits = a->phase == PHASE_EXCHANGE, b_waits = b->phase == PHASE_EXCHANGE;
    if (a_waits != b_waits)
        return b_waits;
    if (a->step != b->step)
        return a->step < b->step;
    return a->layer < b->layer;
}

enum watch_verdict watch_check(struct watched *ranks, uint32_t n_ranks,
                               const struct watch_limits *limits, uint64_t now_ns,
                               uint32_t *culprit) {
    bool rests = ranks[0].last.phase == PHASE_IDLE || ranks[0].last.phase == PHASE_END;
    bool stalled = true;
    for (uint32_t r = 0; r < n_ranks; r++) {
        struct watched *rank = &ranks[r];
        if (!rank->present)
            continue;
        if (now_ns - rank->heard_ns > limits->silence_ns) {
            *culprit = r;
            return WATCH_SILENT;
        }
        if (rests)
            rank->moved_ns = now_ns;
        stalled = stalled && now_ns - rank->moved_ns > limits->stall_ns;
    }
    if (!stalled)
        return WATCH_FINE;
    const struct watched *behind = NULL;
    for (uint32_t r = 0; r < n_ranks; r++) {
        const struct watched *rank = &ranks[r];
        if (!rank->present || now_ns - rank->moved_ns < limits->stall_ns / 10 * 9)
            continue;
        if (!behind || holds_up(&rank->last, &behind->last)) {
            behind = rank;
            *culprit = r;
        }
    }
    return WATCH_STALLED;
}
