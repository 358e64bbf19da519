/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for the person at the terminal or the journal, on stderr, one line each.
 *
 * The log is a struct that main builds and hands down: there is no global one. Results never go
 * here; prompts, completions and secrets never do either. Lines are written whole, so threads may
 * share a log. */
#ifndef SHOAL_BASE_LOG_H
#define SHOAL_BASE_LOG_H

#include <stdbool.h>
#include <stdio.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct log {
    FILE *to; /* borrowed; NULL: silent */
    enum log_level level;
    bool color;
};

/* "shoal: warning: <text>\n"; `info` lines have no level word. NULL log: silent. */
void log_line(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(log, ...) log_line((log), LOG_ERROR, __VA_ARGS__)
#define log_warn(log, ...)  log_line((log), LOG_WARN, __VA_ARGS__)
#define log_info(log, ...)  log_line((log), LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_line((log), LOG_DEBUG, __VA_ARGS__)

#endif
