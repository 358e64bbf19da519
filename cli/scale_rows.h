/* SPDX-License-Identifier: Apache-2.0 */
/* What goes in and out of `bench scale` as text: the JSON of `bench model`, and rows. */
#ifndef SHOAL_CLI_SCALE_ROWS_H
#define SHOAL_CLI_SCALE_ROWS_H

#include "base/arena.h"
#include "base/error.h"
#include "bench/scale.h"
#include "cli/command.h"

/* What all rows say alike. */
struct scale_subject {
    const char *host, *cpu, *model_path, *model_type, *kernels; /* in the arena */
    uint64_t model_bytes;
    uint32_t n_threads; /* of a rank */
};

/* The runs of one group in one round, with what was known before it started. */
struct scale_runs {
    struct scale_run *items; /* [n], realloc'd; free when done */
    uint32_t n, room;
    struct scale_subject subject; /* of the first row that was read */
    struct arena arena;
};
struct scale_group {
    uint32_t n_ranks, round;
    double read_bytes_per_s; /* NAN: unknown */
};
/* Adds the rows that `json` has. ERR_INPUT: they are not those of `bench model`, once, with so many
 * ranks; ERR_NOMEM. */
enum status scale_rows_read(struct scale_runs *runs, const struct scale_group *group,
                            struct span json, struct error *err);

/* Writes one row per series and size of group to cli->out.
 */
enum status scale_rows_write(struct cli *cli, const struct scale_subject *subject,
                             const struct scale_series *const *series, uint32_t n_series,
                             struct error *err);

#endif
