/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to prompt text, as the published chat templates of the family would render them.
 *
 * Templates of model files are programs; they are never executed. We know four of them, recognise
 * the one in the file by its hash, or by its markers if somebody edited it, and render natively:
 *
 *     chat_template.c     which template; pieces to ids
 *     chat_content.c      the content of one message: text, or parts with images and videos
 *     chat_qwen35.c       qwen3.5, qwen3.5-small, qwen3.6
 *     chat_qwen3.c        qwen3
 *
 * The result is a list of pieces: a piece is either the template's own text, in which markers such
 * as <|im_start|> become special tokens, or text of the caller, in which they never do. */
#ifndef SHOAL_MODEL_CHAT_TEMPLATE_H
#define SHOAL_MODEL_CHAT_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "base/text.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

enum chat_template {
    CHAT_QWEN35,
    CHAT_QWEN35_SMALL, /* 0.8B, 2B: thinking off unless asked */
    CHAT_QWEN36,       /* preserve_thinking; argument values as JSON */
    CHAT_QWEN3,        /* calls as JSON objects; the model opens its thought itself */
    CHAT_N,
};

const char *chat_template_name(enum chat_template t); /* "qwen3.5", "qwen3.5-small", ... */
bool chat_template_from_name(struct span name, enum chat_template *out);

/* Finds out which template a file carries. *exact is false if it is none of the published texts
 * and was classified by its markers (the caller warns once). A file without a template: by
 * architecture and vocabulary, *exact false. */
enum chat_template chat_template_of(const struct gguf *gguf, bool *exact);

/* The same for the text of a template. */
enum chat_template chat_template_classify(struct span text, bool *exact);

enum tri { TRI_UNSET = -1, TRI_FALSE = 0, TRI_TRUE = 1 };

struct chat_input {
    struct json_object *messages; /* array; borrowed */
    struct json_object *tools;    /* array or NULL; borrowed */
    enum tri enable_thinking;     /* TRI_UNSET: the template's default */
    bool preserve_thinking;       /* qwen3.6 */
    bool add_vision_id;
    bool add_generation_prompt;
};

struct chat_piece {
    size_t begin, end; /* bytes of the text */
    bool from_caller;  /* never special tokens */
};

struct chat_prompt {
    struct text text;
    struct chat_piece *pieces; /* in order, cover the text, no two neighbours of one kind */
    size_t n_pieces, pieces_room;
    bool starts_in_thought; /* the text ends inside an open <think> */
};
void chat_prompt_free(struct chat_prompt *prompt); /* safe on a zeroed struct */

/* Appends to a prompt; after memory is gone text.failed says so. */
void chat_prompt_add(struct chat_prompt *prompt, struct span text, bool from_caller);

/* Renders into an empty prompt. ERR_INPUT: "<field>: <why>", where the template would raise with
 * its own words ("messages[2].role: Unexpected message role."). Messages are taken as templates
 * take them: tool call arguments are objects already (qwen3 takes text as well), other roles than
 * system, user, assistant and tool are errors. */
enum status chat_render(struct chat_prompt *prompt, enum chat_template t,
                        const struct chat_input *input, struct error *err);

/* The ids of a rendered prompt: special tokens only from the template's own pieces. The text
 * between two of them is encoded as one, wherever the pieces lie, as the published pipeline
 * would. */
enum status chat_tokenize(const struct chat_prompt *prompt, const struct tokenizer *tokenizer,
                          struct token_ids *out, struct error *err);

#endif
