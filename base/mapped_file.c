/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor is closed at once: the mapping keeps the file alive. */
#include "base/mapped_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A page fault maps the pages around it as well, up to this window, as far as they are in memory
 * (the system's default, fault_around_bytes). */
#define FAULT_WINDOW 65536u

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

/* What madvise(2) says of a range whose begin is moved down to a multiple of `widen`; 0 or errno.
 */
static int advise(const struct mapped_file *file, const void *begin, size_t bytes, size_t widen,
                  int advice) {
    uintptr_t data = (uintptr_t)file->data, end = (uintptr_t)begin + bytes;
    uintptr_t at = (uintptr_t)begin & ~(uintptr_t)(widen - 1);
    assert((uintptr_t)begin >= data && end <= data + file->bytes);
    if (bytes == 0)
        return 0;
    if (at < data)
        at = data;
    return madvise((void *)at, end - at, advice) == 0 ? 0 : errno;
}

static size_t page_bytes(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

void mapped_file_expect(const struct mapped_file *file, const void *begin, size_t bytes) {
    advise(file, begin, bytes, page_bytes(), MADV_WILLNEED);
}

enum status mapped_file_fetch(const struct mapped_file *file, const void *begin, size_t bytes,
                              struct error *err) {
    int failed = 0;
#ifdef MADV_POPULATE_READ
    failed = advise(file, begin, bytes, page_bytes(), MADV_POPULATE_READ);
#endif
    /* Other failures mean a system that does not know the advice (before Linux 5.14); there the
     * first access does the work. */
    if (failed != EFAULT && failed != EHWPOISON)
        return OK;
    return error_set(err, ERR_IO,
                     "%zu bytes from byte %td on cannot be read, or the file has become shorter",
                     bytes, (const unsigned char *)begin - file->data);
}

void mapped_file_drop(const struct mapped_file *file, const void *begin, size_t bytes) {
    /* The window's worth in front came back when the first pages of the range were touched. */
    size_t widen = page_bytes() > FAULT_WINDOW ? page_bytes() : FAULT_WINDOW;
    advise(file, begin, bytes, widen, MADV_DONTNEED);
}
