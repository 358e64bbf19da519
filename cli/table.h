/* SPDX-License-Identifier: Apache-2.0 */
/* Results in rows: the same cells as a table for the terminal, Markdown, CSV (RFC 4180), a JSON
 * array, or JSON lines. Keys are stable and never localised; numbers that a person reads may be
 * rounded, numbers that a program reads are not. */
#ifndef SHOAL_CLI_TABLE_H
#define SHOAL_CLI_TABLE_H

#include "base/arena.h"
#include "base/error.h"
#include "cli/command.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 64

enum table_format { TABLE_MD, TABLE_TERMINAL, TABLE_CSV, TABLE_JSON, TABLE_JSONL };

/* The word of --output; unset: a table on a terminal, Markdown otherwise. */
enum table_format table_format_of(const struct cli *cli);

struct table_column {
    const char *key;   /* in CSV and JSON; NULL: people only */
    const char *title; /* in tables and Markdown; NULL: programs only */
    bool right;        /* numbers */
};

struct table {
    FILE *to; /* borrowed */
    enum table_format format;
    const struct table_column *columns; /* borrowed */
    uint32_t n_columns;
    struct table_row *first, *last; /* kept until close: widths come from all rows */
    uint32_t next;                  /* column of the next cell */
    bool failed;                    /* memory was gone */
    struct arena arena;
};

void table_open(struct table *table, FILE *to, enum table_format format,
                const struct table_column *columns, uint32_t n_columns);

/* The cells of a row from left to right, as many as there are columns (asserted). */
void table_row(struct table *table);
void table_string(struct table *table, const char *value); /* copied; NULL: null */
void table_int(struct table *table, int64_t value);
void table_double(struct table *table, double value, int decimals); /* decimals for people */
/* One text for people and one piece of JSON (in CSV: as it stands) for programs; copied. */
void table_both(struct table *table, const char *people, const char *json);

/* Writes everything and frees the rows. ERR_NOMEM; output errors are left to cli_finish. */
enum status table_close(struct table *table, struct error *err);

/* "15.9 GiB", "640 B": three digits, binary units. */
void format_bytes(uint64_t bytes, char out[16]);

#endif
