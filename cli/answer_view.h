/* SPDX-License-Identifier: Apache-2.0 */
/* An answer as a person or a pipe sees it, written as it comes.
 *
 * A terminal shows the thought too, dim and under a heading (meaning is never by colour alone); a
 * pipe gets only the answer; --show-reasoning decides otherwise. Control characters of the model
 * never reach a terminal, where they could move the cursor or worse. */
#ifndef SHOAL_CLI_ANSWER_VIEW_H
#define SHOAL_CLI_ANSWER_VIEW_H

#include "cli/command.h"
#include "cli/conversation.h"
#include "model/output_splitter.h"

#include <stdbool.h>
#include <stdio.h>

struct answer_view {
    FILE *to; /* borrowed */
    bool is_tty, color;
    bool shows_thought;
    bool in_thought;    /* the heading was written, the answer has not begun */
    bool at_line_begin; /* the last byte was a line end */
};

void answer_view_init(struct answer_view *view, const struct cli *cli);
void answer_view_event(void *view, const struct output_event *event); /* an output_sink */
void answer_view_end(struct answer_view *view); /* ends the line and the colour */

/* "prompt 23 tokens in 0.05 s, 460 tokens/s; answer 41 tokens in 0.80 s, 51 tokens/s" and why it
 * ended early, on stderr: always on a terminal unless -q, otherwise with --verbose. */
void answer_view_counts(const struct cli *cli, const struct answer *answer);

#endif
