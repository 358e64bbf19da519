/* SPDX-License-Identifier: Apache-2.0 */
/* Read from /proc and /sys; a container's limit counts where there is one. */
#include "worker/memory_probe.h"

#include <inttypes.h>
#include <stdio.h>

static uint64_t read_limit(const char *path) {
    uint64_t value = UINT64_MAX;
    FILE *file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%" SCNu64, &value) != 1)
            value = UINT64_MAX; /* "max" */
        fclose(file);
    }
    return value;
}

uint64_t memory_available_bytes(void) {
    uint64_t available = UINT64_MAX, kib;
    char line[256];
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            available = kib * 1024;
    }
    if (file)
        fclose(file);
    uint64_t limit = read_limit("/sys/fs/cgroup/memory.max");
    return limit < available ? limit : available;
}
