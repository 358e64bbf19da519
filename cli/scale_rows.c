/* SPDX-License-Identifier: Apache-2.0 */
/* A child is another process, and its text is checked like anybody's. */
#include "cli/scale_rows.h"

#include "base/json.h"
#include "cli/table.h"

#include <math.h>
#include <stdlib.h>

/* ---- what a group says ---- */

/* A count that must be there. */
static enum status read_count(struct json_object *object, const char *key, uint64_t *out,
                              struct error *err) {
    int64_t n = -1;
    TRY(json_get_int(object, key, 0, INT64_MAX, &n, err));
    if (n < 0)
        return error_set(err, ERR_INPUT, "%s: it is missing", key);
    *out = (uint64_t)n;
    return OK;
}

static enum status read_string(struct scale_runs *runs, struct json_object *row, const char *key,
                               const char **out, struct error *err) {
    struct span value = {0};
    TRY(json_get_string(row, key, &value, err));
    *out = arena_dup(&runs->arena, value);
    return *out ? OK : error_set(err, ERR_NOMEM, "no memory");
}

static enum status read_subject(struct scale_runs *runs, struct json_object *row,
                                struct error *err) {
    struct scale_subject *s = &runs->subject;
    uint64_t n_threads;
    TRY(read_string(runs, row, "host", &s->host, err));
    TRY(read_string(runs, row, "cpu_info", &s->cpu, err));
    TRY(read_string(runs, row, "model_path", &s->model_path, err));
    TRY(read_string(runs, row, "model_type", &s->model_type, err));
    TRY(read_string(runs, row, "kernels", &s->kernels, err));
    TRY(read_count(row, "model_size", &s->model_bytes, err));
    TRY(read_count(row, "threads", &n_threads, err));
    s->n_threads = (uint32_t)n_threads;
    return OK;
}

static enum status read_rank(struct json_object *rank, struct engine_rank_report *report,
                             struct error *err) {
    struct traffic *traffic = &report->traffic;
    struct exchange_counts *exchange = &report->exchange;
    const struct {
        const char *key;
        uint64_t *to;
    } members[] = {
        {"weight_bytes", &traffic->weight_bytes},
        {"state_bytes", &traffic->state_bytes},
        {"kv_bytes", &traffic->kv_bytes},
        {"expert_rows", &traffic->expert_rows},
        {"node_bytes", &exchange->node_bytes},
        {"return_bytes", &exchange->return_bytes},
        {"run_ns", &report->run_ns},
        {"sum_ns", &exchange->sum_ns},
        {"dispatch_ns", &exchange->dispatch_ns},
        {"combine_ns", &exchange->combine_ns},
        {"logits_ns", &exchange->logits_ns},
        {"wait_ns", &exchange->wait_ns},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        TRY(read_count(rank, members[i].key, members[i].to, err));
    return OK;
}

static enum status read_ranks(struct json_object *row, struct engine_rank_report *reports,
                              uint32_t n_ranks, struct error *err) {
    struct json_object *ranks = NULL;
    TRY(json_get_array(row, "ranks", &ranks, err));
    size_t n = ranks ? json_object_array_length(ranks) : 0;
    if (n != n_ranks)
        return error_set(err, ERR_INPUT, "ranks: %zu instead of %u", n, n_ranks);
    for (uint32_t i = 0; i < n_ranks; i++) {
        struct json_object *rank = json_object_array_get_idx(ranks, i);
        if (!json_object_is_type(rank, json_type_object))
            return error_set(err, ERR_INPUT, "ranks: %u is no object", i);
        TRY(read_rank(rank, &reports[i], err));
    }
    return OK;
}

static enum status read_seconds(struct json_object *row, double *seconds, struct error *err) {
    struct json_object *samples = NULL;
    TRY(json_get_array(row, "samples_ns", &samples, err));
    size_t n = samples ? json_object_array_length(samples) : 0;
    *seconds = n ? json_object_get_double(json_object_array_get_idx(samples, 0)) * 1e-9 : 0;
    if (n != 1 || !(*seconds > 0))
        return error_set(err, ERR_INPUT, "samples_ns: not one time above 0");
    return OK;
}

static enum status read_test(struct json_object *row, struct model_bench_case *test,
                             struct error *err) {
    uint64_t n_prompt, n_gen, n_depth, n_seqs;
    TRY(read_count(row, "n_prompt", &n_prompt, err));
    TRY(read_count(row, "n_gen", &n_gen, err));
    TRY(read_count(row, "n_depth", &n_depth, err));
    TRY(read_count(row, "n_seqs", &n_seqs, err));
    *test = (struct model_bench_case){.n_prompt = (uint32_t)n_prompt,
                                      .n_gen = (uint32_t)n_gen,
                                      .n_depth = (uint32_t)n_depth,
                                      .n_seqs = (uint32_t)n_seqs};
    return OK;
}

static enum status read_run(struct json_object *row, const struct scale_group *group,
                            struct engine_rank_report *reports, struct scale_run *run,
                            struct error *err) {
    struct scale_observed o = {.ranks = reports, .read_bytes_per_s = group->read_bytes_per_s};
    *run = (struct scale_run){.n_ranks = group->n_ranks, .round = group->round};
    TRY(read_test(row, &run->test, err));
    TRY(read_seconds(row, &o.seconds, err));
    TRY(read_ranks(row, reports, group->n_ranks, err));
    o.n_tokens = (uint64_t)run->test.n_seqs * (run->test.n_prompt + run->test.n_gen);
    scale_run_evaluate(run, &o);
    return OK;
}

static enum status reserve(struct scale_runs *runs, size_t n_more, struct error *err) {
    size_t wanted = runs->n + n_more;
    if (wanted <= runs->room)
        return OK;
    struct scale_run *items = realloc(runs->items, 2 * wanted * sizeof *items);
    if (!items)
        return error_set(err, ERR_NOMEM, "no memory for %zu runs", 2 * wanted);
    runs->items = items;
    runs->room = (uint32_t)(2 * wanted);
    return OK;
}

static enum status read_rows(struct scale_runs *runs, const struct scale_group *group,
                             struct json_object *rows, struct error *err) {
    if (!json_object_is_type(rows, json_type_array))
        return error_set(err, ERR_INPUT, "its output is no array");
    size_t n = json_object_array_length(rows);
    TRY(reserve(runs, n, err));
    struct engine_rank_report *reports = calloc(group->n_ranks, sizeof *reports);
    enum status status = reports ? OK : error_set(err, ERR_NOMEM, "no memory");
    for (size_t i = 0; i < n && status == OK; i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        if (!json_object_is_type(row, json_type_object))
            status = error_set(err, ERR_INPUT, "row %zu is no object", i);
        if (status == OK && !runs->subject.host)
            status = read_subject(runs, row, err);
        if (status == OK)
            status = read_run(row, group, reports, &runs->items[runs->n], err);
        runs->n += status == OK;
    }
    free(reports);
    return status;
}

enum status scale_rows_read(struct scale_runs *runs, const struct scale_group *group,
                            struct span json, struct error *err) {
    struct json_object *rows = NULL;
    enum status status = json_parse(json, &rows, err);
    if (status == OK)
        status = read_rows(runs, group, rows, err);
    json_object_put(rows);
    if (status != OK)
        error_wrap(err, "what the group of %u reports", group->n_ranks);
    return status;
}

/* ---- what we say ---- */

static const struct table_column columns[] = {
    {"host", NULL, false},
    {"cpu_info", NULL, false},
    {"model_path", NULL, false},
    {"model_type", NULL, false},
    {"model_size", NULL, true},
    {"kernels", NULL, false},
    {"threads", NULL, true},
    {"scaling", "scaling", false},
    {"test", "test", false},
    {"n_prompt", NULL, true},
    {"n_gen", NULL, true},
    {"n_depth", NULL, true},
    {"n_seqs", "seqs", true},
    {"workers", "workers", true},
    {"nodes", NULL, true},
    {"attention_groups", NULL, true},
    {"ep_exchange", NULL, false},
    {"samples_ts", NULL, false},
    {"median_ts", "t/s", true},
    {"speedup", "speed-up", true},
    {"efficiency", "efficiency", true},
    {"compute_share", "compute", true},
    {"sum_share", "sums", true},
    {"dispatch_share", "dispatch", true},
    {"combine_share", "combine", true},
    {"logits_share", "logits", true},
    {"wait_share", "waiting", true},
    {"host_share", "host", true},
    {"expert_load", "expert load", true},
    {"bytes_per_token", "read/token", true},
    {"node_bytes_per_token", "sent/token", true},
    {"read_bytes_per_s", NULL, true},
    {"predicted_ts", "predicted", true},
    {"prediction_error", "error", true},
};

/* What is not known is null for programs. */
static void add_number(struct table *t, double value, int decimals) {
    if (isfinite(value))
        table_double(t, value, decimals);
    else
        table_both(t, "-", "null");
}

static void add_with_text(struct table *t, double value, const char *people) {
    struct text json = {0};
    json_add_double(&json, value);
    table_both(t, isfinite(value) ? people : "-", text_str(&json));
    text_free(&json);
}

static void add_share(struct table *t, double share) {
    char text[32];
    snprintf(text, sizeof text, "%.1f %%", 100 * share);
    add_with_text(t, share, text);
}

static void add_deviation(struct table *t, double deviation) {
    char text[32];
    snprintf(text, sizeof text, "%+.0f %%", 100 * deviation);
    add_with_text(t, deviation, text);
}

static void add_bytes(struct table *t, double bytes) {
    char text[16];
    format_bytes((uint64_t)bytes, text);
    add_with_text(t, bytes, text);
}

static void add_samples(struct table *t, const struct scale_point *p) {
    struct text json = {0};
    for (uint32_t i = 0; i < p->n_rounds; i++)
        text_printf(&json, "%s%.4f", i ? "," : "[", p->samples[i]);
    text_add_char(&json, ']');
    table_both(t, "", text_str(&json));
    text_free(&json);
}

/* Of the layout: null what was not asked for. */
static void add_layout(struct table *t, const struct options *o) {
    static const enum option_id counts[] = {OPT_NODES, OPT_ATTENTION_GROUPS};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (options_int(o, counts[i]) > 0)
            table_int(t, options_int(o, counts[i]));
        else
            table_both(t, "", "null");
    }
    table_string(t, options_string(o, OPT_EP_EXCHANGE));
}

static void add_row(struct table *t, const struct options *o, const struct scale_subject *subject,
                    const struct scale_series *series, const struct scale_point *p) {
    char name[64];
    model_bench_name(&series->test, name, sizeof name);
    table_row(t);
    table_string(t, subject->host);
    table_string(t, subject->cpu);
    table_string(t, subject->model_path);
    table_string(t, subject->model_type);
    table_int(t, (int64_t)subject->model_bytes);
    table_string(t, subject->kernels);
    table_int(t, subject->n_threads);
    table_string(t, series->is_weak ? "weak" : "strong");
    table_string(t, name);
    table_int(t, series->test.n_prompt);
    table_int(t, series->test.n_gen);
    table_int(t, series->test.n_depth);
    table_int(t, p->n_seqs);
    table_int(t, p->n_ranks);
    add_layout(t, o);
    add_samples(t, p);
    add_number(t, p->tokens_per_s, 2);
    add_number(t, p->speedup, 2);
    add_number(t, p->efficiency, 2);
    for (int part = 0; part < SCALE_PARTS_N; part++)
        add_share(t, p->shares[part]);
    add_number(t, p->expert_load, 2);
    add_bytes(t, p->bytes_per_token);
    add_bytes(t, p->sent_bytes_per_token);
    add_number(t, p->read_bytes_per_s, 0);
    add_number(t, p->predicted_tokens_per_s, 2);
    add_deviation(t, p->prediction_error);
}

enum status scale_rows_write(struct cli *cli, const struct scale_subject *subject,
                             const struct scale_series *const *series, uint32_t n_series,
                             struct error *err) {
    struct table table;
    table_open(&table, cli->out, table_format_of(cli), columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < n_series; i++) {
        for (uint32_t k = 0; k < series[i]->n_points; k++)
            add_row(&table, cli->options, subject, series[i], &series[i]->points[k]);
    }
    return table_close(&table, err);
}
