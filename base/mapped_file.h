/* SPDX-License-Identifier: Apache-2.0 */
/* A file seen as read-only memory. Opaque to nobody: pointer and length; the struct owns the
 * mapping. Any thread may read it.
 *
 * Reading needs no call. A reader of much, once and in order, may tell the system what it is going
 * to do (the three calls below): the disk then works ahead of it, and what it has read does not
 * count as memory of this process any more.
 *
 * A file that becomes shorter while it is mapped ends the program that reads behind its new end
 * (SIGBUS, as for every mapping); only mapped_file_fetch can tell it as an error. */
#ifndef SHOAL_BASE_MAPPED_FILE_H
#define SHOAL_BASE_MAPPED_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/span.h"

struct mapped_file {
    const unsigned char *data; /* page-aligned; NULL if the file is empty */
    size_t bytes;
};

/* ERR_IO: cannot be opened, is no regular file, or cannot be mapped. */
enum status mapped_file_open(struct mapped_file *file, const char *path, struct error *err);
void mapped_file_close(struct mapped_file *file); /* safe on a zeroed struct */

/* Whether this address lies in the mapping. */
static inline bool mapped_file_holds(const struct mapped_file *file, const void *at) {
    const unsigned char *byte = at;
    return file->data && byte >= file->data && (size_t)(byte - file->data) < file->bytes;
}

/* The range will be read soon: the disk may begin. Does not wait. Ranges lie in the mapping and
 * begin and end anywhere in it; for the system they are widened to pages. */
void mapped_file_expect(const struct mapped_file *file, const void *begin, size_t bytes);

/* Waits until the whole range is in memory, which is cheaper than one page fault after the other.
 * ERR_IO: it cannot be read, or the file has become shorter than it was. */
enum status mapped_file_fetch(const struct mapped_file *file, const void *begin, size_t bytes,
                              struct error *err);

/* The range was read and is not needed again soon: its pages leave this process and remain in the
 * system's page cache. Its bytes can still be read, and then come back. */
void mapped_file_drop(const struct mapped_file *file, const void *begin, size_t bytes);

#endif
