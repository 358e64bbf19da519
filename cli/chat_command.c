/* SPDX-License-Identifier: Apache-2.0 */
/* One table row and one small function per command. Values that /set changes are the options
 * themselves, so that their ranges and names are those of the command line. */
#include "cli/chat_command.h"

#include "base/mapped_file.h"
#include "cli/spelling.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chat {
    struct cli *cli;
    struct conversation *conversation;
    const char *argument; /* "" if none */
};

/* Options that may change between two answers. */
static const enum option_id settable[] = {
    OPT_TEMP,           OPT_TOP_K,
    OPT_TOP_P,          OPT_MIN_P,
    OPT_REPEAT_PENALTY, OPT_PRESENCE_PENALTY,
    OPT_SEED,           OPT_FREQUENCY_PENALTY,
    OPT_PREDICT,        OPT_REASONING,
};
#define N_SETTABLE (sizeof settable / sizeof settable[0])

static void do_set(struct chat *chat) {
    struct options *options = chat->cli->options;
    size_t n = strcspn(chat->argument, " ");
    const char *value = chat->argument + n + strspn(chat->argument + n, " ");
    struct spelling spelling = {.word = span_make(chat->argument, n)};
    struct error err;
    if (n == 0 || *value == '\0') {
        fputs("/set NAME VALUE; names and present values:\n", chat->cli->out);
        for (size_t i = 0; i < N_SETTABLE; i++)
            fprintf(chat->cli->out, "  %s %s\n", option_row(settable[i])->name,
                    options_item(options, settable[i], 0));
        return;
    }
    for (size_t i = 0; i < N_SETTABLE; i++) {
        const char *name = option_row(settable[i])->name;
        spelling_offer(&spelling, span_of(name));
        if (!span_is(spelling.word, name))
            continue;
        if (options_set(options, settable[i], value, &err) != OK)
            log_error(&chat->cli->log, "%s: %s", name, err.text);
        return;
    }
    log_error(&chat->cli->log, "/set knows no '%.*s'%s%.*s", (int)n, chat->argument,
              spelling.best.len ? ", did you mean " : "", (int)spelling.best.len,
              spelling.best.len ? spelling.best.data : "");
}

static void set_reasoning(struct chat *chat, const char *value) {
    struct error err;
    if (options_set(chat->cli->options, OPT_REASONING, value, &err) != OK)
        log_error(&chat->cli->log, "%s", err.text);
}

static void do_think(struct chat *chat) {
    set_reasoning(chat, "on");
}

static void do_nothink(struct chat *chat) {
    set_reasoning(chat, "off");
}

static void do_clear(struct chat *chat) {
    conversation_clear(chat->conversation);
}

static void do_system(struct chat *chat) {
    if (*chat->argument) {
        conversation_set_system(chat->conversation, span_of(chat->argument));
        return;
    }
    struct span system = conversation_system(chat->conversation);
    terminal_write(chat->cli->out, system);
    fputc('\n', chat->cli->out);
}

static void do_show(struct chat *chat) {
    const struct conversation *c = chat->conversation;
    FILE *to = chat->cli->out;
    struct span name = chat_model_name(c->model);
    fputs("model     ", to);
    terminal_write(to, name);
    fprintf(to, " (%s)\n", arch_name(c->model->hp.arch));
    fprintf(to, "template  %s\n", chat_template_name(c->model->chat_template));
    fprintf(to, "engine    %s, %u threads, context %u tokens\n", engine_kernels(c->engine),
            engine_n_threads(c->engine), engine_ctx_size(c->engine));
    fprintf(to, "messages  %zu\n", json_object_array_length(c->messages));
    chat->argument = "";
    do_set(chat);
}

/* Never overwrites: a chat is not worth somebody's file. */
static void do_save(struct chat *chat) {
    const char *text = json_object_to_json_string_ext(
        chat->conversation->messages, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
    int fd =
        *chat->argument ? open(chat->argument, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) : -1;
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!*chat->argument)
        log_error(&chat->cli->log, "/save needs a file name");
    else if (!file)
        log_error(&chat->cli->log, "%s: %s", chat->argument, strerror(errno));
    if (!file)
        return;
    fprintf(file, "%s\n", text);
    if (fclose(file) != 0)
        log_error(&chat->cli->log, "%s: %s", chat->argument, strerror(errno));
}

static void do_load(struct chat *chat) {
    struct mapped_file file;
    struct json_object *messages = NULL;
    struct error err;
    enum status status = mapped_file_open(&file, chat->argument, &err);
    if (status == OK) {
        status = json_parse(span_make((const char *)file.data, file.bytes), &messages, &err);
        mapped_file_close(&file);
        if (status == OK)
            status = conversation_set_messages(chat->conversation, messages, &err);
        if (status != OK)
            error_wrap(&err, "%s", chat->argument);
    }
    if (status != OK)
        log_error(&chat->cli->log, "%s", err.text);
}

static void do_help(struct chat *chat);

struct chat_row {
    const char *name, *argument, *help;
    void (*run)(struct chat *chat); /* NULL: the chat ends */
};

static const struct chat_row rows[] = {
    {"/help", "", "show this list", do_help},
    {"/exit", "", "leave; so do /bye and Ctrl-D", NULL},
    {"/bye", "", "leave", NULL},
    {"/clear", "", "forget the conversation, keep the system message", do_clear},
    {"/set", "NAME VALUE", "change a sampling option; alone: show them", do_set},
    {"/show", "", "show model, engine and options", do_show},
    {"/save", "FILE", "write the conversation to a new file", do_save},
    {"/load", "FILE", "continue a conversation that was saved", do_load},
    {"/system", "TEXT", "set the system message; alone: show it", do_system},
    {"/think", "", "think before answering", do_think},
    {"/nothink", "", "answer at once", do_nothink},
};
#define N_ROWS (sizeof rows / sizeof rows[0])

static void do_help(struct chat *chat) {
    for (size_t i = 0; i < N_ROWS; i++) {
        char left[32];
        snprintf(left, sizeof left, "%s %s", rows[i].name, rows[i].argument);
        fprintf(chat->cli->out, "  %-18s %s\n", left, rows[i].help);
    }
    fputs("  \"\"\"                begins and ends input of several lines\n"
          "  Ctrl-C             stops the answer; twice at the prompt leaves\n",
          chat->cli->out);
}

bool chat_command(struct cli *cli, struct conversation *conversation, const char *line) {
    size_t n = strcspn(line, " ");
    struct chat chat = {
        .cli = cli, .conversation = conversation, .argument = line + n + strspn(line + n, " ")};
    struct spelling spelling = {.word = span_make(line, n)};
    for (size_t i = 0; i < N_ROWS; i++) {
        spelling_offer(&spelling, span_of(rows[i].name));
        if (!span_is(spelling.word, rows[i].name))
            continue;
        if (!rows[i].run)
            return true;
        rows[i].run(&chat);
        return false;
    }
    log_error(&cli->log, "unknown command '%.*s', did you mean %s?", (int)(n < 60 ? n : 60), line,
              spelling.best.len ? spelling.best.data : "/help");
    return false;
}

struct span chat_model_name(const struct model *model) {
    struct span name = {0};
    struct error err;
    if (gguf_get_string(&model->gguf, "general.name", false, &name, &err) != OK || name.len == 0)
        name = span_of(model->gguf.parts[0].path);
    return name;
}
