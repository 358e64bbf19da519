/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that go back and forth with a model: render, prefill, sample, split, remember.
 *
 *     messages -> chat_render -> chat_tokenize -> engine_step ... -> sampler -> output_splitter
 *        ^                                                                          |
 *        '------------------------------ the answer --------------------------------'
 *
 * Each answer reads the whole prompt again: templates of the family drop the thoughts of earlier
 * turns, so the tokens in the cache are no beginning of the next prompt. Engine thread only. */
#ifndef SHOAL_CLI_CONVERSATION_H
#define SHOAL_CLI_CONVERSATION_H

#include "base/arena.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "model/model.h"
#include "model/output_splitter.h"
#include "worker/engine.h"
#include "worker/sampling/sampler.h"

struct conversation {
    const struct cli *cli;             /* borrowed, like the next three */
    const struct interrupt *interrupt; /* NULL: nobody interrupts */
    const struct model *model;
    struct engine *engine;
    uint32_t seq;
    struct sampler sampler;
    struct logit_bias *bias; /* [SAMPLER_BIASES_MAX] */
    struct json_object *messages;
    struct arena arena;
};

/* Why an answer ended. */
enum answer_end { ANSWER_COMPLETE, ANSWER_LENGTH, ANSWER_CONTEXT, ANSWER_INTERRUPTED };

struct answer {
    enum answer_end end;
    uint32_t n_prompt, n_answer; /* tokens */
    double prefill_s, decode_s;
};

/* One sequence of the engine and the sampling of the options. Errors of options are ERR_INPUT. */
struct conversation_parts {
    const struct cli *cli;
    const struct interrupt *interrupt;
    const struct model *model;
    struct engine *engine;
};
enum status conversation_open(struct conversation *c, const struct conversation_parts *parts,
                              struct error *err);
void conversation_close(struct conversation *c); /* safe on a zeroed struct */

/* Answers `user_text` with events to `sink` as they come. Interrupted answers stay as far as they
 * came; after an error the conversation is as before. ERR_LIMIT: the prompt does not fit. */
enum status conversation_answer(struct conversation *c, struct span user_text, output_sink *sink,
                                void *user, struct answer *answer, struct error *err);

/* Forgets everything but the system message. */
void conversation_clear(struct conversation *c);
/* Replaces the system message; an empty text removes it. */
void conversation_set_system(struct conversation *c, struct span text);
/* The system message, or empty. */
struct span conversation_system(const struct conversation *c);
/* Replaces all messages; the array is taken. ERR_INPUT: it is no array of objects with a role. */
enum status conversation_set_messages(struct conversation *c, struct json_object *messages,
                                      struct error *err);

/* Adds the sampling defaults of the file's header to the options. */
void conversation_offer_defaults(const struct cli *cli, const struct gguf *gguf);

#endif
