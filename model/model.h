/* SPDX-License-Identifier: Apache-2.0 */
/* A model file, opened for use: header, hyperparameters, weights, tokenizer.
 *
 * Everything lives until model_close; parts may be read by any thread. Commands that need only the
 * text side (tokenize, render) leave the weights unbound. */
#ifndef SHOAL_MODEL_MODEL_H
#define SHOAL_MODEL_MODEL_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/chat_template.h"
#include "model/gguf.h"
#include "model/hparams.h"
#include "model/tokenizer.h"
#include "model/weights.h"

struct model_options {
    const char *path;
    bool with_weights;
    bool with_mtp;
};

struct model {
    struct gguf gguf;
    struct hparams hp;
    struct weights weights; /* if asked for */
    struct tokenizer *tokenizer;
    enum chat_template chat_template;
    bool chat_template_exact;  /* false: classified by its markers; the user should be told once */
    const uint8_t *unused_ids; /* [hp.n_vocab] 1: a padding row that no text can mean */
    uint32_t n_real_ids;       /* ids that are not unused */
    struct arena arena;
};

/* ERR_IO, ERR_INPUT, ERR_LIMIT, ERR_UNSUPPORTED, ERR_NOMEM; the text names the file. */
enum status model_open(struct model *model, const struct model_options *options, struct error *err);
void model_close(struct model *model); /* safe on a zeroed struct */

#endif
