/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the trials. Pairs meet as in a tournament (circle method): of n ranks, made even by
 * one that does not exist, each round has n / 2 pairs that share no rank, and n - 1 rounds have all
 * pairs. After each size everybody learns the times and whether a value was wrong, so all ranks
 * take the same next step. */
#include "worker/comm/linkbench.h"

#include "base/size.h"
#include "worker/comm/linkbench_state.h"

#include <math.h>
#include <stdlib.h>

/* A size that would take longer than this in all its rounds, by the time of the one before, is left
 * out together with the larger ones: links of a megabyte per second exist. */
#define TRIAL_US_MAX 3e6

#define LONG_BYTES  (1u << 20) /* from here on a few rounds tell enough */
#define LONG_ROUNDS 3
#define MEDIAN_MAX  64 /* rounds */

struct linkbench_options linkbench_short(void) {
    return (struct linkbench_options){
        .sizes = {1u << 10, 64u << 10, 1u << 20}, .n_sizes = 3, .n_rounds = 8};
}

struct linkbench_options linkbench_full(void) {
    struct linkbench_options options = {.n_rounds = 20};
    for (uint64_t bytes = 1024; bytes <= LINKBENCH_BYTES_MAX; bytes *= 4)
        options.sizes[options.n_sizes++] = bytes;
    return options;
}

const char *linkbench_kind_name(enum linkbench_kind kind) {
    static const char *const names[] = {"pair", "all-gather", "sum"};
    return names[kind];
}

/* ---- numbers ---- */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *values, uint32_t n) {
    qsort(values, n, sizeof *values, compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Minimises sum ((alpha + bytes slope - us) / us)^2: a tenth too much counts the same at all sizes.
 * Neither can be negative; where one would be, the other alone is fitted. */
static void fit(struct linkbench_row *row, const uint64_t *sizes, uint32_t n_sizes) {
    double w = 0, wx = 0, wxx = 0, y = 0, xy = 0; /* weights 1 / us^2, times us where y is */
    for (uint32_t i = 0; i < n_sizes; i++) {
        if (!isfinite(row->us[i]) || row->us[i] <= 0)
            continue;
        double v = 1 / row->us[i], x = (double)sizes[i] * v;
        w += v * v;
        wx += v * x;
        wxx += x * x;
        y += v;
        xy += x;
    }
    double det = w * wxx - wx * wx;
    double alpha = det > 1e-9 * w * wxx ? (y * wxx - xy * wx) / det : 0;
    double slope = det > 1e-9 * w * wxx ? (w * xy - wx * y) / det : 0;
    if (slope <= 0) {
        alpha = w > 0 ? y / w : NAN;
        slope = 0;
    } else if (alpha < 0) {
        alpha = 0;
        slope = xy / wxx;
    }
    row->alpha_us = alpha;
    row->beta_gb_s = slope > 0 ? 1e-3 / slope : INFINITY; /* bytes per microsecond are MB/s */
}

/* ---- trials ---- */

static bool takes_part(const struct linkbench *bench, const struct linkbench_row *row) {
    uint32_t own = bench->group->rank_idx;
    return row->kind == LINKBENCH_PAIR ? own == row->first || own == row->last
                                       : own >= row->first && own <= row->last;
}

static uint32_t n_rounds_of(const struct linkbench *bench, uint64_t bytes) {
    uint32_t n = bench->options->n_rounds;
    n = n < MEDIAN_MAX ? n : MEDIAN_MAX;
    return bytes >= LONG_BYTES && n > LONG_ROUNDS ? LONG_ROUNDS : n;
}

/* All rounds of one size; one more goes first and does not count. */
static enum status run_trial(struct linkbench *bench, const struct linkbench_row *row,
                             uint64_t bytes, double *us, struct error *wrong, struct error *err) {
    struct linkbench_trial trial = {
        .kind = row->kind, .first = row->first, .last = row->last, .bytes = bytes};
    double ns[MEDIAN_MAX + 1];
    uint32_t n_rounds = n_rounds_of(bench, bytes);
    for (uint32_t round = 0; round <= n_rounds; round++) {
        struct error found = {.status = OK, .text = ""};
        enum status status =
            row->kind == LINKBENCH_PAIR
                ? linkbench_pair(bench, &trial, round, &ns[round], &found, err)
                : linkbench_collective(bench, &trial, round, &ns[round], &found, err);
        struct error *said = status ? err : found.status && !wrong->status ? &found : NULL;
        if (said)
            error_wrap(said, "%s of ranks %u %s %u, %llu bytes, round %u",
                       row->kind == LINKBENCH_PAIR ? "link" : linkbench_kind_name(row->kind),
                       row->first, row->kind == LINKBENCH_PAIR ? "and" : "to", row->last,
                       (unsigned long long)bytes, round);
        if (said == &found)
            *wrong = found;
        TRY(status);
        group_set_phase(bench->group, PHASE_SELF_TEST, 0); /* something was done */
    }
    *us = median_of(ns + 1, n_rounds) * 1e-3;
    return OK;
}

/* What every rank tells after each size. */
struct outcome {
    double us;
    uint32_t status;
};

/* The first of a pair sees all of a round. Of a collective whoever left the barrier first does, and
 * that is another rank each time. */
static double time_of(const struct linkbench_row *row, const struct outcome *all) {
    double us = all[row->first].us;
    for (uint32_t r = row->first + 1; row->kind != LINKBENCH_PAIR && r <= row->last; r++)
        us = fmax(us, all[r].us);
    return us;
}

/* Rows that share no rank, all sizes. */
static enum status run_rows(struct linkbench *bench, struct linkbench_row *rows, uint32_t n_rows,
                            struct error *err) {
    struct group *group = bench->group;
    const struct linkbench_options *o = bench->options;
    struct outcome *all = (struct outcome *)(void *)bench->other;
    struct linkbench_row *own = NULL;
    for (uint32_t i = 0; i < n_rows; i++) {
        if (takes_part(bench, &rows[i]))
            own = &rows[i];
    }
    for (uint32_t s = 0; s < o->n_sizes; s++) {
        struct error wrong = {.status = OK, .text = ""};
        struct outcome outcome = {.us = NAN};
        bool too_slow = own && s > 0 &&
                        !(own->us[s - 1] * (double)o->sizes[s] / (double)o->sizes[s - 1] *
                              (n_rounds_of(bench, o->sizes[s]) + 1) <
                          TRIAL_US_MAX);
        if (own && !too_slow)
            TRY(run_trial(bench, own, o->sizes[s], &outcome.us, &wrong, err));
        outcome.status = (uint32_t)wrong.status;
        TRY(group_all_gather(group, &outcome, sizeof outcome, all, err));
        bool fine = true;
        for (uint32_t r = 0; r < group->n_ranks; r++)
            fine = fine && all[r].status == OK;
        for (uint32_t i = 0; i < n_rows; i++)
            rows[i].us[s] = time_of(&rows[i], all);
        if (!fine) {
            enum status status = group_agree(group, wrong.status, &wrong);
            return error_set(err, status, "%s", wrong.text);
        }
    }
    for (uint32_t i = 0; i < n_rows; i++)
        fit(&rows[i], o->sizes, o->n_sizes);
    return OK;
}

/* ---- rows ---- */

/* Pair `slot` of a round of the tournament among n ranks; false: one of them does not exist. */
static bool tournament_pair(uint32_t n, uint32_t round, uint32_t slot, struct linkbench_row *row) {
    uint32_t m = n + n % 2;
    uint32_t a = slot == 0 ? m - 1 : (round + slot) % (m - 1);
    uint32_t b = slot == 0 ? round : (round + m - 1 - slot) % (m - 1);
    row->kind = LINKBENCH_PAIR;
    row->first = a < b ? a : b;
    row->last = a < b ? b : a;
    return row->last < n;
}

static enum status run_pairs(struct linkbench *bench, struct linkbench_results *results,
                             struct error *err) {
    const struct group *group = bench->group;
    uint32_t n = group->n_ranks, m = n + n % 2;
    for (uint32_t round = 0; round + 1 < m; round++) {
        struct linkbench_row *rows = &results->rows[results->n_rows];
        uint32_t n_rows = 0;
        for (uint32_t slot = 0; slot < m / 2; slot++) {
            struct linkbench_row *row = &rows[n_rows];
            if (!tournament_pair(n, round, slot, row))
                continue;
            row->between_nodes = group->ranks[row->first].node != group->ranks[row->last].node;
            n_rows++;
            if (n <= LINKBENCH_ALONE_RANKS)
                TRY(run_rows(bench, row, 1, err));
        }
        if (n > LINKBENCH_ALONE_RANKS)
            TRY(run_rows(bench, rows, n_rows, err));
        results->n_rows += n_rows;
    }
    return OK;
}

static enum status run_collectives(struct linkbench *bench, struct linkbench_results *results,
                                   struct error *err) {
    const struct group *group = bench->group;
    static const enum linkbench_kind kinds[] = {LINKBENCH_ALL_GATHER, LINKBENCH_SUM};
    for (uint32_t k = 0; k < 2; k++) {
        struct linkbench_row *rows = &results->rows[results->n_rows];
        rows[0] = (struct linkbench_row){
            .kind = kinds[k], .last = group->n_ranks - 1, .between_nodes = group->n_nodes > 1};
        TRY(run_rows(bench, &rows[0], 1, err));
        results->n_rows++;
        if (group->n_nodes == 1)
            continue;
        uint32_t n_rows = 0;
        for (uint32_t first = 0, i = 0; i < group->n_ranks; i++) {
            bool is_last =
                i + 1 == group->n_ranks || group->ranks[i + 1].node != group->ranks[i].node;
            if (is_last && i > first)
                rows[1 + n_rows++] =
                    (struct linkbench_row){.kind = kinds[k], .first = first, .last = i};
            first = is_last ? i + 1 : first;
        }
        TRY(run_rows(bench, &rows[1], n_rows, err));
        results->n_rows += n_rows;
    }
    return OK;
}

/* In order of ranks, for people. */
static int compare_rows(const void *a, const void *b) {
    const struct linkbench_row *x = a, *y = b;
    if (x->kind != y->kind)
        return (int)x->kind - (int)y->kind;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->last > y->last) - (x->last < y->last);
}

static enum status take_memory(struct linkbench *bench, struct linkbench_results *results,
                               struct error *err) {
    uint64_t n = bench->group->n_ranks;
    uint64_t n_rows = n * (n - 1) / 2 + 2 * (bench->group->n_nodes + 1);
    results->rows = calloc(n_rows, sizeof *results->rows);
    bench->out = calloc(1, bench->buffer_bytes);
    bench->in = calloc(1, bench->buffer_bytes);
    bench->other = calloc(1, bench->buffer_bytes);
    if (!results->rows || !bench->out || !bench->in || !bench->other)
        return error_set(err, ERR_NOMEM, "no memory to measure links with %llu bytes",
                         (unsigned long long)bench->buffer_bytes);
    return OK;
}

enum status linkbench_run(struct group *group, const struct linkbench_options *options,
                          struct linkbench_results *results, struct error *err) {
    struct linkbench bench = {.group = group, .options = options};
    uint64_t bytes_max = options->sizes[options->n_sizes - 1] + 8 * (uint64_t)group->n_ranks;
    if (bytes_max < group->n_ranks * sizeof(struct outcome))
        bytes_max = group->n_ranks * sizeof(struct outcome);
    bench.buffer_bytes = align_up(bytes_max, 64);
    *results = (struct linkbench_results){.n_sizes = options->n_sizes};
    for (uint32_t s = 0; s < options->n_sizes; s++)
        results->sizes[s] = options->sizes[s];
    if (group->n_ranks == 1)
        return OK;
    enum status status = group_agree(group, take_memory(&bench, results, err), err);
    if (!status)
        status = group_resize_windows(group, bench.buffer_bytes, err);
    if (!status)
        status = run_pairs(&bench, results, err);
    if (!status)
        status = run_collectives(&bench, results, err);
    if (!status)
        status = group_resize_windows(group, 0, err);
    free(bench.out);
    free(bench.in);
    free(bench.other);
    if (status)
        linkbench_results_free(results);
    else
        qsort(results->rows, results->n_rows, sizeof *results->rows, compare_rows);
    return status;
}

void linkbench_results_free(struct linkbench_results *results) {
    free(results->rows);
    *results = (struct linkbench_results){0};
}
