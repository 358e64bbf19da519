/* SPDX-License-Identifier: Apache-2.0 */
/* Who is lost: plain arithmetic over the times at which ranks were heard and went on.
 *
 * Times are those of a watch_clock, which stands still while the watcher itself does not run: a
 * loop that was held up for ten seconds has not heard anybody for ten seconds, and that says
 * nothing about them. One owner thread. */
#ifndef SHOAL_WORKER_LINK_WATCH_H
#define SHOAL_WORKER_LINK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/comm/group.h"

struct watch_clock {
    uint64_t now_ns;
    uint64_t real_ns; /* when it was last moved; 0: never */
    uint64_t step_max_ns;
};

/* At every tick of a timer: moves by the real time since the last one, at most step_max_ns. */
void watch_clock_tick(struct watch_clock *clock, uint64_t real_ns);

/* What a rank was doing. */
struct rank_report {
    enum group_phase phase;
    uint32_t layer;
    uint64_t step, counter;
};

struct rank_report rank_report_of(const struct group_progress *progress);

struct watched {
    bool present; /* to be watched at all */
    struct rank_report last;
    uint64_t heard_ns;
    uint64_t moved_ns; /* its counter was seen to grow, or the group to rest */
};

void watched_hear(struct watched *rank, const struct rank_report *report, uint64_t now_ns);

struct watch_limits {
    uint64_t silence_ns, stall_ns;
};

enum watch_verdict { WATCH_FINE, WATCH_SILENT, WATCH_STALLED };

/* ranks[0] is the leader. While it rests (PHASE_IDLE, PHASE_END) nobody can stall; otherwise the
 * group does when none of its ranks goes on: who waits for a rank that still loads is well. The
 * culprit is one that does not wait for others (PHASE_EXCHANGE), and of these the one that is
 * behind. */
enum watch_verdict watch_check(struct watched *ranks, uint32_t n_ranks,
                               const struct watch_limits *limits, uint64_t now_ns,
                               uint32_t *culprit);

#endif
