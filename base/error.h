/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong: a code for programs and one line of text for people.
 *
 * A fallible function returns `enum status` and takes `struct error *err` last. The place that
 * detects the problem writes the text (what, where, found, allowed); callers may put "where" in
 * front of it with error_wrap. The buffer belongs to the caller and setting it never allocates,
 * so an error can be reported when memory is gone. `err` may be NULL if the caller only wants
 * the code. Any thread; one struct belongs to one thread at a time. */
#ifndef SHOAL_BASE_ERROR_H
#define SHOAL_BASE_ERROR_H

#define ERROR_TEXT_MAX 512

enum status {
    OK = 0,
    ERR_INPUT,       /* a file, request or option is wrong; the text says where */
    ERR_LIMIT,       /* right, but more than a stated limit allows */
    ERR_NOMEM,       /* memory is gone */
    ERR_IO,          /* the operating system refused a file, pipe or socket */
    ERR_DEVICE,      /* a GPU or its driver failed */
    ERR_COMM,        /* a peer or the link to it failed */
    ERR_UNSUPPORTED, /* valid, but this program does not do it */
    ERR_CANCELLED,   /* somebody asked to stop */
};

struct error {
    enum status status;
    char text[ERROR_TEXT_MAX]; /* lower case, no full stop, always terminated */
};

/* Writes code and text; returns the code, so that `return error_set(...)` is one line. */
enum status error_set(struct error *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<formatted>: " in front of the present text; the code stays. */
void error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A short word for a code ("input", "limit", ...), for logs. */
const char *status_name(enum status status);

/* Leaves the function early with the same status; only where there is nothing to undo. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (call);                                                          \
        if (try_status_ != OK)                                                                     \
            return try_status_;                                                                    \
    } while (0)

#endif
