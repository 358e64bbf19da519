/* SPDX-License-Identifier: Apache-2.0 */
/* How far a long action is, on stderr:
 *
 *     Loading weights  ████████░░░░  63 %  44.1/69.9 GiB  3.2 GiB/s  eta 8 s
 *
 * A bar that is redrawn in place if stderr is a terminal that can, and one log line per 10 %
 * otherwise. One owner thread; update may be called as often as one likes. */
#ifndef SHOAL_CLI_PROGRESS_H
#define SHOAL_CLI_PROGRESS_H

#include "base/log.h"
#include "base/text.h"
#include "cli/terminal.h"

#include <stdbool.h>
#include <stdint.h>

enum progress_unit { PROGRESS_BYTES, PROGRESS_ITEMS };

struct progress {
    const struct terminal *terminal; /* borrowed */
    const struct log *log;           /* borrowed; its stream carries the bar too */
    const char *title;               /* borrowed: "Loading weights" */
    uint64_t total;
    enum progress_unit unit;
    bool draws; /* a bar, not lines */
    uint64_t begin_ns, drawn_ns;
    uint32_t tenths; /* log lines written */
};

/* A log below info level stays silent. */
struct cli;
void progress_begin(struct progress *progress, const struct cli *cli, const char *title,
                    uint64_t total, enum progress_unit unit);
void progress_update(struct progress *progress, uint64_t done); /* at most total */
void progress_end(struct progress *progress);                   /* clears the bar */

/* One bar as text, without control characters: for progress.c and its test. */
struct progress_look {
    uint64_t done;
    double seconds; /* since begin */
    uint32_t width; /* columns to stay within */
    bool blocks;    /* block characters, else # and - */
};
void progress_format(const struct progress *progress, const struct progress_look *look,
                     struct text *out);

#endif
