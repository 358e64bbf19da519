/* SPDX-License-Identifier: Apache-2.0 */
/* The matrices of a model in memory of our own, as the fast kernels read them.
 *
 * forward_bind leaves every matrix where the file has it, in rows. Loading gives each a place here
 * and replaces pointer and layout in the bound network:
 *
 *     file    [q: rows][k: rows] ... [gate of all experts: rows] ...        mapped, read once
 *     memory  [q: panels][k: panels] ... [gate of expert 0: panels][of expert 1: panels] ...
 *
 * Quantised matrices become panels (tensor/panels.h), an expert's each for itself; F32, F16 and
 * BF16 stay rows. A rank of a group loads only the rows and columns that it holds (forward/cut.h),
 * also for the reference kernels, which take everything in rows. They lie in the order in which a
 * step reads them, each at a multiple of 64 bytes, in one mapping of huge pages. The table of an
 * embedding that is not the head too stays in the file; one that is the head is taken from its
 * panels. Vectors are copied already (model/weights.h).
 *
 * All threads of the pool work on pieces of about a megabyte; what a piece has read of the file
 * leaves the process at once, so that no weight is in memory twice. The bytes do not depend on the
 * number of threads. A file that becomes shorter meanwhile is an error if it is seen in time; as
 * everywhere else, reading behind the end of a mapped file ends the program (SIGBUS).
 *
 * Owned by the engine thread; loaded once, read by all threads until freed. */
#ifndef SHOAL_WORKER_WEIGHTS_WEIGHTS_LOAD_H
#define SHOAL_WORKER_WEIGHTS_WEIGHTS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "model/gguf.h"
#include "worker/forward/forward.h"

/* Told on the calling thread how much of the file's bytes is done: at the beginning, then at most
 * every 100 ms, and at the end if all went well. False stops the loading. */
typedef bool load_progress(void *user, uint64_t bytes_done, uint64_t bytes_all);

struct weights_load {
    void *memory;
    size_t bytes;
};

/* What loading this network would read and take. */
struct weights_load_size {
    uint64_t file_bytes;   /* rows of all matrices */
    uint64_t memory_bytes; /* what they become, padding included */
};
/* `quantised`: how those matrices are going to lie. */
struct weights_load_size weights_load_size(struct forward *f, enum matrix_layout quantised);

struct weights_load_options {
    struct thread_pool *pool;
    const struct gguf *gguf;      /* whose data the matrices are views of; not NULL */
    enum matrix_layout quantised; /* how quantised matrices are to lie */
    load_progress *progress;      /* NULL: nobody is told */
    void *user;
};

/* `f` was just bound. ERR_NOMEM; ERR_IO: the file cannot be read; ERR_CANCELLED: progress said so.
 * After an error there is nothing to free, and `f` is as it was. */
enum status weights_load(struct weights_load *load, struct forward *f,
                         const struct weights_load_options *options, struct error *err);

/* Gives the memory back; the network must not be run any more. Safe on a zeroed struct. */
void weights_load_free(struct weights_load *load);

#endif
