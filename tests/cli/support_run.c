/* SPDX-License-Identifier: Apache-2.0 */
/* Both streams go to memory. */
#include "support_run.h"

#include "base/json.h"
#include "cli/command.h"
#include "support_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run run_line(const char *line) {
    struct support_options s;
    struct run run = {0};
    assert_int_equal(support_read(&s, line, NULL), OK);
    FILE *out = open_memstream(&run.out, &run.out_len);
    FILE *err = open_memstream(&run.err, &run.err_len);
    assert_true(out && err);
    struct cli cli = {.command = command_row(s.options.command),
                      .options = &s.options,
                      .log = {.to = err},
                      .out = out,
                      .err = err};
    run.code = cli.command->run(&cli);
    fclose(out);
    fclose(err);
    support_free(&s);
    return run;
}

void run_free(struct run *run) {
    free(run->out);
    free(run->err);
    *run = (struct run){0};
}

void expect_text(const char *line, int code, const char *const *texts) {
    struct run run = run_line(line);
    assert_int_equal(run.code, code);
    for (; *texts; texts++) {
        if (!strstr(run.out, *texts) && !strstr(run.err, *texts))
            fail_msg("'%s' is not in:\n%s%s", *texts, run.out, run.err);
    }
    run_free(&run);
}

struct json_object *run_json(const char *line, int code) {
    struct run run = run_line(line);
    struct json_object *root = NULL;
    struct error err = {0};
    assert_int_equal(run.code, code);
    if (json_parse(span_make(run.out, run.out_len), &root, &err))
        fail_msg("%s", err.text);
    run_free(&run);
    return root;
}
