/* SPDX-License-Identifier: Apache-2.0 */
/* Every event is flushed: a stream that stutters looks slower than it is. */
#include "cli/answer_view.h"

#define DIM    "\033[2m"
#define NORMAL "\033[0m"

void answer_view_init(struct answer_view *view, const struct cli *cli) {
    enum { AUTO, ON, OFF } show = options_choice(cli->options, OPT_SHOW_REASONING);
    *view = (struct answer_view){.to = cli->out,
                                 .is_tty = cli->terminal.out_is_tty,
                                 .color = cli->terminal.color_out,
                                 .shows_thought =
                                     show == ON || (show == AUTO && cli->terminal.out_is_tty),
                                 .at_line_begin = true};
}

static void write_text(struct answer_view *view, struct span text) {
    if (text.len == 0)
        return;
    if (view->is_tty)
        terminal_write(view->to, text);
    else
        fwrite(text.data, 1, text.len, view->to);
    view->at_line_begin = text.data[text.len - 1] == '\n';
}

static void end_line(struct answer_view *view) {
    if (!view->at_line_begin)
        fputc('\n', view->to);
    view->at_line_begin = true;
}

static void begin_thought(struct answer_view *view) {
    if (view->in_thought)
        return;
    fprintf(view->to, "%sThinking:\n", view->color ? DIM : "");
    view->in_thought = true;
}

static void begin_answer(struct answer_view *view) {
    if (!view->in_thought)
        return;
    end_line(view);
    fprintf(view->to, "%s\nAnswer:\n", view->color ? NORMAL : "");
    view->in_thought = false;
}

void answer_view_event(void *user, const struct output_event *event) {
    struct answer_view *view = user;
    switch (event->kind) {
    case OUTPUT_REASONING:
        if (!view->shows_thought || event->text.len == 0)
            return;
        begin_thought(view);
        write_text(view, event->text);
        break;
    case OUTPUT_CONTENT:
        if (event->text.len)
            begin_answer(view);
        write_text(view, event->text);
        break;
    case OUTPUT_CALL_BEGIN:
        begin_answer(view);
        end_line(view);
        write_text(view, span_of("call of "));
        write_text(view, event->text);
        write_text(view, span_of(": "));
        break;
    case OUTPUT_CALL_ARGUMENTS:
        write_text(view, event->text);
        break;
    case OUTPUT_CALL_END:
        end_line(view);
        break;
    }
    fflush(view->to);
}

void answer_view_end(struct answer_view *view) {
    end_line(view);
    if (view->in_thought && view->color)
        fputs(NORMAL, view->to);
    fflush(view->to);
}

static double rate(uint32_t n, double seconds) {
    return seconds > 0 ? n / seconds : 0;
}

void answer_view_counts(const struct cli *cli, const struct answer *answer) {
    static const char *const ends[] = {
        [ANSWER_COMPLETE] = "",
        [ANSWER_LENGTH] = "; stopped at --predict",
        [ANSWER_CONTEXT] = "; stopped, the context is full",
        [ANSWER_INTERRUPTED] = "; interrupted",
    };
    bool quiet = options_flag(cli->options, OPT_QUIET);
    if (quiet || (!cli->terminal.err_is_tty && !options_flag(cli->options, OPT_VERBOSE)))
        return;
    bool color = cli->terminal.color_err;
    fprintf(cli->err,
            "%sprompt %u tokens in %.2f s, %.1f tokens/s; answer %u tokens in %.2f s, "
            "%.1f tokens/s%s%s\n",
            color ? DIM : "", answer->n_prompt, answer->prefill_s,
            rate(answer->n_prompt, answer->prefill_s), answer->n_answer, answer->decode_s,
            rate(answer->n_answer, answer->decode_s), ends[answer->end], color ? NORMAL : "");
}
