/* SPDX-License-Identifier: Apache-2.0 */
/* A model and its engine, opened as the options ask: what every command that computes begins with.
 *
 * Without --model it is the demonstration model that is installed with the program. */
#ifndef SHOAL_CLI_SESSION_H
#define SHOAL_CLI_SESSION_H

#include "base/text.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "model/model.h"
#include "worker/engine.h"

/* The file that --model names (an operand in its place has become the option already), else the
 * demonstration model. ERR_IO: that one is not installed (the text says where it was looked for).
 */
enum status session_model_path(const struct cli *cli, struct text *path, struct error *err);

/* Opens the model and warns once if its chat template had to be guessed; --chat-template
 * overrides it. `text_only`: the weights stay unbound. */
struct session_model_options {
    bool text_only;
    bool with_mtp;
};
enum status session_open_model(struct cli *cli, const struct session_model_options *options,
                               struct model *model, struct error *err);

/* Opens the engine with threads, context, batch and kernels of the options, except where the
 * caller knows better (0: as the options say). Loading that takes long is shown on a terminal;
 * Ctrl-C ends it where somebody listens to `interrupt` (NULL: it ends the program). */
struct session_engine_options {
    uint32_t n_seqs, n_step_tokens, ctx_size;
    const struct interrupt *interrupt;
};
enum status session_open_engine(const struct cli *cli, const struct model *model,
                                const struct session_engine_options *options,
                                struct engine **engine, struct error *err);

/* In a worker group the other ranks close theirs as well. NULL is fine. */
void session_close_engine(const struct cli *cli, struct engine *engine);

/* No step follows until somebody types or reads: the other ranks of a group, which wait for the
 * next one with a deadline, may rest. Errors come with the next step. */
void session_rest(struct engine *engine);
/* Rests if the next line written to cli->out would have to wait for its reader. */
void session_rest_if_blocked(const struct cli *cli, struct engine *engine);

/* The memory that session_open_engine would take, without opening anything (inspect). */
enum status session_plan_memory(const struct cli *cli, const struct model *model,
                                struct memory_plan *plan, struct error *err);

/* What session_open_engine would ask for; 0 and auto as in the options. */
struct engine_options session_engine_options(const struct cli *cli, const struct model *model);

#endif
