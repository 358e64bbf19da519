/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of a synthetic model on their way to disk: distributed over parts, then filled and
 * written by all threads at once, each piece where it belongs. */
#ifndef SHOAL_CLI_SYNTH_FILE_H
#define SHOAL_CLI_SYNTH_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/synth_tensors.h"
#include "model/gguf_writer.h"

struct synth_file {
    struct synth_tensors *tensors; /* borrowed */
    struct gguf_writer *writers;   /* [n_parts]; the first has all keys */
    uint32_t n_parts;
    struct arena arena;
};

/* Opens one writer per part and describes the tensors in them. A part ends before it would grow
 * beyond part_bytes_max of data (0: one part). ERR_LIMIT: too many parts; ERR_NOMEM. */
enum status synth_file_init(struct synth_file *file, struct synth_tensors *tensors,
                            uint64_t part_bytes_max, struct error *err);
void synth_file_free(struct synth_file *file); /* removes what is not finished */

/* Creates the parts under `path` (with their numbers in the name if there are several), fills all
 * tensors from the seed, renames. The progress is begun and ended by the caller. ERR_CANCELLED:
 * Ctrl-C; ERR_INPUT: a file is there and may not be replaced; ERR_LIMIT: the disk is too small. */
struct synth_write_options {
    const char *path;
    bool replace;
    uint64_t seed;
    uint32_t n_threads;
    struct progress *progress;
    const struct interrupt *interrupt;
};
enum status synth_file_write(struct synth_file *file, const struct synth_write_options *options,
                             struct error *err);

#endif
