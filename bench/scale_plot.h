/* SPDX-License-Identifier: Apache-2.0 */
/* Series of a scaling measurement as a drawing: speed-up over ranks beside the ideal line, and for
 * every series the shares of the ranks' time, one bar per size of group. */
#ifndef SHOAL_BENCH_SCALE_PLOT_H
#define SHOAL_BENCH_SCALE_PLOT_H

#include "base/error.h"
#include "bench/scale.h"

struct scale_plot {
    const char *title;                        /* "model.gguf on big1" */
    const struct scale_series *const *series; /* [n_series], each with at least one point */
    uint32_t n_series;
};

/* ERR_IO, ERR_NOMEM: the file at `path` could not be written. */
enum status scale_plot_write(const struct scale_plot *plot, const char *path, struct error *err);

/* Distance of about `n` round marks (1, 2 or 5 times a power of ten) on an axis up to `max`. */
double scale_plot_step(double max, uint32_t n);

#endif
