/* SPDX-License-Identifier: Apache-2.0 */
/* The keys tokenizer.ggml.* of a model file, as tables. */
#include "base/arena.h"
#include "model/tokenizer.h"

static enum status read_pattern(const struct gguf *gguf, enum split_pattern *out,
                                struct error *err) {
    struct span model = {0}, pre = {0};
    TRY(gguf_get_string(gguf, "tokenizer.ggml.model", true, &model, err));
    TRY(gguf_get_string(gguf, "tokenizer.ggml.pre", true, &pre, err));
    if (!span_is(model, "gpt2"))
        return error_set(err, ERR_UNSUPPORTED,
                         "key 'tokenizer.ggml.model': is '%.*s', supported is 'gpt2'",
                         (int)(model.len < 40 ? model.len : 40), model.data);
    if (span_is(pre, "qwen35"))
        *out = SPLIT_QWEN35;
    else if (span_is(pre, "qwen2"))
        *out = SPLIT_QWEN2;
    else
        return error_set(err, ERR_UNSUPPORTED,
                         "key 'tokenizer.ggml.pre': is '%.*s', supported are 'qwen35', 'qwen2'",
                         (int)(pre.len < 40 ? pre.len : 40), pre.data);
    return OK;
}

static enum status read_strings(const struct gguf *gguf, const char *key, struct arena *scratch,
                                const struct span **out, uint32_t *n_out, struct error *err) {
    struct gguf_strings walk = {0};
    TRY(gguf_get_strings(gguf, key, &walk, err));
    if (walk.n_left > TOKENIZER_VOCAB_MAX)
        return error_set(err, ERR_LIMIT, "key '%s': has %llu entries, at most %u are supported",
                         key, (unsigned long long)walk.n_left, TOKENIZER_VOCAB_MAX);
    uint32_t n = (uint32_t)walk.n_left;
    struct span *strings = arena_array(scratch, n, sizeof *strings);
    if (!strings)
        return error_set(err, ERR_NOMEM, "key '%s': no memory for %u entries", key, n);
    for (uint32_t i = 0; i < n; i++) {
        if (!gguf_strings_next(&walk, &strings[i]))
            return error_set(err, ERR_INPUT, "key '%s': ends after %u of %u entries", key, i, n);
    }
    *out = strings;
    *n_out = n;
    return OK;
}

/* The array of integers under `key`, NULL if the key is absent. */
static enum status find_integers(const struct gguf *gguf, const char *key,
                                 const struct gguf_value **out, struct error *err) {
    const struct gguf_value *value = gguf_find(gguf, key);
    *out = value;
    if (!value)
        return OK;
    if (value->type != GGUF_ARRAY || value->array.type == GGUF_STRING ||
        value->array.type == GGUF_F32 || value->array.type == GGUF_F64)
        return error_set(err, ERR_INPUT, "key '%s': must be an array of integers", key);
    return OK;
}

static enum status read_kinds(const struct gguf *gguf, struct arena *scratch,
                              struct tokenizer_tables *tables, struct error *err) {
    const char *key = "tokenizer.ggml.token_type";
    const struct gguf_value *types;
    TRY(find_integers(gguf, key, &types, err));
    if (!types)
        return error_set(err, ERR_INPUT, "key '%s': missing", key);
    if (types->array.n != tables->n_tokens)
        return error_set(err, ERR_INPUT, "key '%s': has %llu entries for %u tokens", key,
                         (unsigned long long)types->array.n, tables->n_tokens);
    uint8_t *kinds = arena_alloc(scratch, tables->n_tokens);
    if (!kinds)
        return error_set(err, ERR_NOMEM, "key '%s': no memory", key);
    for (uint32_t i = 0; i < tables->n_tokens; i++) {
        int64_t kind = gguf_array_int(types, i);
        if (kind < 0 || kind > UINT8_MAX)
            return error_set(err, ERR_INPUT, "token_type[%u]: is %lld, must be 1, 3, 4 or 5", i,
                             (long long)kind);
        kinds[i] = (uint8_t)kind;
    }
    tables->kinds = kinds;
    return OK;
}

static enum status read_end(const char *key, int64_t id, struct tokenizer_tables *tables,
                            int32_t *ids, struct error *err) {
    if (id < 0 || id >= tables->n_tokens)
        return error_set(err, ERR_INPUT, "key '%s': token %lld, the vocabulary has 0..%u", key,
                         (long long)id, tables->n_tokens - 1);
    ids[tables->n_end_ids++] = (int32_t)id;
    return OK;
}

static enum status read_ends(const struct gguf *gguf, struct arena *scratch,
                             struct tokenizer_tables *tables, struct error *err) {
    const char *key = "tokenizer.ggml.eos_token_id";
    const char *more_key = "tokenizer.ggml.eos_token_ids";
    uint32_t eos = 0;
    const struct gguf_value *more;
    TRY(gguf_get_u32(gguf, key, false, &eos, err));
    TRY(find_integers(gguf, more_key, &more, err));
    uint64_t n_more = more ? more->array.n : 0;
    if (n_more >= TOKENIZER_N_ENDS_MAX)
        return error_set(err, ERR_LIMIT, "key '%s': has %llu entries, at most %u", more_key,
                         (unsigned long long)n_more, TOKENIZER_N_ENDS_MAX - 1);
    int32_t *ids = arena_array(scratch, (size_t)n_more + 1, sizeof *ids);
    if (!ids)
        return error_set(err, ERR_NOMEM, "key '%s': no memory", more_key);
    tables->end_ids = ids;
    if (gguf_find(gguf, key))
        TRY(read_end(key, eos, tables, ids, err));
    for (uint64_t i = 0; i < n_more; i++)
        TRY(read_end(more_key, gguf_array_int(more, i), tables, ids, err));
    return OK;
}

static enum status open_file(struct tokenizer **out, const struct gguf *gguf, struct arena *scratch,
                             struct error *err) {
    struct tokenizer_tables tables = {0};
    TRY(read_pattern(gguf, &tables.pattern, err));
    TRY(read_strings(gguf, "tokenizer.ggml.tokens", scratch, &tables.tokens, &tables.n_tokens,
                     err));
    TRY(read_strings(gguf, "tokenizer.ggml.merges", scratch, &tables.merges, &tables.n_merges,
                     err));
    TRY(read_kinds(gguf, scratch, &tables, err));
    TRY(read_ends(gguf, scratch, &tables, err));
    return tokenizer_open_tables(out, &tables, err);
}

enum status tokenizer_open(struct tokenizer **out, const struct gguf *gguf, struct error *err) {
    struct arena scratch = {0};
    *out = NULL;
    enum status status = open_file(out, gguf, &scratch, err);
    arena_free(&scratch);
    if (status != OK)
        error_wrap(err, "tokenizer");
    return status;
}
