/* SPDX-License-Identifier: Apache-2.0 */
/* A file seen as read-only memory. Opaque to nobody: pointer and length; the struct owns the
 * mapping. Any thread may read it. */
#ifndef SHOAL_BASE_MAPPED_FILE_H
#define SHOAL_BASE_MAPPED_FILE_H

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

#endif
