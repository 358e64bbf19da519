/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench model`: every combination of the lists, one row each. The read bandwidth is measured
 * around each repetition with the same threads, so that a row can say how near the ceiling it is
 * even where the ceiling moves. */
#include "cli/bench.h"

#include "base/json.h"
#include "bench/median.h"
#include "bench/model_bench.h"
#include "bench/read_bandwidth.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/worker_group.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIST_MAX 64u

struct list {
    int64_t items[LIST_MAX];
    uint32_t n;
};

struct bench {
    struct cli *cli;
    struct model model;
    struct text path;
    struct table table;
    struct list prompts, gens, depths, batches, parallels;
    struct model_bench_result *result;
    struct read_bandwidth *reader; /* of the open engine */
    uint32_t ctx_size, n_seqs_max;
    enum cli_phase phase; /* in which an error comes */
    struct bench_machine machine;
};

static const struct table_column columns[] = {
    {"host", NULL, false},
    {"cpu_info", NULL, false},
    {"model_path", NULL, false},
    {"model_type", "model", false},
    {"model_size", "size", true},
    {"model_n_params", "params", true},
    {"threads", "threads", true},
    {"workers", NULL, true},
    {"kernels", "kernels", false},
    {"kv_dtype", NULL, false},
    {"n_batch", NULL, true},
    {"n_ubatch", NULL, true},
    {"n_seqs", "seqs", true},
    {"test", "test", false},
    {"n_prompt", NULL, true},
    {"n_gen", NULL, true},
    {"n_depth", NULL, true},
    {"test_time", NULL, false},
    {"samples_ns", NULL, false},
    {"samples_ts", NULL, false},
    {"avg_ts", "t/s", true},
    {"stddev_ts", NULL, true},
    {"median_ts", "median", true},
    {"bytes_per_token", "read/token", true},
    {"samples_read_bytes_per_s", NULL, false},
    {"read_bytes_per_s", NULL, true},
    {"read_fraction", "of read bandwidth", true},
    {"ranks", NULL, false},
};

static enum status read_list(const struct cli *cli, enum option_id id, int64_t max,
                             struct list *list, struct error *err) {
    const char *text = options_string(cli->options, id);
    list->n = 0;
    if (!text)
        return OK;
    enum status status = option_list_parse(text, 0, max, list->items, LIST_MAX, &list->n, err);
    if (status != OK)
        error_wrap(err, "--%s", option_row(id)->name);
    return status;
}

static int64_t largest(const struct list *list) {
    int64_t max = 0;
    for (uint32_t i = 0; i < list->n; i++)
        max = list->items[i] > max ? list->items[i] : max;
    return max;
}

static enum status read_prompt_gen(const char *text, int64_t pair[2], struct error *err) {
    uint32_t n;
    TRY(option_list_parse(text, 1, 1 << 24, pair, 2, &n, err));
    if (n != 2)
        return error_set(err, ERR_INPUT,
                         "--prompt-gen: '%s' must be two counts, for example "
                         "512,128",
                         text);
    return OK;
}

static enum status read_lists(struct bench *b, struct error *err) {
    const struct cli *cli = b->cli;
    const int64_t max = 1 << 24;
    TRY(read_list(cli, OPT_BENCH_PROMPT, max, &b->prompts, err));
    TRY(read_list(cli, OPT_BENCH_GEN, max, &b->gens, err));
    TRY(read_list(cli, OPT_BENCH_DEPTH, max, &b->depths, err));
    TRY(read_list(cli, OPT_BENCH_BATCH, ENGINE_STEP_TOKENS_MAX, &b->batches, err));
    TRY(read_list(cli, OPT_BENCH_PARALLEL, ENGINE_SEQS_MAX, &b->parallels, err));
    if (b->batches.n == 0)
        b->batches = (struct list){.n = 1}; /* 0: the default */
    for (uint32_t i = 0; i < b->parallels.n; i++) {
        if (b->parallels.items[i] == 0)
            return error_set(err, ERR_INPUT, "--parallel: at least 1 sequence");
    }
    int64_t tokens = largest(&b->prompts), gen = largest(&b->gens);
    tokens = gen > tokens ? gen : tokens;
    for (uint32_t i = 0; i < options_n_items(cli->options, OPT_BENCH_PROMPT_GEN); i++) {
        int64_t pair[2];
        TRY(read_prompt_gen(options_item(cli->options, OPT_BENCH_PROMPT_GEN, i), pair, err));
        tokens = pair[0] + pair[1] > tokens ? pair[0] + pair[1] : tokens;
    }
    b->ctx_size = (uint32_t)(tokens + largest(&b->depths));
    b->n_seqs_max = (uint32_t)largest(&b->parallels);
    return OK;
}

static uint64_t count_params(const struct model *model) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < model->gguf.n_tensors; i++) {
        const struct tensor *t = &model->gguf.tensors[i].tensor;
        n += t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
    }
    return n;
}

struct speed {
    double median, mean, stddev; /* tokens per second */
    double read_bytes_per_s;     /* the median of the readings; NAN: there are none */
    struct text samples_ns, samples_ts, samples_read;
};

static void compute_speed(struct model_bench_result *r, struct speed *speed) {
    double *ts = calloc(r->n_samples, sizeof *ts);
    *speed = (struct speed){0};
    for (uint32_t i = 0; ts && i < r->n_samples; i++) {
        ts[i] = (double)r->n_tokens / r->seconds[i];
        speed->mean += ts[i] / r->n_samples;
        text_printf(&speed->samples_ns, "%s%.0f", i ? "," : "[", r->seconds[i] * 1e9);
        text_printf(&speed->samples_ts, "%s%.4f", i ? "," : "[", ts[i]);
    }
    text_add_char(&speed->samples_ns, ']');
    text_add_char(&speed->samples_ts, ']');
    for (uint32_t i = 0; ts && i < r->n_samples; i++)
        speed->stddev += (ts[i] - speed->mean) * (ts[i] - speed->mean);
    speed->stddev = r->n_samples > 1 ? sqrt(speed->stddev / (r->n_samples - 1)) : 0;
    if (ts && r->n_samples > 0)
        speed->median = median(ts, r->n_samples);
    free(ts);
    text_add_char(&speed->samples_read, '[');
    for (uint32_t i = 0; i < r->n_readings; i++)
        text_printf(&speed->samples_read, "%s%.0f", i ? "," : "", r->read_bytes_per_s[i]);
    text_add_char(&speed->samples_read, ']');
    speed->read_bytes_per_s = NAN;
    if (r->n_readings > 0)
        speed->read_bytes_per_s = median(r->read_bytes_per_s, r->n_readings);
}

static void add_both(struct table *t, const char *people, double json) {
    struct text number = {0};
    json_add_double(&number, json);
    table_both(t, people, text_str(&number));
    text_free(&number);
}

/* Of all repetitions together. */
static void add_ranks(struct table *t, const struct model_bench_result *r) {
    struct text json = {0};
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        const struct engine_rank_report *rank = &r->ranks[i];
        const struct exchange_counts *exchange = &rank->exchange;
        const struct {
            const char *name;
            uint64_t value;
        } members[] = {
            {"rank", i},
            {"weight_bytes", rank->traffic.weight_bytes},
            {"state_bytes", rank->traffic.state_bytes},
            {"kv_bytes", rank->traffic.kv_bytes},
            {"expert_rows", rank->traffic.expert_rows},
            {"node_bytes", exchange->node_bytes},
            {"return_bytes", exchange->return_bytes},
            {"run_ns", rank->run_ns},
            {"sum_ns", exchange->sum_ns},
            {"dispatch_ns", exchange->dispatch_ns},
            {"combine_ns", exchange->combine_ns},
            {"logits_ns", exchange->logits_ns},
            {"wait_ns", exchange->wait_ns},
        };
        text_add_char(&json, i ? ',' : '[');
        for (size_t m = 0; m < sizeof members / sizeof members[0]; m++)
            text_printf(&json, "%s\"%s\":%llu", m ? "," : "{", members[m].name,
                        (unsigned long long)members[m].value);
        text_add_char(&json, '}');
    }
    text_add_char(&json, ']');
    table_both(t, "", text_str(&json));
    text_free(&json);
}

static void add_row(struct bench *b, const struct engine *engine,
                    const struct model_bench_case *what) {
    struct model_bench_result *r = b->result;
    struct table *t = &b->table;
    struct speed speed;
    char name[64], text[64], when[32];
    time_t now = time(NULL);
    struct tm utc;
    compute_speed(r, &speed);
    model_bench_name(what, name, sizeof name);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));

    table_row(t);
    table_string(t, b->machine.host);
    table_string(t, b->machine.cpu);
    table_string(t, text_str(&b->path));
    table_string(t, arch_name(b->model.hp.arch));
    format_bytes(b->model.weights.bytes, text);
    add_both(t, text, (double)b->model.weights.bytes);
    uint64_t n_params = count_params(&b->model);
    snprintf(text, sizeof text, "%.2f B", (double)n_params * 1e-9);
    add_both(t, text, (double)n_params);
    table_int(t, engine_n_threads(engine));
    table_int(t, b->cli->group ? b->cli->group->group->n_ranks : 1);
    table_string(t, engine_kernels(engine));
    table_string(t, dtype_info(engine_kv_dtype(engine))->name);
    table_int(t, engine_n_step_tokens(engine));
    table_int(t, what->chunk_tokens ? what->chunk_tokens : engine_n_step_tokens(engine));
    table_int(t, what->n_seqs);
    table_string(t, name);
    table_int(t, what->n_prompt);
    table_int(t, what->n_gen);
    table_int(t, what->n_depth);
    table_string(t, when);
    table_both(t, "", text_str(&speed.samples_ns));
    table_both(t, "", text_str(&speed.samples_ts));
    snprintf(text, sizeof text, "%.2f ± %.2f", speed.mean, speed.stddev);
    add_both(t, text, speed.mean);
    table_double(t, speed.stddev, 2);
    table_double(t, speed.median, 2);
    format_bytes((uint64_t)r->bytes_per_token, text);
    add_both(t, text, r->bytes_per_token);
    table_both(t, "", text_str(&speed.samples_read));
    snprintf(text, sizeof text, "%.0f", speed.read_bytes_per_s);
    add_both(t, r->n_readings > 0 ? text : "-", speed.read_bytes_per_s);
    double fraction = r->bytes_per_token * speed.median / speed.read_bytes_per_s;
    snprintf(text, sizeof text, "%.2f of %.1f GB/s", fraction, speed.read_bytes_per_s * 1e-9);
    bool has_fraction = what->n_prompt == 0 && r->n_readings > 0;
    add_both(t, has_fraction ? text : "-", has_fraction ? fraction : NAN);
    add_ranks(t, r);
    text_free(&speed.samples_ns);
    text_free(&speed.samples_ts);
    text_free(&speed.samples_read);
}

static void show_progress(void *user, uint32_t n_done, uint32_t n_all) {
    (void)n_all;
    progress_update(user, n_done);
}

static enum status run_case(struct bench *b, struct engine *engine, struct model_bench_case what,
                            struct error *err) {
    const struct options *o = b->cli->options;
    char name[64];
    model_bench_name(&what, name, sizeof name);
    struct progress bar;
    what.chunk_tokens = (uint32_t)options_int(o, OPT_UBATCH_SIZE);
    struct model_bench_options run = {.what = what,
                                      .n_repetitions = (uint32_t)options_int(o, OPT_REPETITIONS),
                                      .warmup = options_flag(o, OPT_WARMUP),
                                      .random_ids_below = b->model.n_real_ids,
                                      .reader = b->reader,
                                      .progress = show_progress,
                                      .user = &bar};
    progress_begin(&bar, b->cli, name, run.n_repetitions + (run.warmup != 0), PROGRESS_ITEMS);
    enum status status = model_bench_run(engine, &run, b->result, err);
    progress_end(&bar);
    if (status == OK)
        add_row(b, engine, &what);
    return status;
}

/* All tests of one batch size and one number of sequences. */
static enum status run_cases(struct bench *b, struct engine *engine, uint32_t n_seqs,
                             struct error *err) {
    const struct options *o = b->cli->options;
    for (uint32_t d = 0; d < b->depths.n; d++) {
        struct model_bench_case what = {.n_depth = (uint32_t)b->depths.items[d], .n_seqs = n_seqs};
        for (uint32_t i = 0; i < b->prompts.n; i++) {
            what.n_prompt = (uint32_t)b->prompts.items[i];
            if (what.n_prompt)
                TRY(run_case(b, engine, what, err));
        }
        what.n_prompt = 0;
        for (uint32_t i = 0; i < b->gens.n; i++) {
            what.n_gen = (uint32_t)b->gens.items[i];
            if (what.n_gen)
                TRY(run_case(b, engine, what, err));
        }
        for (uint32_t i = 0; i < options_n_items(o, OPT_BENCH_PROMPT_GEN); i++) {
            int64_t pair[2];
            TRY(read_prompt_gen(options_item(o, OPT_BENCH_PROMPT_GEN, i), pair, err));
            what.n_prompt = (uint32_t)pair[0];
            what.n_gen = (uint32_t)pair[1];
            TRY(run_case(b, engine, what, err));
        }
    }
    return OK;
}

static enum status run_batches(struct bench *b, struct error *err) {
    for (uint32_t i = 0; i < b->batches.n; i++) {
        struct engine *engine = NULL;
        struct session_engine_options options = {.n_seqs = b->n_seqs_max,
                                                 .n_step_tokens = (uint32_t)b->batches.items[i],
                                                 .ctx_size = b->ctx_size};
        b->phase = DURING_LOAD;
        TRY(session_open_engine(b->cli, &b->model, &options, &engine, err));
        b->phase = DURING_WORK;
        enum status status = OK;
        uint32_t n_ranks;
        engine_rank_reports(engine, &n_ranks);
        if (n_ranks == 1) /* one rank alone cannot read as fast as all of a group */
            status = read_bandwidth_open(&b->reader, engine_pool(engine), err);
        for (uint32_t p = 0; p < b->parallels.n && status == OK; p++)
            status = run_cases(b, engine, (uint32_t)b->parallels.items[p], err);
        read_bandwidth_close(b->reader);
        b->reader = NULL;
        session_close_engine(b->cli, engine);
        TRY(status);
    }
    return OK;
}

int bench_model(struct cli *cli) {
    struct bench b = {.cli = cli, .phase = DURING_WORK};
    struct error err;
    int code = CLI_OK;
    enum status status = read_lists(&b, &err);
    if (status != OK)
        return cli_fail(cli, DURING_USAGE, &err);
    struct session_model_options options = {0};
    status = session_model_path(cli, &b.path, &err);
    if (status == OK)
        status = session_open_model(cli, &options, &b.model, &err);
    if (status != OK) {
        text_free(&b.path);
        return cli_fail(cli, DURING_LOAD, &err);
    }
    bench_machine_read(&b.machine);
    table_open(&b.table, cli->out, table_format_of(cli), columns,
               sizeof columns / sizeof columns[0]);
    b.result = calloc(1, sizeof *b.result);
    status = b.result ? run_batches(&b, &err) : error_set(&err, ERR_NOMEM, "no memory");
    if (status != OK)
        code = cli_fail(cli, status == ERR_LIMIT ? DURING_LOAD : b.phase, &err);
    status = table_close(&b.table, &err);
    if (status != OK && code == CLI_OK)
        code = cli_fail(cli, DURING_WORK, &err);
    free(b.result);
    model_close(&b.model);
    text_free(&b.path);
    return cli_finish(cli, code);
}
