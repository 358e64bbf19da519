/* SPDX-License-Identifier: Apache-2.0 */
/* One formatted buffer and one fwrite per line, so that lines of two threads never mix. */
#include "base/log.h"

#include <stdarg.h>

#define LOG_LINE_MAX 1024

void log_line(const struct log *log, enum log_level level, const char *format, ...) {
    if (!log || !log->to || level > log->level)
        return;
    static const struct {
        const char *word, *color;
    } levels[] = {
        [LOG_ERROR] = {"error: ", "\033[31m"},
        [LOG_WARN] = {"warning: ", "\033[33m"},
        [LOG_INFO] = {"", ""},
        [LOG_DEBUG] = {"debug: ", "\033[2m"},
        [LOG_TRACE] = {"trace: ", "\033[2m"},
    };
    char body[LOG_LINE_MAX], line[LOG_LINE_MAX + 64];
    va_list args;
    va_start(args, format);
    vsnprintf(body, sizeof body, format, args);
    va_end(args);
    /* Names from files and options stand in messages; on a terminal they must not move the cursor.
     */
    for (char *c = body; *c; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            *c = '?';
    }
    bool color = log->color && levels[level].color[0];
    int n = snprintf(line, sizeof line, "shoal: %s%s%s%s\n", color ? levels[level].color : "",
                     levels[level].word, body, color ? "\033[0m" : "");
    fwrite(line, 1, (size_t)n, log->to);
    fflush(log->to);
}
