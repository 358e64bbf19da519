/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of several parts are sorted and packed; the runs of each part move with them but are not
 * joined, so that a kernel sees the blocks of a part in the same order as without a cut. */
#include "worker/forward/cut.h"

#include <assert.h>
#include <string.h>

static enum status no_memory(struct error *err) {
    return error_set(err, ERR_NOMEM, "no memory for a rank's share of the matrices");
}

void linear_keep_rows(struct linear *linear, const struct krun *runs, uint32_t n_runs) {
    linear->rows = (struct cut){.runs = runs, .n_runs = n_runs};
    linear->w.d_out = cut_width(&linear->rows);
}

uint32_t cut_width(const struct cut *cut) {
    uint32_t width = 0;
    for (uint32_t i = 0; i < cut->n_runs; i++)
        width += cut->runs[i].end - cut->runs[i].begin;
    return width;
}

/* Few runs, nearly in order. */
static void insert_sorted(struct krun *runs, uint32_t n, struct krun run) {
    while (n > 0 && runs[n - 1].begin > run.begin) {
        runs[n] = runs[n - 1];
        n--;
    }
    runs[n] = run;
}

enum status cut_of_parts(struct cut *cut, const struct ksplit *split, struct leaf_range own,
                         struct arena *arena, struct error *err) {
    uint32_t first = split->part_begin[own.begin], end = split->part_begin[own.end];
    struct krun *runs = arena_array(arena, end - first + 1, sizeof *runs);
    uint32_t n = 0;
    if (!runs)
        return no_memory(err);
    for (uint32_t i = first; i < end; i++)
        insert_sorted(runs, n++, split->runs[i]);
    uint32_t n_joined = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (n_joined > 0 && runs[n_joined - 1].end == runs[i].begin)
            runs[n_joined - 1].end = runs[i].end;
        else
            runs[n_joined++] = runs[i];
    }
    *cut = (struct cut){.runs = runs, .n_runs = n_joined};
    return OK;
}

/* Where a column of the file's matrix lies in ours. */
static uint32_t place_of(const struct cut *cut, uint32_t column) {
    uint32_t before = 0;
    for (uint32_t i = 0; i < cut->n_runs; i++) {
        const struct krun *run = &cut->runs[i];
        if (column >= run->begin && column < run->end)
            return before + column - run->begin;
        before += run->end - run->begin;
    }
    assert(!"a column of an own part lies in the cut");
    return 0;
}

/* The same parts over the packed columns. */
static enum status pack_split(struct ksplit *out, const struct ksplit *split, struct leaf_range own,
                              const struct cut *columns, struct arena *arena, struct error *err) {
    uint32_t n_runs = split->part_begin[KSPLIT_PARTS];
    struct krun *runs = arena_array(arena, n_runs, sizeof *runs);
    if (!runs)
        return no_memory(err);
    *out = ksplit_some(split, own.begin, own.end);
    for (uint32_t i = out->part_begin[0]; i < out->part_begin[KSPLIT_PARTS]; i++) {
        const struct krun *run = &split->runs[i];
        runs[i].begin = place_of(columns, run->begin);
        runs[i].end = runs[i].begin + (run->end - run->begin);
    }
    out->runs = runs;
    return OK;
}

enum status row_parallel_init(struct row_parallel *product, const struct linear *whole,
                              const struct part_owners *owners, struct arena *arena,
                              struct error *err) {
    struct leaf_range own = owners->parts[owners->tp_idx];
    struct linear *linear = &product->linear;
    *linear = *whole;
    exchange_sum_layout_init(&product->sum, &whole->split, owners->parts, owners->n_ranks,
                             owners->tp_idx);
    if (owners->n_ranks > 1) {
        TRY(cut_of_parts(&linear->columns, &whole->split, own, arena, err));
        linear->w.d_in = cut_width(&linear->columns);
        linear->w.row_bytes = dtype_row_bytes(linear->w.dtype, linear->w.d_in);
        if (linear->w.d_in == 0)
            linear->w.d_out = 0; /* nothing to load, nothing to read */
        TRY(pack_split(&linear->split, &whole->split, own, &linear->columns, arena, err));
    }
    for (uint32_t i = 0; i < product->sum.n_own_roots; i++)
        product->roots[i] =
            ksplit_some(&linear->split, product->sum.own[i].begin, product->sum.own[i].end);
    return OK;
}

enum status cut_copy_floats(const float **table, uint32_t width, const struct cut *rows,
                            struct arena *arena, struct error *err) {
    if (!*table)
        return OK;
    float *copy = arena_array(arena, (size_t)cut_width(rows) * width + 1, sizeof *copy);
    uint32_t row = 0;
    if (!copy)
        return no_memory(err);
    for (uint32_t i = 0; i < rows->n_runs; i++) {
        uint32_t n = rows->runs[i].end - rows->runs[i].begin;
        memcpy(copy + (size_t)row * width, *table + (size_t)rows->runs[i].begin * width,
               (size_t)n * width * sizeof *copy);
        row += n;
    }
    *table = copy;
    return OK;
}
