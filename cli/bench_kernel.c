/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench kernel`: every combination of operations, types, shapes and tokens, one row each.
 * Cases come one after the other, so that only one of them is in memory. */
#include "cli/bench.h"

#include "base/json.h"
#include "bench/kernel_bench.h"
#include "cli/progress.h"
#include "cli/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define LIST_MAX 64u

/* What is measured: the operations chosen, and of each in turn its lists. */
struct wanted {
    bool ops[KERNEL_N_OPS];
    bool types[DTYPE_N_COMPUTE];
    int64_t shapes[LIST_MAX][2], tokens[LIST_MAX], depths[LIST_MAX];
    uint32_t n_shapes, n_tokens, n_depths;
};

struct bench {
    struct cli *cli;
    struct wanted wanted;
    struct table table;
    struct bench_machine machine;
    struct kernels kernels, reference;
    struct arena arena;
    struct kernel_ctx ctx;
    struct cold_memory cold;
    struct read_bandwidth *reader;
    struct compute_peak peak;
    struct kernel_bench_result *result;
    struct progress bar;
    uint32_t n_cases, n_done;
};

static const struct table_column columns[] = {
    {"host", NULL, false},
    {"cpu_info", NULL, false},
    {"test_time", NULL, false},
    {"threads", NULL, true},
    {"kernels", "kernels", false},
    {"op", "op", false},
    {"type", "type", false},
    {"shape", "shape", true},
    {"n_tokens", "tokens", true},
    {"n_depth", "depth", true},
    {"samples_ns", NULL, false},
    {"median_ns", "time", true},
    {"spread", "±", true},
    {"bytes", NULL, true},
    {"bytes_per_s", "GB/s", true},
    {"operations", NULL, true},
    {"operations_per_s", "GOP/s", true},
    {"read_bytes_per_s", NULL, true},
    {"peak_integers_per_s", NULL, true},
    {"peak_floats_per_s", NULL, true},
    {"bound", "bound by", false},
    {"fraction", "reached", true},
    {"error", "error", true},
};

/* The next of "a,b,c", cut if it is longer than any word that means something; false at the end. */
static bool next_word(const char **list, char word[32]) {
    if (!*list || !**list)
        return false;
    size_t n = strcspn(*list, ",");
    snprintf(word, 32, "%.*s", (int)n, *list);
    *list += n + ((*list)[n] == ',');
    return true;
}

static enum status read_ops(const char *list, struct wanted *w, struct error *err) {
    char word[32];
    while (next_word(&list, word)) {
        uint32_t op = 0;
        while (op < KERNEL_N_OPS && strcasecmp(kernel_op_info(op)->name, word) != 0)
            op++;
        if (op == KERNEL_N_OPS) {
            struct text names = {0};
            for (op = 0; op < KERNEL_N_OPS; op++)
                text_printf(&names, "%s%s", op ? ", " : "", kernel_op_info(op)->name);
            error_set(err, ERR_INPUT, "--op: '%s' is no operation; there are: %s", word,
                      text_str(&names));
            text_free(&names);
            return ERR_INPUT;
        }
        w->ops[op] = true;
    }
    return OK;
}

/* Of a user, or of an operation: "all" and "quantised" stand for many. */
static enum status read_types(const char *list, struct wanted *w, struct error *err) {
    char word[32];
    memset(w->types, 0, sizeof w->types);
    while (next_word(&list, word)) {
        bool all = strcmp(word, "all") == 0, quantised = strcmp(word, "quantised") == 0;
        enum dtype one = DTYPE_N;
        if (!all && !quantised && (!dtype_from_name(word, &one) || one >= DTYPE_N_COMPUTE))
            return error_set(err, ERR_INPUT,
                             "--type: '%s' is no type with kernels; for example q4_k, iq3_xxs, "
                             "bf16, all, quantised",
                             word);
        for (enum dtype t = 0; t < DTYPE_N_COMPUTE; t++) {
            if (all || t == one || (quantised && dtype_is_quantised(t)))
                w->types[t] = true;
        }
    }
    return OK;
}

static enum status read_shapes(const char *list, struct wanted *w, struct error *err) {
    char word[32];
    w->n_shapes = 0;
    while (next_word(&list, word)) {
        char *end;
        long long rows = strtoll(word, &end, 10), columns_wanted = 0;
        if (*end == 'x')
            columns_wanted = strtoll(end + 1, &end, 10);
        if (*end || rows < 1 || columns_wanted < 1 || rows > 1 << 24 || columns_wanted > 1 << 24)
            return error_set(err, ERR_INPUT,
                             "--shape: '%s' must be rows x columns, for example 2048x4096", word);
        if (w->n_shapes == LIST_MAX)
            return error_set(err, ERR_LIMIT, "--shape: more than %u shapes", LIST_MAX);
        w->shapes[w->n_shapes][0] = rows;
        w->shapes[w->n_shapes++][1] = columns_wanted;
    }
    return OK;
}

static enum status read_counts(const char *name, const char *text, int64_t min, int64_t *out,
                               uint32_t *n, struct error *err) {
    *n = 0;
    if (!text)
        return OK;
    enum status status = option_list_parse(text, min, 1 << 20, out, LIST_MAX, n, err);
    if (status != OK)
        error_wrap(err, "--%s", name);
    return status;
}

/* What the user says of a list, or else what the operation says. */
static const char *user_list(const struct bench *b, enum option_id id, const char *fallback) {
    bool set = options_is_set(b->cli->options, id);
    return set ? options_string(b->cli->options, id) : fallback;
}

/* The lists of one operation. */
static enum status lists_of(const struct bench *b, enum kernel_op op, struct wanted *w,
                            struct error *err) {
    const struct kernel_op_info *info = kernel_op_info(op);
    *w = b->wanted;
    TRY(read_types(info->types ? user_list(b, OPT_BENCH_TYPE, info->types) : NULL, w, err));
    TRY(read_shapes(info->shapes ? user_list(b, OPT_BENCH_SHAPE, info->shapes) : NULL, w, err));
    TRY(read_counts("tokens", info->tokens ? user_list(b, OPT_BENCH_TOKENS, info->tokens) : "1", 1,
                    w->tokens, &w->n_tokens, err));
    TRY(read_counts("n-depth", info->depths ? user_list(b, OPT_BENCH_DEPTH, info->depths) : "0", 0,
                    w->depths, &w->n_depths, err));
    if (!info->shapes)
        w->n_shapes = 1; /* one pass, with no shape */
    return OK;
}

static void format_time(double seconds, char out[32]) {
    static const char *const units[] = {"s", "ms", "us", "ns"};
    size_t unit = 0;
    while (seconds < 0.9995 && unit + 1 < sizeof units / sizeof units[0]) {
        seconds *= 1000;
        unit++;
    }
    snprintf(out, 32, "%.*f %s", seconds < 10 ? 2 : seconds < 100 ? 1 : 0, seconds, units[unit]);
}

/* A number for programs; people get `people`, or a dash where there is no number. */
static void add_number(struct table *t, double value, const char *people) {
    struct text json = {0};
    json_add_double(&json, value);
    table_both(t, isfinite(value) ? people : "-", text_str(&json));
    text_free(&json);
}

static void add_rate(struct table *t, double amount, double seconds) {
    char text[32];
    snprintf(text, sizeof text, "%.1f", amount / seconds * 1e-9);
    add_number(t, amount > 0 ? amount / seconds : NAN, text);
}

static void add_case(struct bench *b, const struct kernel_case *c) {
    struct table *t = &b->table;
    const struct kernel_op_info *info = kernel_op_info(c->op);
    char text[64];
    time_t now = time(NULL);
    struct tm utc;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    table_row(t);
    table_string(t, b->machine.host);
    table_string(t, b->machine.cpu);
    table_string(t, text);
    table_int(t, thread_pool_n_threads(b->ctx.pool));
    table_string(t, b->kernels.name);
    table_string(t, info->name);
    table_string(t, info->types ? dtype_info(c->dtype)->name : NULL);
    snprintf(text, sizeof text, "%ux%u", c->d_out, c->d_in);
    table_string(t, info->shapes ? text : NULL);
    table_int(t, c->n_tokens);
    table_int(t, c->n_depth);
}

static void add_row(struct bench *b, const struct kernel_work *work) {
    static const char *const bounds[] = {NULL, "memory", "integers", "floats"};
    const struct kernel_bench_result *r = b->result;
    struct table *t = &b->table;
    struct text samples = {0};
    char text[64];
    add_case(b, &work->what);
    for (uint32_t i = 0; i < r->n_samples; i++)
        text_printf(&samples, "%s%.0f", i ? "," : "[", r->seconds[i] * 1e9);
    text_add_char(&samples, ']');
    table_both(t, "", text_str(&samples));
    text_free(&samples);
    format_time(r->median, text);
    add_number(t, r->median * 1e9, text);
    snprintf(text, sizeof text, "%.0f %%", r->spread * 100);
    add_number(t, r->spread, text);
    double bytes = work->cold_bytes > 0 ? work->cold_bytes : work->warm_bytes;
    table_double(t, bytes, 0);
    add_rate(t, bytes, r->median);
    table_double(t, work->operations, 0);
    add_rate(t, work->operations, r->median);
    table_double(t, r->read_bytes_per_s, 0);
    add_number(t, b->peak.integers > 0 ? b->peak.integers : NAN, "");
    add_number(t, b->peak.floats > 0 ? b->peak.floats : NAN, "");
    table_string(t, bounds[r->bound]);
    snprintf(text, sizeof text, "%.2f", r->fraction);
    add_number(t, r->fraction, text);
    snprintf(text, sizeof text, "%.1e", r->error);
    add_number(t, r->error, text);
}

static enum status run_case(struct bench *b, const struct kernel_case *what, struct error *err) {
    uint32_t n = (uint32_t)options_int(b->cli->options, OPT_REPETITIONS);
    struct kernel_work work;
    struct kernel_work_options options = {
        .what = *what, .kernels = &b->kernels, .ctx = &b->ctx, .cold = &b->cold};
    TRY(kernel_work_open(&work, &options, err));
    struct kernel_bench_options run = {
        .work = &work,
        .reference = &b->reference,
        .peak = &b->peak,
        .reader = b->reader,
        .n_repetitions = n < KERNEL_BENCH_REPETITIONS_MIN ? KERNEL_BENCH_REPETITIONS_MIN : n};
    enum status status = kernel_bench_run(&run, b->result, err);
    if (status == OK)
        add_row(b, &work);
    kernel_work_close(&work);
    return status;
}

/* Counts the cases of all operations, or runs them. */
static enum status each_case(struct bench *b, bool run, struct error *err) {
    b->n_cases = run ? b->n_cases : 0;
    for (enum kernel_op op = 0; op < KERNEL_N_OPS; op++) {
        struct wanted w;
        if (!b->wanted.ops[op])
            continue;
        TRY(lists_of(b, op, &w, err));
        for (enum dtype type = 0; type < DTYPE_N_COMPUTE; type++) {
            bool typed = kernel_op_info(op)->types != NULL;
            if (typed ? !w.types[type] || !kernel_op_takes(op, type) : type != 0)
                continue;
            for (uint32_t i = 0; i < w.n_shapes * w.n_tokens * w.n_depths; i++) {
                uint32_t depth = i % w.n_depths, tokens = i / w.n_depths % w.n_tokens;
                const int64_t *shape = w.shapes[i / w.n_depths / w.n_tokens];
                bool shaped = kernel_op_info(op)->shapes != NULL;
                struct kernel_case c = {.op = op,
                                        .dtype = type,
                                        .d_out = shaped ? (uint32_t)shape[0] : 0,
                                        .d_in = shaped ? (uint32_t)shape[1] : 0,
                                        .n_tokens = (uint32_t)w.tokens[tokens],
                                        .n_depth = (uint32_t)w.depths[depth]};
                if (!run) {
                    b->n_cases++;
                    continue;
                }
                TRY(run_case(b, &c, err));
                progress_update(&b->bar, ++b->n_done);
            }
        }
    }
    return OK;
}

static enum status open_machine(struct bench *b, struct error *err) {
    const struct options *o = b->cli->options;
    const char *name = options_string(o, OPT_KERNELS);
    int64_t n_threads = options_int(o, OPT_THREADS);
    struct thread_pool_options threads = {.n_threads =
                                              n_threads ? (uint32_t)n_threads : cpu_count()};
    TRY(kernels_init(&b->kernels, name ? name : "auto", err));
    TRY(kernels_init(&b->reference, "ref", err));
    TRY(thread_pool_open(&b->ctx.pool, &threads, err));
    b->ctx.scratch = arena_alloc(&b->arena, (size_t)threads.n_threads * KERNEL_SCRATCH_BYTES);
    b->result = arena_alloc(&b->arena, sizeof *b->result);
    if (!b->ctx.scratch || !b->result)
        return error_set(err, ERR_NOMEM, "no memory for the scratch of %u threads",
                         threads.n_threads);
    TRY(read_bandwidth_open(&b->reader, b->ctx.pool, err));
    b->peak = compute_peak_measure(b->ctx.pool, b->kernels.name);
    bench_machine_read(&b->machine);
    return OK;
}

int bench_kernel(struct cli *cli) {
    struct bench b = {.cli = cli};
    struct error err;
    const char *ops = options_string(cli->options, OPT_BENCH_OP);
    for (enum kernel_op op = 0; op < KERNEL_N_OPS; op++)
        b.wanted.ops[op] = !ops;
    enum status status = read_ops(ops, &b.wanted, &err);
    if (status == OK)
        status = each_case(&b, false, &err);
    if (status == OK && b.n_cases == 0)
        status = error_set(&err, ERR_INPUT, "bench kernel: no operation of --op has a --type");
    if (status != OK)
        return cli_fail(cli, DURING_USAGE, &err);
    int code = CLI_OK;
    enum cli_phase phase = DURING_LOAD;
    table_open(&b.table, cli->out, table_format_of(cli), columns,
               sizeof columns / sizeof columns[0]);
    status = open_machine(&b, &err);
    if (status == OK) {
        phase = DURING_WORK;
        progress_begin(&b.bar, cli, "Kernels", b.n_cases, PROGRESS_ITEMS);
        status = each_case(&b, true, &err);
        progress_end(&b.bar);
    }
    if (status != OK)
        code = cli_fail(cli, status == ERR_INPUT ? DURING_USAGE : phase, &err);
    status = table_close(&b.table, &err); /* also what was measured before an error */
    if (status != OK && code == CLI_OK)
        code = cli_fail(cli, DURING_WORK, &err);
    read_bandwidth_close(b.reader);
    cold_memory_free(&b.cold);
    thread_pool_close(b.ctx.pool);
    arena_free(&b.arena);
    return cli_finish(cli, code);
}
