/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people: the model in one page, its tensors, its tokenizer. */
#include "cli/inspect.h"
#include "cli/table.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

uint64_t inspect_n_params(const struct gguf *gguf) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < gguf->n_tensors; i++) {
        const struct tensor *t = &gguf->tensors[i].tensor;
        const struct dtype_info *info = dtype_info(t->dtype);
        n += t->bytes / info->block_bytes * info->block_elements;
    }
    return n;
}

uint64_t inspect_file_bytes(const struct gguf *gguf) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < gguf->n_parts; i++)
        bytes += gguf->parts[i].bytes.len;
    return bytes;
}

static void row(struct table *table, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line of the summary. */
static void row(struct table *table, const char *name, const char *format, ...) {
    struct text text = {0};
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    text_add_str(&text, line);
    table_row(table);
    table_string(table, name);
    table_string(table, text_str(&text));
    text_free(&text);
}

static void row_bytes(struct table *table, const char *name, uint64_t bytes) {
    char size[16];
    format_bytes(bytes, size);
    row(table, name, "%s", size);
}

/* A string of the file: what is not printable would move the cursor of a terminal. */
static void row_string(struct table *table, const char *name, const struct gguf *gguf,
                       const char *key) {
    struct span value = {0};
    if (gguf_get_string(gguf, key, false, &value, NULL) || value.len == 0)
        return;
    char line[160];
    size_t n = value.len < sizeof line - 1 ? value.len : sizeof line - 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)value.data[i];
        line[i] = (char)(byte < 0x20 || byte == 0x7f ? ' ' : byte);
    }
    line[n] = '\0';
    row(table, name, "%s", line);
}

static void rows_of_file(struct table *table, const struct gguf *gguf) {
    uint64_t n_params = inspect_n_params(gguf), data_bytes = 0;
    char size[16];
    for (uint32_t i = 0; i < gguf->n_tensors; i++)
        data_bytes += gguf->tensors[i].tensor.bytes;
    format_bytes(inspect_file_bytes(gguf), size);
    if (gguf->n_parts == 1)
        row(table, "file", "%s, %s", gguf->parts[0].path, size);
    else
        row(table, "file", "%s and %u more, %s", gguf->parts[0].path, gguf->n_parts - 1, size);
    row_string(table, "name", gguf, "general.name");
    row_string(table, "architecture", gguf, "general.architecture");
    row(table, "parameters", "%.3g %s, %.2f bits each",
        (double)n_params / (n_params < 1000000000 ? 1e6 : 1e9),
        n_params < 1000000000 ? "million" : "billion",
        n_params ? 8.0 * (double)data_bytes / (double)n_params : 0);
    for (int dtype = 0; dtype < DTYPE_N; dtype++) {
        uint64_t n = 0, bytes = 0;
        for (uint32_t i = 0; i < gguf->n_tensors; i++) {
            bool counts = (int)gguf->tensors[i].tensor.dtype == dtype;
            n += counts;
            bytes += counts ? gguf->tensors[i].tensor.bytes : 0;
        }
        format_bytes(bytes, size);
        if (n > 0) {
            row(table, dtype_info((enum dtype)dtype)->name, "%" PRIu64 " tensors, %s", n, size);
        }
    }
}

static void rows_of_hparams(struct table *table, const struct hparams *hp) {
    row(table, "layers", "%u attention, %u delta net%s", hp->n_attention_layers, hp->n_gdn_layers,
        hp->n_mtp_layers ? ", and a multi-token prediction block" : "");
    row(table, "width", "%u", hp->d_model);
    row(table, "vocabulary", "%u", hp->n_vocab);
    row(table, "trained context", "%u", hp->n_ctx_train);
    row(table, "attention", "%u heads over %u key-value heads of %u, %u rotated", hp->n_heads,
        hp->n_kv_heads, hp->d_head, hp->n_rot);
    if (hp->n_gdn_layers) {
        row(table, "delta net", "%u value heads of %u over %u key heads of %u", hp->n_v_heads,
            hp->d_v, hp->n_k_heads, hp->d_k);
    }
    if (hp->n_experts) {
        row(table, "experts", "%u of %u, width %u; shared width %u", hp->top_k, hp->n_experts,
            hp->d_ff_expert, hp->d_ff_shared);
    } else {
        row(table, "feed forward", "width %u", hp->d_ff);
    }
    if (hp->yarn_factor > 0)
        row(table, "yarn", "factor %g over %u", (double)hp->yarn_factor, hp->yarn_n_ctx);
}

static void rows_of_plan(struct table *table, const struct inspection *in) {
    const struct memory_plan *plan = &in->plan;
    row(table, "memory for", "%u sequence%s of %u tokens", plan->n_seqs,
        plan->n_seqs == 1 ? "" : "s", plan->ctx_size);
    row_bytes(table, "  weights", plan->weights_bytes);
    row_bytes(table, "  KV cache", plan->kv_bytes);
    row_bytes(table, "  states", plan->state_bytes);
    row_bytes(table, "  buffers", plan->buffers_bytes);
    row_bytes(table, "  total", plan->total_bytes);
}

static void open_two_columns(struct table *table, const struct cli *cli) {
    static const struct table_column columns[] = {{"property", "property", false},
                                                  {"value", "value", false}};
    table_open(table, cli->out, table_format_of(cli), columns, 2);
}

enum status inspect_summary(const struct inspection *in, struct error *err) {
    struct table table;
    open_two_columns(&table, in->cli);
    rows_of_file(&table, in->gguf);
    if (in->is_model) {
        rows_of_hparams(&table, &in->model.hp);
        row(&table, "chat template", "%s%s", chat_template_name(in->model.chat_template),
            in->model.chat_template_exact ? "" : " (edited or guessed)");
    }
    row(&table, "header hash", "%016" PRIx64, gguf_header_hash(in->gguf));
    if (in->is_model)
        rows_of_plan(&table, in);
    return table_close(&table, err);
}

static void shape_texts(const struct tensor *tensor, char people[128], char json[128]) {
    size_t a = 0, b = 0;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        a += (size_t)snprintf(people + a, 128 - a, "%s%" PRIu64, i ? " x " : "", tensor->shape[i]);
        b += (size_t)snprintf(json + b, 128 - b, "%s%" PRIu64, i ? "," : "[", tensor->shape[i]);
    }
    snprintf(json + b, 128 - b, "]");
}

enum status inspect_tensors(const struct inspection *in, const char *pattern, struct error *err) {
    static const struct table_column columns[] = {
        {"name", "name", false},  {"dtype", "type", false}, {"shape", "shape", true},
        {"bytes", "bytes", true}, {"file", "file", true},   {"offset", "offset", true},
    };
    struct table table;
    table_open(&table, in->cli->out, table_format_of(in->cli), columns, 6);
    for (uint32_t i = 0; i < in->gguf->n_tensors; i++) {
        const struct gguf_tensor *t = &in->gguf->tensors[i];
        char name[GGUF_NAME_MAX + 1] = {0}, people[128], json[128];
        memcpy(name, t->name.data, t->name.len);
        if (pattern && *pattern && fnmatch(pattern, name, 0) != 0)
            continue;
        shape_texts(&t->tensor, people, json);
        table_row(&table);
        table_string(&table, name);
        table_string(&table, dtype_info(t->tensor.dtype)->name);
        table_both(&table, people, json);
        table_int(&table, (int64_t)t->tensor.bytes);
        table_int(&table, t->part);
        table_int(&table, (int64_t)t->offset);
    }
    return table_close(&table, err);
}

enum status inspect_template(const struct inspection *in, struct error *err) {
    struct span template = {0};
    TRY(gguf_get_string(in->gguf, "tokenizer.chat_template", true, &template, err));
    fwrite(template.data, 1, template.len, in->cli->out);
    if (!span_ends_with(template, "\n"))
        fputc('\n', in->cli->out);
    return OK;
}

enum status inspect_tokenizer(const struct inspection *in, struct error *err) {
    if (!in->is_model)
        return error_set(err, in->why_not.status, "%s", in->why_not.text);
    const struct tokenizer *t = in->model.tokenizer;
    const struct gguf_value *merges = gguf_find(in->gguf, "tokenizer.ggml.merges");
    uint32_t counts[8] = {0}, n = tokenizer_n_vocab(t);
    for (uint32_t id = 0; id < n; id++)
        counts[(unsigned)tokenizer_kind(t, (int32_t)id) % 8]++;
    struct table table;
    open_two_columns(&table, in->cli);
    row_string(&table, "model", in->gguf, "tokenizer.ggml.model");
    row_string(&table, "pre-tokenizer", in->gguf, "tokenizer.ggml.pre");
    row(&table, "tokens", "%u: %u normal, %u control, %u added, %u unused", n, counts[TOKEN_NORMAL],
        counts[TOKEN_CONTROL], counts[TOKEN_USER_DEFINED], counts[TOKEN_UNUSED]);
    row(&table, "merges", "%" PRIu64, merges && merges->type == GGUF_ARRAY ? merges->array.n : 0);
    row_bytes(&table, "memory", tokenizer_memory_bytes(t));
    for (uint32_t id = 0; id < n; id++) {
        enum token_kind kind = tokenizer_kind(t, (int32_t)id);
        if (kind != TOKEN_CONTROL && kind != TOKEN_USER_DEFINED)
            continue;
        struct span text = tokenizer_bytes(t, (int32_t)id);
        char number[16];
        snprintf(number, sizeof number, "%u", id);
        row(&table, number, "%.*s%s", (int)(text.len < 80 ? text.len : 80), text.data,
            tokenizer_is_end(t, (int32_t)id) ? "  (ends a turn)" : "");
    }
    return table_close(&table, err);
}
