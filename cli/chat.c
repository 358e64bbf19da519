/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: read a line (or several between """), do a command or answer. */
#include "cli/chat.h"

#include "cli/answer_view.h"
#include "cli/chat_command.h"
#include "cli/line_editor.h"

#define MARK "\"\"\"" /* begins and ends input of several lines */

/* Adds the lines up to the closing mark. */
static enum line_result read_more(struct line_editor *editor, struct text *line) {
    text_drop_front(line, strlen(MARK));
    while (!span_ends_with(text_span(line), MARK)) {
        text_add_char(line, '\n');
        enum line_result result = line_editor_read(editor, "... ", line);
        if (result != LINE_READ)
            return result;
    }
    line->len -= strlen(MARK);
    line->data[line->len] = '\0';
    return LINE_READ;
}

static enum line_result read_input(struct line_editor *editor, struct text *line,
                                   bool *is_command) {
    text_clear(line);
    enum line_result result = line_editor_read(editor, ">>> ", line);
    *is_command = result == LINE_READ && span_starts_with(text_span(line), "/");
    if (result == LINE_READ && span_starts_with(text_span(line), MARK))
        result = read_more(editor, line);
    return result;
}

/* False: no further answer can come. */
static bool answer(struct cli *cli, struct conversation *conversation, struct span text) {
    struct answer_view view;
    struct answer result;
    struct error err;
    answer_view_init(&view, cli);
    enum status status =
        conversation_answer(conversation, text, answer_view_event, &view, &result, &err);
    answer_view_end(&view);
    if (status == OK) {
        answer_view_counts(cli, &result);
        return true;
    }
    return cli_fail(cli, DURING_WORK, &err) != CLI_WORKER_LOST;
}

int chat_run(struct cli *cli, struct conversation *conversation) {
    struct line_editor *editor;
    struct error err;
    if (line_editor_open(&editor, cli, &err) != OK)
        return cli_fail(cli, DURING_WORK, &err);
    terminal_write(cli->out, chat_model_name(conversation->model));
    fputs("; /help lists commands, Ctrl-D leaves\n", cli->out);
    struct text line = {0};
    bool asked_to_leave = false, leaves = false, lost = false;
    while (!leaves) {
        bool is_command;
        enum line_result result = read_input(editor, &line, &is_command);
        interrupt_came(conversation->interrupt); /* a Ctrl-C that came late is not for this turn */
        if (result == LINE_END) {
            leaves = true;
            fputc('\n', cli->out);
        } else if (result == LINE_INTERRUPTED) {
            leaves = asked_to_leave;
            asked_to_leave = true;
            fputs(leaves ? "\n" : "\nCtrl-C again, or Ctrl-D, leaves\n", cli->out);
        } else {
            asked_to_leave = false;
            if (is_command)
                leaves = chat_command(cli, conversation, text_str(&line));
            else if (line.len)
                leaves = lost = !answer(cli, conversation, text_span(&line));
        }
    }
    text_free(&line);
    line_editor_close(editor);
    return lost ? CLI_WORKER_LOST : CLI_OK;
}
