/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal tokenize` and `shoal detokenize`: text to ids and back, as JSON lines. */
#include "base/utf8.h"
#include "cli/jsonl.h"
#include "cli/session.h"

static enum status answer_tokenize(void *user, struct json_object *request, struct text *fields,
                                   struct error *err) {
    const struct model *model = user;
    struct span text = {0};
    bool parse_special = true;
    struct token_ids ids = {0};
    TRY(json_get_string(request, "text", &text, err));
    TRY(json_get_bool(request, "parse_special", &parse_special, err));
    if (!text.data)
        return error_set(err, ERR_INPUT, "text: is missing");
    enum status status = tokenizer_encode(model->tokenizer, text, parse_special, &ids, err);
    if (status == OK)
        jsonl_add_ids(fields, "ids", ids.data, ids.n);
    token_ids_free(&ids);
    return status;
}

/* Ids that end inside a character give U+FFFD; the bytes say what they were. */
static void add_decoded(struct text *fields, struct span bytes) {
    text_add_str(fields, "\"text\":");
    json_add_string(fields, bytes);
    if (utf8_valid(bytes))
        return;
    text_add_str(fields, ",\"bytes\":[");
    for (size_t i = 0; i < bytes.len; i++)
        text_printf(fields, "%s%u", i ? "," : "", (unsigned)(unsigned char)bytes.data[i]);
    text_add_char(fields, ']');
}

static enum status answer_detokenize(void *user, struct json_object *request, struct text *fields,
                                     struct error *err) {
    const struct model *model = user;
    struct token_ids ids = {0};
    struct text bytes = {0};
    enum status status =
        jsonl_get_ids(request, "ids", tokenizer_n_vocab(model->tokenizer), &ids, err);
    for (size_t i = 0; status == OK && i < ids.n; i++)
        text_add(&bytes, tokenizer_bytes(model->tokenizer, ids.data[i]));
    if (status == OK && bytes.failed)
        status = error_set(err, ERR_NOMEM, "ids: no memory for their text");
    if (status == OK)
        add_decoded(fields, span_make(text_str(&bytes), bytes.len));
    text_free(&bytes);
    token_ids_free(&ids);
    return status;
}

static int run(struct cli *cli, jsonl_answerer *answer) {
    struct model model = {0};
    struct error err;
    struct session_model_options options = {.text_only = true};
    if (session_open_model(cli, &options, &model, &err) != OK)
        return cli_fail(cli, DURING_LOAD, &err);
    int code = jsonl_run(cli, answer, &model);
    model_close(&model);
    return code;
}

int command_tokenize(struct cli *cli) {
    return run(cli, answer_tokenize);
}

int command_detokenize(struct cli *cli) {
    return run(cli, answer_detokenize);
}
