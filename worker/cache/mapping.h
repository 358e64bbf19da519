/* SPDX-License-Identifier: Apache-2.0 */
/* Large private memory straight from the system: zeroed, page-aligned, and real only where it was
 * touched, so that a plan for long contexts costs nothing until contexts are long. */
#ifndef SHOAL_WORKER_CACHE_MAPPING_H
#define SHOAL_WORKER_CACHE_MAPPING_H

#include <stddef.h>

#include "base/error.h"

/* bytes 0 gives NULL. ERR_NOMEM: "<what>: ...". */
enum status mapping_take(void **out, size_t bytes, const char *what, struct error *err);
/* The same in huge pages, for what will be touched everywhere and read over and over: one entry of
 * the page tables serves 2 MiB. Where the system has none to give, the pages are small ones. */
enum status mapping_take_huge(void **out, size_t bytes, const char *what, struct error *err);
void mapping_give_back(void *memory, size_t bytes); /* NULL is fine */

#endif
