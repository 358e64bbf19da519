/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the system could give this process now. */
#ifndef SHOAL_WORKER_MEMORY_PROBE_H
#define SHOAL_WORKER_MEMORY_PROBE_H

#include <stdint.h>

/* MemAvailable (free memory and what the page cache can give back), at most the control group's
 * limit; UINT64_MAX if the system does not tell. */
uint64_t memory_available_bytes(void);

#endif
