/* SPDX-License-Identifier: Apache-2.0 */
/* Anonymous mappings. */
#include "worker/cache/mapping.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define SMALL_PAGE ((uintptr_t)4096)

enum status mapping_take(void **out, size_t bytes, const char *what, struct error *err) {
    *out = NULL;
    if (bytes == 0)
        return OK;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return error_set(err, ERR_NOMEM, "%s: %zu bytes cannot be had: %s", what, bytes,
                         strerror(errno));
    *out = memory;
    return OK;
}

enum status mapping_take_huge(void **out, size_t bytes, const char *what, struct error *err) {
    const size_t huge = 2u << 20;
    void *memory;
    *out = NULL;
    if (bytes == 0)
        return OK;
    TRY(mapping_take(&memory, bytes + huge, what, err));
    /* Only whole huge pages at their own multiples count, so the ends of a larger mapping go. */
    uintptr_t begin = (uintptr_t)memory, end = begin + bytes + huge;
    uintptr_t at = (begin + huge - 1) & ~(uintptr_t)(huge - 1);
    uintptr_t after = (at + bytes + SMALL_PAGE - 1) & ~(SMALL_PAGE - 1);
    if (at > begin)
        munmap(memory, at - begin);
    if (end > after)
        munmap((void *)after, end - after);
    *out = (void *)at;
    madvise(*out, bytes, MADV_HUGEPAGE);
    return OK;
}

void mapping_give_back(void *memory, size_t bytes) {
    if (memory)
        munmap(memory, bytes);
}
