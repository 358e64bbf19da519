/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal inspect [FILE]`: what is in a model file, what it needs, whether it is whole. */
#include "cli/inspect.h"

#include "cli/session.h"
#include "cli/table.h"

/* The model, if it is one that could run with these options. */
static enum status open_model(struct inspection *in, struct error *err) {
    struct session_model_options options = {0};
    TRY(session_open_model(in->cli, &options, &in->model, err));
    enum status status = session_plan_memory(in->cli, &in->model, &in->plan, err);
    if (status != OK)
        model_close(&in->model);
    return status;
}

/* A file that is no model of ours is opened as a file, if it is one. */
static enum status open_inspection(struct inspection *in, struct error *err) {
    struct text path = {0};
    enum status status = open_model(in, &in->why_not);
    if (status == OK) {
        in->is_model = true;
        in->gguf = &in->model.gguf;
        return OK;
    }
    status = session_model_path(in->cli, &path, err);
    if (status == OK)
        status = gguf_open(&in->file, text_str(&path), err);
    in->gguf = &in->file;
    text_free(&path);
    return status;
}

static void close_inspection(struct inspection *in) {
    if (in->is_model)
        model_close(&in->model);
    gguf_close(&in->file);
}

static enum status describe(const struct inspection *in, struct error *err) {
    const struct options *o = in->cli->options;
    if (options_flag(o, OPT_VERIFY))
        return inspect_verify(in, err);
    if (options_flag(o, OPT_TEMPLATE))
        return inspect_template(in, err);
    if (options_flag(o, OPT_TOKENIZER))
        return inspect_tokenizer(in, err);
    if (options_is_set(o, OPT_TENSORS))
        return inspect_tensors(in, options_string(o, OPT_TENSORS), err);
    if (table_format_of(in->cli) == TABLE_JSON || table_format_of(in->cli) == TABLE_JSONL)
        return inspect_json(in, err);
    return inspect_summary(in, err);
}

int command_inspect(struct cli *cli) {
    struct inspection in = {.cli = cli};
    struct error err = {0};
    enum status status = open_inspection(&in, &err);
    if (status == OK)
        status = describe(&in, &err);
    int code = CLI_OK;
    if (status != OK)
        code = cli_fail(cli, DURING_LOAD, &err);
    else if (!in.is_model)
        code = cli_fail(cli, DURING_LOAD, &in.why_not);
    close_inspection(&in);
    return code;
}
