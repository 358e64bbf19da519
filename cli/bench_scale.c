/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench scale`: what more workers bring. Each group is a `bench model` of its own, started
 * one after the other; a round runs every size once, every other round in reverse, so that what
 * drifts on the machine hits all sizes alike. A rank has the same threads in every group. */
#include "cli/bench.h"

#include "base/thread_pool.h"
#include "bench/read_bandwidth.h"
#include "bench/scale.h"
#include "bench/scale_plot.h"
#include "cli/progress.h"
#include "cli/rerun.h"
#include "cli/scale_rows.h"
#include "worker/engine.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEQS_MAX   16u /* numbers of sequences */
#define SERIES_MAX 128u
#define ARGS_MAX   (2 * OPTION_ITEMS_MAX)

#define SEQS_DEFAULT "1,8"

/* As in the options' rows. */
enum { SCALING_BOTH, SCALING_STRONG, SCALING_WEAK };
enum { LAUNCHER_MPIRUN, LAUNCHER_NONE };

struct scale {
    struct cli *cli;
    uint32_t sizes[SCALE_SIZES_MAX], n_sizes; /* of groups */
    int64_t seqs[SEQS_MAX];
    uint32_t n_seqs;
    uint32_t n_threads, n_rounds;
    bool is_strong, is_weak;
    bool is_here; /* all ranks run on this machine */
    const char *plot;
    struct scale_runs runs;
    struct scale_series *series[SERIES_MAX];
    uint32_t n_series;
};

/* ---- options ---- */

static enum status read_seqs(struct scale *s, struct error *err) {
    const struct options *o = s->cli->options;
    const char *list = options_is_set(o, OPT_BENCH_PARALLEL) ? options_string(o, OPT_BENCH_PARALLEL)
                                                             : SEQS_DEFAULT;
    enum status status =
        option_list_parse(list, 1, ENGINE_SEQS_MAX, s->seqs, SEQS_MAX, &s->n_seqs, err);
    if (status != OK)
        error_wrap(err, "--parallel");
    return status;
}

/* Hours of measuring should not end at a folder that does not exist. */
static enum status check_plot(const char *path, struct error *err) {
    FILE *file = fopen(path, "ae");
    if (!file)
        return error_set(err, ERR_INPUT, "--plot: %s: %s", path, strerror(errno));
    fclose(file);
    return OK;
}

static enum status read_options(struct scale *s, struct error *err) {
    const struct options *o = s->cli->options;
    uint32_t n_ranks = (uint32_t)options_int(o, OPT_WORKERS);
    uint32_t scaling = options_choice(o, OPT_SCALING);
    int64_t batches[2];
    uint32_t n_batches;
    if (n_ranks < 2)
        return error_set(err, ERR_INPUT, "bench scale compares groups: --workers 2, or more");
    if (options_choice(o, OPT_LAUNCHER) == LAUNCHER_NONE)
        return error_set(err, ERR_INPUT,
                         "--launcher none: bench scale starts several groups; for the line of one: "
                         "bench model --workers %u --launcher none",
                         n_ranks);
    if (options_string(o, OPT_BENCH_BATCH) &&
        option_list_parse(options_string(o, OPT_BENCH_BATCH), 1, ENGINE_STEP_TOKENS_MAX, batches, 1,
                          &n_batches, err) != OK)
        return error_set(err, ERR_INPUT, "--batch-size: bench scale takes one, not a list");
    s->n_sizes = scale_group_sizes(n_ranks, s->sizes);
    s->n_rounds = (uint32_t)options_int(o, OPT_REPETITIONS);
    s->is_strong = scaling != SCALING_WEAK;
    s->is_weak = scaling != SCALING_STRONG;
    s->is_here = !options_is_set(o, OPT_HOSTFILE);
    s->n_threads = (uint32_t)options_int(o, OPT_THREADS);
    if (s->n_threads == 0 && !s->is_here)
        return error_set(err, ERR_INPUT,
                         "--hostfile: bench scale needs --threads too, so that a rank has the same "
                         "in every group");
    if (s->n_threads == 0)
        s->n_threads = cpu_count() > n_ranks ? cpu_count() / n_ranks : 1;
    s->plot = options_string(o, OPT_PLOT);
    TRY(read_seqs(s, err));
    return s->plot ? check_plot(s->plot, err) : OK;
}

/* ---- the command line of a group ---- */

struct args {
    const char *items[ARGS_MAX + 1];
    uint32_t n;
    struct arena *arena;
    bool failed;
};

/* `word` is a constant or in the arena; NULL: there was no room for it. */
static void add_arg(struct args *args, const char *word) {
    if (word && args->n < ARGS_MAX)
        args->items[args->n++] = word;
    else
        args->failed = true;
}

/* What a group is told as we were. Line, environment and config file are one here. */
static void add_options(struct args *args, const struct options *o, bool in_group) {
    static const enum option_id alone[] = {
        OPT_CONFIG,       OPT_MODEL,     OPT_KERNELS,     OPT_KV_CACHE_DTYPE,   OPT_UBATCH_SIZE,
        OPT_BENCH_PROMPT, OPT_BENCH_GEN, OPT_BENCH_DEPTH, OPT_BENCH_PROMPT_GEN, OPT_BENCH_BATCH};
    static const enum option_id grouped[] = {OPT_HOSTFILE, OPT_EP_EXCHANGE, OPT_LAUNCHER,
                                             OPT_MPIRUN_ARGS, OPT_FAULT};
    uint32_t n_alone = sizeof alone / sizeof alone[0];
    uint32_t n_all = n_alone + (in_group ? sizeof grouped / sizeof grouped[0] : 0);
    for (uint32_t i = 0; i < n_all; i++) {
        enum option_id id = i < n_alone ? alone[i] : grouped[i - n_alone];
        for (uint32_t k = 0; options_is_set(o, id) && k < options_n_items(o, id); k++)
            add_arg(args, arena_printf(args->arena, "--%s=%s", option_row(id)->name,
                                       options_item(o, id, k)));
    }
}

/* An option of groups that cannot be larger than the group. */
static void add_at_most(struct args *args, const struct options *o, enum option_id id,
                        uint32_t n_ranks) {
    uint32_t n = (uint32_t)options_int(o, id);
    if (n > 0)
        add_arg(args, arena_printf(args->arena, "--%s=%u", option_row(id)->name,
                                   n < n_ranks ? n : n_ranks));
}

/* Every number of sequences that a series needs of this group, once. */
static void add_seqs(struct args *args, const struct scale *s, uint32_t n_ranks) {
    char list[SEQS_MAX * 12];
    int n = 0;
    bool weak_is_there = false;
    int64_t weak = s->seqs[0] * n_ranks;
    for (uint32_t i = 0; s->is_strong && i < s->n_seqs; i++) {
        n += snprintf(list + n, sizeof list - (size_t)n, "%s%lld", n ? "," : "",
                      (long long)s->seqs[i]);
        weak_is_there = weak_is_there || s->seqs[i] == weak;
    }
    if (s->is_weak && !weak_is_there)
        snprintf(list + n, sizeof list - (size_t)n, "%s%lld", n ? "," : "", (long long)weak);
    add_arg(args, arena_printf(args->arena, "--parallel=%s", list));
}

static void add_all(struct args *args, const struct scale *s, uint32_t n_ranks) {
    const struct options *o = s->cli->options;
    add_arg(args, "shoal");
    add_arg(args, "bench");
    add_arg(args, "model");
    add_options(args, o, n_ranks > 1);
    add_arg(args, arena_printf(args->arena, "--workers=%u", n_ranks));
    if (n_ranks > 1) {
        add_at_most(args, o, OPT_NODES, n_ranks);
        add_at_most(args, o, OPT_ATTENTION_GROUPS, n_ranks);
    }
    add_arg(args, arena_printf(args->arena, "--threads=%u", s->n_threads));
    add_seqs(args, s, n_ranks);
    add_arg(args, "--repetitions=1");
    add_arg(args, options_flag(o, OPT_WARMUP) ? "--warmup" : "--no-warmup");
    add_arg(args, "--output=json");
    add_arg(args, arena_printf(args->arena, "--log-level=%s",
                               s->cli->log.level >= LOG_DEBUG ? "debug" : "error"));
    args->items[args->n] = NULL;
}

/* ---- running ---- */

/* What the machine reads with the threads of all ranks; NAN where they are on several. */
static enum status measure_reading(const struct scale *s, uint32_t n_ranks, double *bytes_per_s,
                                   struct error *err) {
    *bytes_per_s = NAN;
    if (!s->is_here)
        return OK;
    struct thread_pool *pool = NULL;
    struct read_bandwidth *reader = NULL;
    uint64_t n_threads = (uint64_t)n_ranks * s->n_threads;
    struct thread_pool_options options = {.n_threads = n_threads < cpu_count() ? (uint32_t)n_threads
                                                                               : cpu_count()};
    TRY(thread_pool_open(&pool, &options, err));
    enum status status = read_bandwidth_open(&reader, pool, err);
    if (status == OK)
        *bytes_per_s = read_bandwidth_pass(reader);
    read_bandwidth_close(reader);
    thread_pool_close(pool);
    return status;
}

/* Returns the exit status; the child or we have told what is wrong. */
static int run_group(struct scale *s, uint32_t n_ranks, uint32_t round) {
    struct cli *cli = s->cli;
    struct scale_group group = {.n_ranks = n_ranks, .round = round};
    struct arena arena = {0};
    struct text out = {0};
    struct error err;
    int code = CLI_OK;
    struct args *args = calloc(1, sizeof *args);
    enum status status = args ? OK : error_set(&err, ERR_NOMEM, "no memory");
    if (status == OK) {
        args->arena = &arena;
        add_all(args, s, n_ranks);
        if (args->failed)
            status = error_set(&err, ERR_LIMIT, "no room for the command line of a group");
    }
    if (status == OK)
        status = measure_reading(s, n_ranks, &group.read_bytes_per_s, &err);
    if (status == OK) {
        struct rerun what = {.argv = args->items, .environment = cli->options->environment};
        status = rerun(&what, &out, &code, &err);
    }
    if (status == OK && code == CLI_OK)
        status = scale_rows_read(&s->runs, &group, text_span(&out), &err);
    if (status != OK)
        code = cli_fail(cli, DURING_WORK, &err);
    free(args);
    text_free(&out);
    arena_free(&arena);
    return code;
}

static int run_rounds(struct scale *s) {
    struct progress bar;
    int code = CLI_OK;
    uint32_t n_done = 0;
    progress_begin(&bar, s->cli, "Groups", (uint64_t)s->n_rounds * s->n_sizes, PROGRESS_ITEMS);
    progress_update(&bar, 0);
    for (uint32_t round = 0; round < s->n_rounds && code == CLI_OK; round++) {
        for (uint32_t i = 0; i < s->n_sizes && code == CLI_OK; i++) {
            uint32_t size = s->sizes[round % 2 ? s->n_sizes - 1 - i : i];
            code = run_group(s, size, round);
            if (code == CLI_OK)
                progress_update(&bar, ++n_done);
            else if (code < 128) /* nobody has to be told of his signal */
                log_info(&s->cli->log, "it was the group of %u, in round %u of %u", size, round + 1,
                         s->n_rounds);
        }
    }
    progress_end(&bar);
    return code;
}

/* ---- results ---- */

static enum status add_series(struct scale *s, const struct model_bench_case *test, bool is_weak,
                              struct error *err) {
    if (s->n_series == SERIES_MAX)
        return error_set(err, ERR_LIMIT, "more than %u series", SERIES_MAX);
    struct scale_series *series = calloc(1, sizeof *series);
    if (!series)
        return error_set(err, ERR_NOMEM, "no memory");
    series->test = *test;
    series->is_weak = is_weak;
    scale_series_make(series, s->runs.items, s->runs.n);
    s->series[s->n_series++] = series;
    return OK;
}

/* The tests of one rank, in the order in which it ran them; weak only with the first number of
 * sequences. */
static enum status make_series(struct scale *s, struct error *err) {
    for (uint32_t i = 0; i < s->runs.n; i++) {
        const struct scale_run *run = &s->runs.items[i];
        if (s->is_strong && run->n_ranks == 1 && run->round == 0)
            TRY(add_series(s, &run->test, false, err));
    }
    for (uint32_t i = 0; i < s->runs.n; i++) {
        const struct scale_run *run = &s->runs.items[i];
        if (s->is_weak && run->n_ranks == 1 && run->round == 0 && run->test.n_seqs == s->seqs[0])
            TRY(add_series(s, &run->test, true, err));
    }
    return OK;
}

static enum status write_results(struct scale *s, struct error *err) {
    const struct scale_series *const *series = (const struct scale_series *const *)s->series;
    const struct scale_subject *subject = &s->runs.subject;
    TRY(make_series(s, err));
    if (s->n_series == 0)
        return OK; /* nothing was measured, and somebody said why */
    TRY(scale_rows_write(s->cli, subject, series, s->n_series, err));
    if (!s->plot)
        return OK;
    const char *slash = strrchr(subject->model_path, '/');
    char title[300];
    snprintf(title, sizeof title, "%s on %s, %u thread%s per rank",
             slash ? slash + 1 : subject->model_path, subject->host, subject->n_threads,
             subject->n_threads == 1 ? "" : "s");
    struct scale_plot plot = {.title = title, .series = series, .n_series = s->n_series};
    return scale_plot_write(&plot, s->plot, err);
}

int bench_scale(struct cli *cli) {
    struct scale s = {.cli = cli};
    struct error err;
    if (read_options(&s, &err) != OK)
        return cli_fail(cli, DURING_USAGE, &err);
    int code = run_rounds(&s);
    /* What was measured before something ended it is not lost. */
    if (write_results(&s, &err) != OK) {
        int failed = cli_fail(cli, DURING_WORK, &err);
        code = code == CLI_OK ? failed : code;
    }
    for (uint32_t i = 0; i < s.n_series; i++)
        free(s.series[i]);
    free(s.runs.items);
    arena_free(&s.runs.arena);
    return cli_finish(cli, code);
}
