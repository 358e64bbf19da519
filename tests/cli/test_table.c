/* SPDX-License-Identifier: Apache-2.0 */
/* The same rows in every form. */
#include "cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static const struct table_column columns[] = {
    {.key = "name", .title = "name"},
    {.key = "bytes", .title = "size", .right = true},
    {.key = "avg_ts", .title = "t/s", .right = true},
    {.key = "note"},   /* programs only */
    {.title = "look"}, /* people only */
};

/* Two rows with everything that needs quoting somewhere. */
static char *written(enum table_format format) {
    char *bytes = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&bytes, &n);
    assert_non_null(to);
    struct table table;
    struct error err;
    table_open(&table, to, format, columns, 5);
    table_row(&table);
    table_string(&table, "k\xc3\xa4se");
    table_both(&table, "1.00 KiB", "1024");
    table_double(&table, 1.0 / 3, 2);
    table_string(&table, "a,\"b\"\n");
    table_string(&table, "x");
    table_row(&table);
    table_string(&table, "b");
    table_int(&table, -7);
    table_double(&table, 1234.5, 2);
    table_string(&table, NULL);
    table_string(&table, "");
    assert_int_equal(table_close(&table, &err), OK);
    fclose(to);
    return bytes;
}

static void expect(enum table_format format, const char *text) {
    char *bytes = written(format);
    assert_string_equal(bytes, text);
    free(bytes);
}

static void markdown_is_aligned(void **state) {
    (void)state;
    expect(TABLE_MD, "| name |     size |     t/s | look |\n"
                     "| ---- | -------: | ------: | ---- |\n"
                     "| k\xc3\xa4se | 1.00 KiB |    0.33 | x    |\n"
                     "| b    |       -7 | 1234.50 |      |\n");
}

static void terminal_table_has_no_trailing_blanks_in_text(void **state) {
    (void)state;
    expect(TABLE_TERMINAL, "name      size      t/s  look\n"
                           "k\xc3\xa4se  1.00 KiB     0.33  x\n"
                           "b           -7  1234.50  \n");
}

static void csv_quotes_as_rfc_4180_says(void **state) {
    (void)state;
    expect(TABLE_CSV, "name,bytes,avg_ts,note\r\n"
                      "k\xc3\xa4se,1024,0.3333333333333333,\"a,\"\"b\"\"\n\"\r\n"
                      "b,-7,1234.5,\r\n");
}

static void json_keeps_every_digit(void **state) {
    (void)state;
    expect(TABLE_JSON, "[{\"name\":\"k\xc3\xa4se\",\"bytes\":1024,\"avg_ts\":0.3333333333333333,"
                       "\"note\":\"a,\\\"b\\\"\\n\"},\n"
                       " {\"name\":\"b\",\"bytes\":-7,\"avg_ts\":1234.5,\"note\":null}]\n");
    expect(TABLE_JSONL, "{\"name\":\"k\xc3\xa4se\",\"bytes\":1024,\"avg_ts\":0.3333333333333333,"
                        "\"note\":\"a,\\\"b\\\"\\n\"}\n"
                        "{\"name\":\"b\",\"bytes\":-7,\"avg_ts\":1234.5,\"note\":null}\n");
}

static void an_empty_table_is_still_valid(void **state) {
    (void)state;
    static const struct {
        enum table_format format;
        const char *text;
    } cases[] = {
        {TABLE_JSON, "[]\n"}, {TABLE_JSONL, ""}, {TABLE_CSV, "name,bytes,avg_ts,note\r\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *bytes = NULL;
        size_t n = 0;
        FILE *to = open_memstream(&bytes, &n);
        struct table table;
        table_open(&table, to, cases[i].format, columns, 5);
        assert_int_equal(table_close(&table, NULL), OK);
        fclose(to);
        assert_string_equal(bytes, cases[i].text);
        free(bytes);
    }
}

static void bytes_have_three_digits(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {999, "999 B"},
        {1000, "0.98 KiB"},
        {1024, "1.00 KiB"},
        {10239, "10.0 KiB"},
        {1024 * 100 - 1, "100 KiB"},
        {75044036608, "69.9 GiB"},
        {1ull << 50, "1.00 PiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[16];
        format_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    setlocale(LC_CTYPE, "C.UTF-8"); /* column widths */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markdown_is_aligned),
        cmocka_unit_test(terminal_table_has_no_trailing_blanks_in_text),
        cmocka_unit_test(csv_quotes_as_rfc_4180_says),
        cmocka_unit_test(json_keeps_every_digit),
        cmocka_unit_test(an_empty_table_is_still_valid),
        cmocka_unit_test(bytes_have_three_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
