/* SPDX-License-Identifier: Apache-2.0 */
/* shoal run: one answer, or a chat. */
#include "cli/answer_view.h"
#include "cli/chat.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/interrupt.h"
#include "cli/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROMPT_BYTES_MAX (64u << 20)

/* Parts of the prompt stand under each other: -p, PROMPT words, -f, standard input. */
static void begin_part(struct text *prompt) {
    if (prompt->len)
        text_add_char(prompt, '\n');
}

static enum status add_stream(struct text *prompt, FILE *from, const char *name,
                              struct error *err) {
    begin_part(prompt);
    for (;;) {
        char *to = text_reserve(prompt, 64 << 10);
        if (!to)
            return error_set(err, ERR_NOMEM, "%s: no memory for the prompt", name);
        size_t n = fread(to, 1, 64 << 10, from);
        text_grew(prompt, n);
        if (n == 0)
            break;
        if (prompt->len > PROMPT_BYTES_MAX)
            return error_set(err, ERR_LIMIT, "%s: the prompt has more than %u bytes", name,
                             PROMPT_BYTES_MAX);
    }
    if (ferror(from) && errno != EBADF) /* a standard input that was closed is an empty one */
        return error_set(err, ERR_IO, "%s: %s", name, strerror(errno));
    while (prompt->len && prompt->data[prompt->len - 1] == '\n') {
        prompt->len--;
        prompt->data[prompt->len] = '\0';
    }
    return OK;
}

static enum status add_file(struct text *prompt, const char *path, struct error *err) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    enum status status = add_stream(prompt, file, path, err);
    fclose(file);
    return status;
}

/* *chats: there is no prompt, and somebody sits at the terminal. */
static enum status read_prompt(const struct cli *cli, struct text *prompt, bool *chats,
                               struct error *err) {
    const struct options *o = cli->options;
    const char *text = options_string(o, OPT_PROMPT), *file = options_string(o, OPT_FILE);
    bool reads_stdin = file && strcmp(file, "-") == 0;
    if (text)
        text_add_str(prompt, text);
    for (uint32_t i = 0; i < o->n_operands; i++) {
        if (i == 0)
            begin_part(prompt);
        else
            text_add_char(prompt, ' ');
        text_add_str(prompt, o->operands[i]);
    }
    if (file && !reads_stdin)
        TRY(add_file(prompt, file, err));
    bool given = text || file || o->n_operands;
    *chats = !given && cli->terminal.in_is_tty && cli->terminal.out_is_tty;
    if (*chats)
        return OK;
    if (reads_stdin || !cli->terminal.in_is_tty || !given)
        TRY(add_stream(prompt, cli->in, "standard input", err));
    if (prompt->failed)
        return error_set(err, ERR_NOMEM, "no memory for the prompt");
    if (prompt->len == 0)
        return error_set(err, ERR_INPUT, "the prompt is empty");
    return OK;
}

static int answer_once(struct cli *cli, struct conversation *conversation, struct span prompt) {
    struct answer_view view;
    struct answer answer;
    struct error err;
    answer_view_init(&view, cli);
    enum status status =
        conversation_answer(conversation, prompt, answer_view_event, &view, &answer, &err);
    answer_view_end(&view);
    if (status != OK)
        return cli_fail(cli, DURING_WORK, &err);
    answer_view_counts(cli, &answer);
    /* A closed pipe ended it too; cli_finish says so. */
    bool by_person = answer.end == ANSWER_INTERRUPTED && !ferror(cli->out);
    return by_person ? CLI_INTERRUPTED : CLI_OK;
}

/* What must be closed again, in the order of opening. */
struct opened {
    struct interrupt interrupt;
    struct model model;
    struct engine *engine;
    struct conversation conversation;
};

static enum status open_all(struct cli *cli, struct opened *all, struct error *err) {
    struct session_model_options model_options = {0};
    TRY(session_open_model(cli, &model_options, &all->model, err));
    conversation_offer_defaults(cli, &all->model.gguf);
    struct session_engine_options engine_options = {.n_seqs = 1, .interrupt = &all->interrupt};
    return session_open_engine(cli, &all->model, &engine_options, &all->engine, err);
}

static int run_opened(struct cli *cli, struct opened *all, struct span prompt, bool chats) {
    struct conversation_parts parts = {
        .cli = cli, .interrupt = &all->interrupt, .model = &all->model, .engine = all->engine};
    struct error err;
    if (conversation_open(&all->conversation, &parts, &err) != OK)
        return cli_fail(cli, err.status == ERR_INPUT ? DURING_USAGE : DURING_LOAD, &err);
    int code =
        chats ? chat_run(cli, &all->conversation) : answer_once(cli, &all->conversation, prompt);
    conversation_close(&all->conversation);
    return code;
}

enum status command_run_offer_defaults(struct cli *cli, struct error *err) {
    struct text path = {0};
    struct gguf gguf;
    enum status status = session_model_path(cli, &path, err);
    if (status == OK)
        status = gguf_open(&gguf, text_str(&path), err);
    text_free(&path);
    if (status != OK)
        return status;
    conversation_offer_defaults(cli, &gguf);
    gguf_close(&gguf);
    return OK;
}

int command_run(struct cli *cli) {
    struct opened all = {0};
    struct text prompt = {0};
    struct error err;
    bool chats;
    if (read_prompt(cli, &prompt, &chats, &err) != OK) {
        text_free(&prompt);
        return cli_fail(cli, err.status == ERR_INPUT ? DURING_USAGE : DURING_WORK, &err);
    }
    int code;
    if (interrupt_open(&all.interrupt, &err) != OK) {
        code = cli_fail(cli, DURING_WORK, &err);
    } else {
        if (open_all(cli, &all, &err) == OK)
            code = run_opened(cli, &all, text_span(&prompt), chats);
        else
            code = cli_fail(cli, DURING_LOAD, &err);
        session_close_engine(cli, all.engine);
        model_close(&all.model);
        interrupt_close(&all.interrupt);
    }
    text_free(&prompt);
    return code;
}
