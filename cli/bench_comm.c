/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench comm`: what the links of a worker group deliver, each pair and the collectives,
 * every value checked. One row per size; alpha and beta are those of the whole row of sizes. */
#include "cli/bench.h"

#include "base/json.h"
#include "cli/table.h"
#include "cli/worker_group.h"
#include "worker/comm/linkbench.h"

#include <math.h>

static const struct table_column columns[] = {
    {"host", NULL, false},
    {"kind", "what", false},
    {"first_rank", NULL, true},
    {"last_rank", NULL, true},
    {NULL, "ranks", false},
    {"between_nodes", NULL, false},
    {NULL, "by", false},
    {"bytes", "size", true},
    {"us", "us", true},
    {"gb_per_s", "GB/s", true},
    {"alpha_us", "alpha us", true},
    {"beta_gb_per_s", "beta GB/s", true},
};

/* What was too slow to be measured, or does not grow, is null for programs. */
static void add_number(struct table *t, double value, int decimals) {
    if (isfinite(value))
        table_double(t, value, decimals);
    else
        table_both(t, "-", "null");
}

static void add_row(struct table *t, const char *host, const struct linkbench_results *results,
                    const struct linkbench_row *row, uint32_t size_idx) {
    uint64_t bytes = results->sizes[size_idx];
    double us = row->us[size_idx];
    char text[64];
    table_row(t);
    table_string(t, host);
    table_string(t, linkbench_kind_name(row->kind));
    table_int(t, row->first);
    table_int(t, row->last);
    snprintf(text, sizeof text, "%u-%u", row->first, row->last);
    table_string(t, text);
    table_both(t, "", row->between_nodes ? "true" : "false");
    table_string(t, row->between_nodes ? "messages" : "shared memory");
    format_bytes(bytes, text);
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)bytes);
    table_both(t, text, digits);
    add_number(t, us, 1);
    add_number(t, (double)bytes / us * 1e-3, 2);
    add_number(t, row->alpha_us, 1);
    add_number(t, row->beta_gb_s, 2);
}

int bench_comm(struct cli *cli) {
    struct error err;
    if (!cli->group) {
        error_set(&err, ERR_INPUT, "bench comm measures a group: --workers 2, or more");
        return cli_fail(cli, DURING_USAGE, &err);
    }
    struct linkbench_results results = {0};
    struct bench_machine machine;
    struct table table;
    bench_machine_read(&machine);
    if (worker_group_measure_links(cli->group, &results, &err) != OK)
        return cli_fail(cli, DURING_WORK, &err);
    table_open(&table, cli->out, table_format_of(cli), columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < results.n_rows; i++) {
        for (uint32_t s = 0; s < results.n_sizes; s++)
            add_row(&table, machine.host, &results, &results.rows[i], s);
    }
    linkbench_results_free(&results);
    int code = CLI_OK;
    if (table_close(&table, &err) != OK)
        code = cli_fail(cli, DURING_WORK, &err);
    return cli_finish(cli, code);
}
