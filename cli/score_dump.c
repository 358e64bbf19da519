/* SPDX-License-Identifier: Apache-2.0 */
/* Everything is kept in memory until the end: offsets are known only then. */
#include "cli/score_dump.h"

#include "base/json.h"
#include "cli/jsonl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum status score_dump_init(struct score_dump *dump, struct error *err) {
    *dump = (struct score_dump){0};
    dump->tensors = calloc(DUMP_TENSORS_MAX, sizeof *dump->tensors);
    return dump->tensors ? OK : error_set(err, ERR_NOMEM, "dump: no memory");
}

void score_dump_free(struct score_dump *dump) {
    for (uint32_t i = 0; i < dump->n_tensors; i++)
        text_free(&dump->tensors[i].bytes);
    free(dump->tensors);
    *dump = (struct score_dump){0};
}

static struct dump_tensor *find(struct score_dump *dump, const char *name, uint32_t n_columns) {
    for (uint32_t i = 0; i < dump->n_tensors; i++) {
        if (strcmp(dump->tensors[i].name, name) == 0)
            return &dump->tensors[i];
    }
    if (dump->n_tensors == DUMP_TENSORS_MAX)
        return NULL;
    struct dump_tensor *tensor = &dump->tensors[dump->n_tensors++];
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->n_columns = n_columns;
    return tensor;
}

void score_dump_add(struct score_dump *dump, const char *name, const float *x, uint32_t n_rows,
                    uint32_t n_columns) {
    struct dump_tensor *tensor = find(dump, name, n_columns);
    if (!tensor) {
        dump->failed = true;
        return;
    }
    tensor->n_rows += n_rows;
    text_add(&tensor->bytes, span_make((const char *)x, (size_t)n_rows * n_columns * sizeof *x));
    dump->failed |= tensor->bytes.failed;
}

static enum status write_file(const char *prefix, const char *suffix, const struct score_dump *dump,
                              const struct text *json, struct error *err) {
    struct text path = {0};
    text_add_str(&path, prefix);
    text_add_str(&path, suffix);
    FILE *file = fopen(text_str(&path), "wbe");
    bool good = file != NULL;
    if (file && json) {
        good = fwrite(json->data, 1, json->len, file) == json->len;
    } else if (file) {
        for (uint32_t i = 0; i < dump->n_tensors && good; i++) {
            const struct text *bytes = &dump->tensors[i].bytes;
            good = fwrite(bytes->data, 1, bytes->len, file) == bytes->len;
        }
    }
    if (file)
        good = fclose(file) == 0 && good;
    enum status status =
        good ? OK : error_set(err, ERR_IO, "dump: %s: %s", text_str(&path), strerror(errno));
    text_free(&path);
    return status;
}

enum status score_dump_write(const struct score_dump *dump, const char *prefix, const int32_t *ids,
                             uint32_t n_ids, struct error *err) {
    struct text json = {0};
    uint64_t offset = 0;
    text_add_char(&json, '{');
    jsonl_add_ids(&json, "ids", ids, n_ids);
    text_add_str(&json, ",\"tensors\":[");
    for (uint32_t i = 0; i < dump->n_tensors; i++) {
        const struct dump_tensor *tensor = &dump->tensors[i];
        text_add_str(&json, i ? ",{\"name\":" : "{\"name\":");
        json_add_string(&json, span_of(tensor->name));
        text_printf(&json, ",\"shape\":[%u,%u],\"offset\":%" PRIu64 "}", tensor->n_rows,
                    tensor->n_columns, offset);
        offset += tensor->bytes.len;
    }
    text_add_str(&json, "]}\n");
    enum status status = OK;
    if (dump->failed || json.failed)
        status = error_set(err, ERR_NOMEM, "dump: no memory for %u tensors", dump->n_tensors);
    if (status == OK)
        status = write_file(prefix, ".f32", dump, NULL, err);
    if (status == OK)
        status = write_file(prefix, ".json", dump, &json, err);
    text_free(&json);
    return status;
}
