/* SPDX-License-Identifier: Apache-2.0 */
/* Error texts are cut, never grown: a long file name must not cost an allocation. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status error_set(struct error *err, enum status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return status;
}

void error_wrap(struct error *err, const char *format, ...) {
    if (!err)
        return;
    char inner[ERROR_TEXT_MAX];
    memcpy(inner, err->text, sizeof inner);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    /* Cut by hand: the compiler cannot know that cutting is what we want of snprintf here. */
    size_t used = n < 0 ? 0 : (size_t)n, len = strnlen(inner, sizeof inner);
    if (used + 2 >= sizeof err->text)
        return;
    memcpy(err->text + used, ": ", 2);
    used += 2;
    if (len > sizeof err->text - 1 - used)
        len = sizeof err->text - 1 - used;
    memcpy(err->text + used, inner, len);
    err->text[used + len] = '\0';
}

const char *status_name(enum status status) {
    switch (status) {
    case OK:
        return "ok";
    case ERR_INPUT:
        return "input";
    case ERR_LIMIT:
        return "limit";
    case ERR_NOMEM:
        return "memory";
    case ERR_IO:
        return "io";
    case ERR_DEVICE:
        return "device";
    case ERR_COMM:
        return "comm";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}
