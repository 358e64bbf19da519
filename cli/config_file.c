/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over the lines; every error names file and line. */
#include "cli/config_file.h"

#include "base/mapped_file.h"
#include "base/text.h"
#include "base/utf8.h"

#include <ctype.h>
#include <stdbool.h>

struct parser {
    const struct config_source *source;
    struct arena *arena;
    const char *section, *name;
    uint32_t line;
    struct config_entry **tail;
};

static struct span trim(struct span s) {
    while (s.len && isspace((unsigned char)s.data[0]))
        s = span_from(s, 1);
    while (s.len && isspace((unsigned char)s.data[s.len - 1]))
        s.len--;
    return s;
}

/* [section] or [section "NAME"] */
static enum status read_section(struct parser *p, struct span line, struct error *err) {
    if (line.data[line.len - 1] != ']')
        return error_set(err, ERR_INPUT, "section without ']'");
    struct span inside = trim(span_make(line.data + 1, line.len - 2));
    size_t quote = span_find(inside, "\"");
    struct span name = {0};
    if (quote != (size_t)-1) {
        name = span_from(inside, quote + 1);
        if (name.len == 0 || name.data[name.len - 1] != '"')
            return error_set(err, ERR_INPUT, "section name without closing quote");
        name.len--;
        inside = trim(span_make(inside.data, quote));
    }
    if (inside.len == 0)
        return error_set(err, ERR_INPUT, "empty section name");
    p->section = arena_dup(p->arena, inside);
    p->name = quote == (size_t)-1 ? NULL : arena_dup(p->arena, name);
    if (!p->section || (quote != (size_t)-1 && !p->name))
        return error_set(err, ERR_NOMEM, "no memory");
    return OK;
}

/* Replaces every ${NAME}. */
static enum status expand(struct parser *p, struct span value, const char **out,
                          struct error *err) {
    struct text text = {0};
    enum status status = OK;
    while (status == OK) {
        size_t begin = span_find(value, "${");
        if (begin == (size_t)-1)
            break;
        text_add(&text, span_make(value.data, begin));
        value = span_from(value, begin + 2);
        size_t end = span_find(value, "}");
        if (end == (size_t)-1) {
            status = error_set(err, ERR_INPUT, "'${' without '}'");
            break;
        }
        const char *name = arena_dup(p->arena, span_make(value.data, end));
        const char *found = name ? p->source->lookup(p->source->user, name) : NULL;
        if (!found)
            status = error_set(err, name ? ERR_INPUT : ERR_NOMEM,
                               "environment variable '%.60s' is not set", name ? name : "");
        else
            text_add_str(&text, found);
        value = span_from(value, end + 1);
    }
    if (status == OK) {
        text_add(&text, value);
        *out = arena_dup(p->arena, text_span(&text));
        if (text.failed || !*out)
            status = error_set(err, ERR_NOMEM, "no memory");
    }
    text_free(&text);
    return status;
}

static enum status read_pair(struct parser *p, struct span line, struct error *err) {
    size_t equals = span_find(line, "=");
    if (equals == (size_t)-1)
        return error_set(err, ERR_INPUT, "neither a section nor 'key = value'");
    struct span key = trim(span_make(line.data, equals));
    if (key.len == 0)
        return error_set(err, ERR_INPUT, "no key before '='");
    struct config_entry *entry = arena_alloc(p->arena, sizeof *entry);
    if (!entry)
        return error_set(err, ERR_NOMEM, "no memory");
    entry->section = p->section;
    entry->name = p->name;
    entry->path = p->source->path;
    entry->line = p->line;
    entry->key = arena_dup(p->arena, key);
    if (!entry->key)
        return error_set(err, ERR_NOMEM, "no memory");
    TRY(expand(p, trim(span_from(line, equals + 1)), &entry->value, err));
    *p->tail = entry;
    p->tail = &entry->next;
    return OK;
}

static enum status read_line(struct parser *p, struct span line, struct error *err) {
    if (line.len && memchr(line.data, '\0', line.len))
        return error_set(err, ERR_INPUT, "a zero byte");
    if (!utf8_valid(line))
        return error_set(err, ERR_INPUT, "not valid UTF-8");
    line = trim(line);
    if (line.len == 0 || line.data[0] == '#' || line.data[0] == ';')
        return OK;
    return line.data[0] == '[' ? read_section(p, line, err) : read_pair(p, line, err);
}

enum status config_parse(const struct config_source *source, struct span bytes, struct arena *arena,
                         struct config_entry **out, struct error *err) {
    *out = NULL;
    struct parser p = {.source = source, .arena = arena, .section = "", .tail = out};
    if (bytes.len > CONFIG_FILE_BYTES_MAX)
        return error_set(err, ERR_LIMIT, "%s: %zu bytes, at most %u are read", source->path,
                         bytes.len, CONFIG_FILE_BYTES_MAX);
    if (span_starts_with(bytes, "\xef\xbb\xbf"))
        bytes = span_from(bytes, 3);
    while (bytes.len) {
        size_t end = span_find(bytes, "\n");
        struct span line = span_make(bytes.data, end == (size_t)-1 ? bytes.len : end);
        p.line++;
        enum status status = read_line(&p, line, err);
        if (status != OK) {
            error_wrap(err, "%s:%u", source->path, p.line);
            return status;
        }
        bytes = span_from(bytes, end == (size_t)-1 ? bytes.len : end + 1);
    }
    return OK;
}

enum status config_file_read(const struct config_source *source, struct arena *arena,
                             struct config_entry **out, struct error *err) {
    struct mapped_file file;
    TRY(mapped_file_open(&file, source->path, err));
    enum status status =
        config_parse(source, span_make((const char *)file.data, file.bytes), arena, out, err);
    mapped_file_close(&file);
    return status;
}
