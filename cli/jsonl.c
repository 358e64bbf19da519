/* SPDX-License-Identifier: Apache-2.0 */
/* Lines are cut from an own buffer over the descriptor, because stdio cannot say whether a whole
 * line is there. */
#include "cli/jsonl.h"

#include "model/tokenizer.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (64u * 1024u)

void jsonl_open(struct jsonl *j, struct cli *cli) {
    *j = (struct jsonl){.cli = cli};
}

void jsonl_close(struct jsonl *j) {
    text_free(&j->buffer);
}

/* Reads once; false at the end. A read error is an end too: what came is answered. */
static bool read_more(struct jsonl *j) {
    char *to = text_reserve(&j->buffer, READ_BYTES);
    ssize_t n;
    do {
        n = to ? read(fileno(j->cli->in), to, READ_BYTES) : -1;
    } while (n < 0 && to && errno == EINTR);
    if (n > 0)
        text_grew(&j->buffer, (size_t)n);
    else
        j->at_end = true;
    return n > 0;
}

/* Length of the line at the front of the buffer, its newline not counted; false: none yet. */
static bool find_line(struct jsonl *j, size_t *len) {
    const char *from = j->buffer.data + j->n_scanned;
    size_t n = j->buffer.len - j->n_scanned;
    const char *newline = n ? memchr(from, '\n', n) : NULL;
    if (newline) {
        *len = (size_t)(newline - j->buffer.data);
        return true;
    }
    j->n_scanned = j->buffer.len;
    *len = j->buffer.len;
    return j->at_end && j->buffer.len > 0;
}

static void drop_line(struct jsonl *j, size_t len) {
    text_drop_front(&j->buffer, len < j->buffer.len ? len + 1 : len);
    j->n_scanned = 0;
}

/* Throws away the rest of a line that is too long to be kept. */
static void skip_long_line(struct jsonl *j) {
    size_t len;
    do {
        text_clear(&j->buffer);
        j->n_scanned = 0;
    } while (!j->at_end && read_more(j) && !find_line(j, &len));
    if (find_line(j, &len))
        drop_line(j, len);
}

static bool is_blank(struct span line) {
    for (size_t i = 0; i < line.len; i++) {
        if (!isspace((unsigned char)line.data[i]))
            return false;
    }
    return true;
}

static void parse_line(struct jsonl_line *line, struct span bytes) {
    if (json_parse(bytes, &line->object, &line->err) != OK)
        return;
    if (!json_object_is_type(line->object, json_type_object)) {
        error_set(&line->err, ERR_INPUT, "a line must be an object, not %s",
                  json_type_word(line->object));
        json_object_put(line->object);
        line->object = NULL;
    }
}

bool jsonl_next(struct jsonl *j, struct jsonl_line *line) {
    for (;;) {
        size_t len;
        while (!find_line(j, &len)) {
            if (j->at_end)
                return false;
            if (j->buffer.len > JSONL_LINE_MAX) {
                *line = (struct jsonl_line){.number = ++j->n_lines};
                error_set(&line->err, ERR_LIMIT, "the line is longer than %u bytes",
                          JSONL_LINE_MAX);
                skip_long_line(j);
                return true;
            }
            read_more(j);
        }
        struct span bytes = span_make(j->buffer.data, len);
        j->n_lines++;
        bool blank = is_blank(bytes);
        if (!blank) {
            *line = (struct jsonl_line){.number = j->n_lines};
            parse_line(line, bytes);
        }
        drop_line(j, len);
        if (!blank)
            return true;
    }
}

bool jsonl_ready(struct jsonl *j) {
    size_t len;
    for (;;) {
        if (find_line(j, &len))
            return true;
        struct pollfd in = {.fd = fileno(j->cli->in), .events = POLLIN};
        if (j->at_end || poll(&in, 1, 0) <= 0 || !read_more(j))
            return false;
    }
}

/* Begins the answer with the id of its request, if it had one. */
static void begin_answer(const struct jsonl_line *line, struct text *out) {
    struct json_object *id;
    text_add_char(out, '{');
    if (line->object && json_object_object_get_ex(line->object, "id", &id)) {
        text_add_str(out, "\"id\":");
        text_add_str(out, json_object_to_json_string_ext(id, JSON_C_TO_STRING_NOSLASHESCAPE));
        text_add_char(out, ',');
    }
}

static void end_answer(struct jsonl *j, struct jsonl_line *line, struct text *out) {
    text_add_str(out, "}\n");
    if (!out->failed)
        fwrite(out->data, 1, out->len, j->cli->out);
    fflush(j->cli->out);
    text_free(out);
    json_object_put(line->object);
    line->object = NULL;
}

void jsonl_answer(struct jsonl *j, struct jsonl_line *line, const struct text *fields) {
    struct text out = {0};
    if (fields->failed) {
        struct error err;
        error_set(&err, ERR_NOMEM, "no memory for the answer");
        jsonl_refuse(j, line, &err);
        return;
    }
    begin_answer(line, &out);
    text_add(&out, text_span(fields));
    end_answer(j, line, &out);
}

/* Bytes of a field path at the front of an error text, 0 if it does not begin with one. */
static size_t field_path(const char *text) {
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || (text[n] && strchr("_.[]", text[n])))
        n++;
    bool path = n > 0 && islower((unsigned char)text[0]) && strncmp(text + n, ": ", 2) == 0;
    return path && strncmp(text, "json: ", 6) != 0 ? n : 0;
}

void jsonl_refuse(struct jsonl *j, struct jsonl_line *line, const struct error *err) {
    struct text out = {0};
    size_t n = field_path(err->text);
    const char *message = n ? err->text + n + 2 : err->text;
    begin_answer(line, &out);
    text_printf(&out, "\"error\":{\"line\":%" PRIu64 ",\"field\":", line->number);
    if (n)
        json_add_string(&out, span_make(err->text, n));
    else
        text_add_str(&out, "null");
    text_add_str(&out, ",\"message\":");
    json_add_string(&out, span_of(message));
    text_add_char(&out, '}');
    j->any_refused = true;
    end_answer(j, line, &out);
}

int jsonl_run(struct cli *cli, jsonl_answerer *answer, void *user) {
    struct jsonl j;
    struct jsonl_line line;
    jsonl_open(&j, cli);
    while (jsonl_next(&j, &line)) {
        struct text fields = {0};
        struct error err = line.err;
        if (line.object && answer(user, line.object, &fields, &err) == OK)
            jsonl_answer(&j, &line, &fields);
        else
            jsonl_refuse(&j, &line, &err);
        text_free(&fields);
    }
    jsonl_close(&j);
    return cli_finish(cli, j.any_refused ? CLI_FAILED : CLI_OK);
}

enum status jsonl_get_ids(struct json_object *request, const char *key, uint32_t n_vocab,
                          struct token_ids *out, struct error *err) {
    struct json_object *array = NULL;
    TRY(json_get_array(request, key, &array, err));
    if (!array)
        return error_set(err, ERR_INPUT, "%s: is missing", key);
    size_t n = json_object_array_length(array);
    for (size_t i = 0; i < n; i++) {
        struct json_object *item = json_object_array_get_idx(array, i);
        if (!json_object_is_type(item, json_type_int))
            return error_set(err, ERR_INPUT, "%s[%zu]: must be an integer, not %s", key, i,
                             json_type_word(item));
        int64_t id = json_object_get_int64(item);
        if (id < 0 || id >= (int64_t)n_vocab)
            return error_set(err, ERR_INPUT, "%s[%zu]: %" PRId64 " is not in 0..%u", key, i, id,
                             n_vocab - 1);
        token_ids_add(out, (int32_t)id);
    }
    return out->failed ? error_set(err, ERR_NOMEM, "%s: no memory for %zu ids", key, n) : OK;
}

void jsonl_add_ids(struct text *fields, const char *key, const int32_t *ids, size_t n) {
    json_add_string(fields, span_of(key));
    text_add_str(fields, ":[");
    for (size_t i = 0; i < n; i++)
        text_printf(fields, "%s%" PRId32, i ? "," : "", ids[i]);
    text_add_char(fields, ']');
}
