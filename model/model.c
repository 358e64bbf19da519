/* SPDX-License-Identifier: Apache-2.0 */
/* Opening order: what is cheap and tells most about a wrong file comes first. */
#include "model/model.h"

static enum status find_unused_ids(struct model *model, struct error *err) {
    uint32_t n = model->hp.n_vocab;
    uint8_t *unused = arena_array(&model->arena, n, 1);
    if (!unused)
        return error_set(err, ERR_NOMEM, "no memory for a vocabulary of %u", n);
    uint32_t n_tokens = tokenizer_n_vocab(model->tokenizer);
    for (uint32_t id = 0; id < n; id++) {
        unused[id] =
            id >= n_tokens || tokenizer_kind(model->tokenizer, (int32_t)id) == TOKEN_UNUSED;
        model->n_real_ids += !unused[id];
    }
    if (model->n_real_ids == 0)
        return error_set(err, ERR_INPUT, "every token of the vocabulary is marked unused");
    model->unused_ids = unused;
    return OK;
}

static enum status open_parts(struct model *model, const struct model_options *options,
                              struct error *err) {
    TRY(hparams_read(&model->hp, &model->gguf, err));
    if (options->with_weights)
        TRY(weights_bind(&model->weights, &model->gguf, &model->hp, options->with_mtp,
                         &model->arena, err));
    enum status status = tokenizer_open(&model->tokenizer, &model->gguf, err);
    model->chat_template = chat_template_of(&model->gguf, &model->chat_template_exact);
    if (status == OK)
        status = find_unused_ids(model, err);
    if (status != OK)
        error_wrap(err, "%s", options->path); /* the readers above name the file themselves */
    return status;
}

enum status model_open(struct model *model, const struct model_options *options,
                       struct error *err) {
    *model = (struct model){0};
    TRY(gguf_open(&model->gguf, options->path, err));
    enum status status = open_parts(model, options, err);
    if (status != OK)
        model_close(model);
    return status;
}

void model_close(struct model *model) {
    tokenizer_close(model->tokenizer);
    gguf_close(&model->gguf);
    arena_free(&model->arena);
    *model = (struct model){0};
}
