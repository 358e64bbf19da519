/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON object per line in, one per line out, in order, flushed: the contract of `tokenize`,
 * `render`, `score` and the like with scripts.
 *
 * A bad line is answered with {"id":...,"error":{"line":3,"field":"messages[0].role",
 * "message":"..."}} and the run goes on; its exit status is then 1. Blank lines are skipped. One
 * owner thread. */
#ifndef SHOAL_CLI_JSONL_H
#define SHOAL_CLI_JSONL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"

#define JSONL_LINE_MAX JSON_BYTES_MAX /* bytes of a line; a longer one is refused and skipped */

struct jsonl {
    struct cli *cli;
    struct text buffer; /* bytes read and not yet used */
    size_t n_scanned;   /* of them, known to hold no newline */
    uint64_t n_lines;
    bool at_end;
    bool any_refused;
};

struct jsonl_line {
    uint64_t number;            /* from 1 */
    struct json_object *object; /* NULL: the line is bad and `err` says why */
    struct error err;
};

void jsonl_open(struct jsonl *j, struct cli *cli);
void jsonl_close(struct jsonl *j);

/* The next line that is not blank, waiting for it; false at the end of the input. Followed by
 * jsonl_answer or jsonl_refuse, which release it. */
bool jsonl_next(struct jsonl *j, struct jsonl_line *line);

/* Whether jsonl_next would return at once: for those who work on several lines together. */
bool jsonl_ready(struct jsonl *j);

/* Writes one object: `fields` are its members without braces ("\"ids\":[1,2]"). */
void jsonl_answer(struct jsonl *j, struct jsonl_line *line, const struct text *fields);

/* A text that begins with the path of a field and ": " ("messages[2].role: ...") gives field and
 * message; any other is all message. */
void jsonl_refuse(struct jsonl *j, struct jsonl_line *line, const struct error *err);

/* For commands that answer one line after the other. `answer` appends the members. Returns the
 * exit status. */
typedef enum status jsonl_answerer(void *user, struct json_object *request, struct text *fields,
                                   struct error *err);
int jsonl_run(struct cli *cli, jsonl_answerer *answer, void *user);

/* An array of token ids, each within 0..n_vocab-1. ERR_INPUT names the entry ("ids[3]: ..."). */
struct token_ids;
enum status jsonl_get_ids(struct json_object *request, const char *key, uint32_t n_vocab,
                          struct token_ids *out, struct error *err);

/* "key":[1,2,3] */
void jsonl_add_ids(struct text *fields, const char *key, const int32_t *ids, size_t n);

#endif
