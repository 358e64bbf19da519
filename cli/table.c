/* SPDX-License-Identifier: Apache-2.0 */
/* Rows are kept as pairs of texts, one for people and one for programs, until close knows how wide
 * each column is. */
#include "cli/table.h"

#include "base/json.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct table_cell {
    const char *people, *json;
};

struct table_row {
    struct table_row *next;
    struct table_cell cells[];
};

enum table_format table_format_of(const struct cli *cli) {
    if (options_string(cli->options, OPT_OUTPUT)) {
        static const enum table_format formats[] = {TABLE_MD, TABLE_TERMINAL, TABLE_CSV, TABLE_JSON,
                                                    TABLE_JSONL}; /* as in its row */
        return formats[options_choice(cli->options, OPT_OUTPUT)];
    }
    return cli->terminal.out_is_tty ? TABLE_TERMINAL : TABLE_MD;
}

void table_open(struct table *table, FILE *to, enum table_format format,
                const struct table_column *columns, uint32_t n_columns) {
    assert(n_columns > 0 && n_columns <= TABLE_COLUMNS_MAX);
    *table = (struct table){
        .to = to, .format = format, .columns = columns, .n_columns = n_columns, .next = n_columns};
}

void table_row(struct table *table) {
    assert(table->next == table->n_columns);
    struct table_row *row =
        arena_alloc(&table->arena, sizeof *row + table->n_columns * sizeof row->cells[0]);
    if (!row) {
        table->failed = true;
        return;
    }
    if (table->last)
        table->last->next = row;
    else
        table->first = row;
    table->last = row;
    table->next = 0;
}

void table_both(struct table *table, const char *people, const char *json) {
    if (table->failed)
        return;
    assert(table->next < table->n_columns);
    struct table_cell *cell = &table->last->cells[table->next++];
    cell->people = arena_dup(&table->arena, span_of(people));
    cell->json = arena_dup(&table->arena, span_of(json));
    table->failed = !cell->people || !cell->json;
}

void table_string(struct table *table, const char *value) {
    struct text json = {0};
    if (value)
        json_add_string(&json, span_of(value));
    else
        text_add_str(&json, "null");
    table_both(table, value ? value : "", text_str(&json));
    table->failed |= json.failed;
    text_free(&json);
}

void table_int(struct table *table, int64_t value) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    table_both(table, digits, digits);
}

void table_double(struct table *table, double value, int decimals) {
    char rounded[64];
    struct text json = {0};
    snprintf(rounded, sizeof rounded, "%.*f", decimals, value);
    json_add_double(&json, value);
    table_both(table, rounded, text_str(&json));
    table->failed |= json.failed;
    text_free(&json);
}

/* RFC 4180: quotes around what holds a comma, a quote or a line end. JSON strings lose their JSON
 * quoting first, so that a plain name stays plain: people's text is that form. */
static void csv_field(FILE *to, const struct table_cell *cell) {
    const char *text = cell->json[0] == '"' ? cell->people : cell->json;
    if (strcmp(text, "null") == 0)
        text = "";
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, to);
        return;
    }
    fputc('"', to);
    for (const char *c = text; *c; c++) {
        if (*c == '"')
            fputc('"', to);
        fputc(*c, to);
    }
    fputc('"', to);
}

static void write_csv(const struct table *table) {
    const char *separator = "";
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (!table->columns[i].key)
            continue;
        fprintf(table->to, "%s%s", separator, table->columns[i].key);
        separator = ",";
    }
    fputs("\r\n", table->to);
    for (const struct table_row *row = table->first; row; row = row->next) {
        separator = "";
        for (uint32_t i = 0; i < table->n_columns; i++) {
            if (!table->columns[i].key)
                continue;
            fputs(separator, table->to);
            csv_field(table->to, &row->cells[i]);
            separator = ",";
        }
        fputs("\r\n", table->to);
    }
}

static void write_json(const struct table *table) {
    bool lines = table->format == TABLE_JSONL;
    fputs(lines ? "" : "[", table->to);
    for (const struct table_row *row = table->first; row; row = row->next) {
        const char *separator = "{";
        fputs(lines || row == table->first ? "" : ",\n ", table->to);
        for (uint32_t i = 0; i < table->n_columns; i++) {
            if (!table->columns[i].key)
                continue;
            fprintf(table->to, "%s\"%s\":%s", separator, table->columns[i].key, row->cells[i].json);
            separator = ",";
        }
        fputs(lines ? "}\n" : "}", table->to);
    }
    fputs(lines ? "" : "]\n", table->to);
}

static void pad(FILE *to, uint32_t n, char c) {
    while (n-- > 0)
        fputc(c, to);
}

/* One cell with its blanks; the last left-aligned column of a terminal table has none behind it. */
static void write_cell(const struct table *table, uint32_t column, const char *text, uint32_t width,
                       bool is_last) {
    uint32_t blanks = width - terminal_text_width(text);
    bool right = table->columns[column].right;
    pad(table->to, right ? blanks : 0, ' ');
    terminal_write(table->to, span_of(text)); /* names come from files */
    pad(table->to, right || (is_last && table->format == TABLE_TERMINAL) ? 0 : blanks, ' ');
}

/* `row` NULL: the titles. */
static void write_line(const struct table *table, const struct table_row *row,
                       const uint32_t *widths) {
    bool md = table->format == TABLE_MD;
    uint32_t last = table->n_columns;
    while (last > 0 && !table->columns[last - 1].title)
        last--;
    const char *separator = md ? "| " : "";
    for (uint32_t i = 0; i < last; i++) {
        if (!table->columns[i].title)
            continue;
        fputs(separator, table->to);
        write_cell(table, i, row ? row->cells[i].people : table->columns[i].title, widths[i],
                   i + 1 == last);
        separator = md ? " | " : "  ";
    }
    fputs(md ? " |\n" : "\n", table->to);
}

static void write_rule(const struct table *table, const uint32_t *widths) {
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (!table->columns[i].title)
            continue;
        fputs("| ", table->to);
        pad(table->to, widths[i] - 1, '-');
        fputs(table->columns[i].right ? ": " : "- ", table->to);
    }
    fputs("|\n", table->to);
}

static void write_for_people(const struct table *table) {
    uint32_t widths[TABLE_COLUMNS_MAX] = {0};
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (!table->columns[i].title)
            continue;
        widths[i] = terminal_text_width(table->columns[i].title);
        for (const struct table_row *row = table->first; row; row = row->next) {
            uint32_t width = terminal_text_width(row->cells[i].people);
            widths[i] = width > widths[i] ? width : widths[i];
        }
        if (widths[i] == 0)
            widths[i] = 1;
    }
    write_line(table, NULL, widths);
    if (table->format == TABLE_MD)
        write_rule(table, widths);
    for (const struct table_row *row = table->first; row; row = row->next)
        write_line(table, row, widths);
}

enum status table_close(struct table *table, struct error *err) {
    enum status status = OK;
    assert(table->next == table->n_columns || table->failed);
    if (table->failed)
        status = error_set(err, ERR_NOMEM, "no memory for the table");
    else if (table->format == TABLE_CSV)
        write_csv(table);
    else if (table->format == TABLE_JSON || table->format == TABLE_JSONL)
        write_json(table);
    else
        write_for_people(table);
    arena_free(&table->arena);
    *table = (struct table){0};
    return status;
}

void format_bytes(uint64_t bytes, char out[16]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(out, 16, "%.*f %s", decimals, value, units[unit]);
}
