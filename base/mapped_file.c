/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor is closed at once: the mapping keeps the file alive. */
#include "base/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum status mapped_file_open(struct mapped_file *file, const char *path, struct error *err) {
    *file = (struct mapped_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    enum status status = OK;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = error_set(err, ERR_IO, "%s: not a regular file", path);
        goto done;
    }
    if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            status = error_set(err, ERR_IO, "%s: cannot be mapped: %s", path, strerror(errno));
            goto done;
        }
        file->data = data;
        file->bytes = (size_t)info.st_size;
    }
done:
    close(fd);
    return status;
}

void mapped_file_close(struct mapped_file *file) {
    if (file->data)
        munmap((void *)(uintptr_t)file->data, file->bytes);
    *file = (struct mapped_file){0};
}
