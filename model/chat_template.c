/* SPDX-License-Identifier: Apache-2.0 */
/* Which template a file carries, the pieces of a prompt, and their ids. */
#include "model/chat_template.h"

#include "model/chat_renderers.h"

#include <stdlib.h>
#include <xxhash.h>

/* XXH3-64 of the published text without line feeds at its end. */
struct known_template {
    const char *name;
    uint64_t hash;
    chat_renderer *render;
};

static const struct known_template known[CHAT_N] = {
    [CHAT_QWEN35] = {"qwen3.5", 0x0ed0a1d8b9d7e0be, chat_render_qwen35},
    [CHAT_QWEN35_SMALL] = {"qwen3.5-small", 0xea7113e61d9a8bcf, chat_render_qwen35},
    [CHAT_QWEN36] = {"qwen3.6", 0x579b2c2e5ecdae85, chat_render_qwen35},
    [CHAT_QWEN3] = {"qwen3", 0x0283f874ff58d644, chat_render_qwen3},
};

const char *chat_template_name(enum chat_template t) {
    return known[t].name;
}

bool chat_template_from_name(struct span name, enum chat_template *out) {
    for (int t = 0; t < CHAT_N; t++) {
        if (span_is(name, known[t].name)) {
            *out = (enum chat_template)t;
            return true;
        }
    }
    return false;
}

static bool contains(struct span text, const char *marker) {
    return span_find(text, marker) != SIZE_MAX;
}

enum chat_template chat_template_classify(struct span text, bool *exact) {
    while (text.len && text.data[text.len - 1] == '\n')
        text.len--;
    uint64_t hash = XXH3_64bits(text.data, text.len);
    for (int t = 0; t < CHAT_N; t++) {
        if (known[t].hash == hash) {
            *exact = true;
            return (enum chat_template)t;
        }
    }
    *exact = false;
    /* Calls as <function=...> came with Qwen3.5, where the prompt also opens the thought; an
     * earlier template for code has the calls but no thought. */
    if (!contains(text, "<function=") || !contains(text, "<think>"))
        return CHAT_QWEN3;
    if (contains(text, "preserve_thinking"))
        return CHAT_QWEN36;
    return contains(text, "enable_thinking is true") ? CHAT_QWEN35_SMALL : CHAT_QWEN35;
}

enum chat_template chat_template_of(const struct gguf *gguf, bool *exact) {
    struct span text = {0}, arch = {0}, pre = {0};
    *exact = false;
    if (gguf_get_string(gguf, "tokenizer.chat_template", false, &text, NULL) == OK && text.len)
        return chat_template_classify(text, exact);
    if (gguf_get_string(gguf, "general.architecture", false, &arch, NULL) != OK ||
        gguf_get_string(gguf, "tokenizer.ggml.pre", false, &pre, NULL) != OK)
        return CHAT_QWEN35;
    return span_starts_with(arch, "qwen35") || span_is(pre, "qwen35") ? CHAT_QWEN35 : CHAT_QWEN3;
}

void chat_prompt_free(struct chat_prompt *prompt) {
    text_free(&prompt->text);
    free(prompt->pieces);
    *prompt = (struct chat_prompt){0};
}

/* The piece that new text of this kind belongs to: the last one, or a new one. NULL: no memory. */
static struct chat_piece *piece_for(struct chat_prompt *prompt, bool from_caller) {
    size_t n = prompt->n_pieces;
    if (n && prompt->pieces[n - 1].from_caller == from_caller)
        return &prompt->pieces[n - 1];
    if (n == prompt->pieces_room) {
        size_t room = n ? 2 * n : 16;
        struct chat_piece *pieces = realloc(prompt->pieces, room * sizeof *pieces);
        if (!pieces)
            return NULL;
        prompt->pieces = pieces;
        prompt->pieces_room = room;
    }
    prompt->pieces[n] = (struct chat_piece){.begin = prompt->text.len, .from_caller = from_caller};
    prompt->n_pieces++;
    return &prompt->pieces[n];
}

void chat_prompt_add(struct chat_prompt *prompt, struct span text, bool from_caller) {
    if (text.len == 0 || prompt->text.failed)
        return;
    struct chat_piece *piece = piece_for(prompt, from_caller);
    if (!piece) {
        prompt->text.failed = true;
        return;
    }
    text_add(&prompt->text, text);
    piece->end = prompt->text.len;
}

enum status chat_render(struct chat_prompt *prompt, enum chat_template t,
                        const struct chat_input *input, struct error *err) {
    if (!json_object_is_type(input->messages, json_type_array))
        return error_set(err, ERR_INPUT, "messages: must be an array, not %s",
                         json_type_word(input->messages));
    if (input->tools && !json_object_is_type(input->tools, json_type_array))
        return error_set(err, ERR_INPUT, "tools: must be an array, not %s",
                         json_type_word(input->tools));
    if (json_object_array_length(input->messages) == 0)
        return error_set(err, ERR_INPUT, "messages: No messages provided.");
    TRY(known[t].render(prompt, t, input, err));
    if (prompt->text.failed)
        return error_set(err, ERR_NOMEM, "prompt: no memory");
    prompt->starts_in_thought =
        input->add_generation_prompt && span_ends_with(text_span(&prompt->text), "<think>\n");
    return OK;
}

enum status chat_tokenize(const struct chat_prompt *prompt, const struct tokenizer *tokenizer,
                          struct token_ids *out, struct error *err) {
    const char *text = prompt->text.data;
    size_t plain = 0; /* begin of the text that is not encoded yet */
    for (size_t i = 0; i < prompt->n_pieces; i++) {
        const struct chat_piece *piece = &prompt->pieces[i];
        struct added_match match;
        size_t at = piece->begin;
        if (piece->from_caller)
            continue;
        while (tokenizer_next_added(tokenizer, span_make(text, piece->end), at, &match)) {
            struct span before = span_make(text + plain, match.begin - plain);
            TRY(tokenizer_encode(tokenizer, before, false, out, err));
            token_ids_add(out, match.id);
            at = plain = match.begin + match.len;
        }
    }
    if (prompt->text.len > plain)
        TRY(tokenizer_encode(tokenizer, span_make(text + plain, prompt->text.len - plain), false,
                             out, err));
    if (out->failed)
        return error_set(err, ERR_NOMEM, "prompt: no memory for its ids");
    return OK;
}
