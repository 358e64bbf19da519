/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a request {"messages", "tools", ...}, rendered by every template. What
 * is refused has a text; what is accepted has pieces that cover the prompt, and ids in which added
 * tokens come from the template alone. */
#include "model/chat_template.h"
#include "tests/fuzz/support_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pieces(const struct chat_prompt *prompt) {
    size_t at = 0;
    for (size_t i = 0; i < prompt->n_pieces; i++) {
        const struct chat_piece *piece = &prompt->pieces[i];
        fuzz_check(piece->begin == at && piece->end > at);
        fuzz_check(i == 0 || piece->from_caller != piece[-1].from_caller);
        at = piece->end;
    }
    fuzz_check(at == prompt->text.len);
}

static size_t count_template_markers(const struct chat_prompt *prompt, const struct tokenizer *t) {
    size_t n = 0;
    for (size_t i = 0; i < prompt->n_pieces; i++) {
        struct added_match match;
        size_t at = prompt->pieces[i].begin;
        struct span text = span_make(prompt->text.data, prompt->pieces[i].end);
        if (prompt->pieces[i].from_caller)
            continue;
        while (tokenizer_next_added(t, text, at, &match)) {
            at = match.begin + match.len;
            n++;
        }
    }
    return n;
}

static void render(enum chat_template which, const struct chat_input *input) {
    const struct tokenizer *t = fuzz_tokenizer();
    struct chat_prompt prompt = {0};
    struct token_ids ids = {0};
    struct error err = {0};
    if (chat_render(&prompt, which, input, &err) == OK) {
        check_pieces(&prompt);
        fuzz_check(chat_tokenize(&prompt, t, &ids, &err) == OK);
        size_t n_added = 0;
        for (size_t i = 0; i < ids.n; i++)
            n_added += tokenizer_kind(t, ids.data[i]) != TOKEN_NORMAL;
        fuzz_check(n_added == count_template_markers(&prompt, t));
    } else {
        fuzz_check(err.text[0] != '\0');
    }
    token_ids_free(&ids);
    chat_prompt_free(&prompt);
}

static bool flag(struct json_object *request, const char *key) {
    struct json_object *value = NULL;
    return json_object_object_get_ex(request, key, &value) && json_object_get_boolean(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct json_object *request;
    if (json_parse(span_make((const char *)data, size), &request, NULL) != OK)
        return 0;
    if (json_object_is_type(request, json_type_object)) {
        struct chat_input input = {
            .enable_thinking = flag(request, "enable_thinking") ? TRI_TRUE : TRI_FALSE,
            .preserve_thinking = flag(request, "preserve_thinking"),
            .add_vision_id = flag(request, "add_vision_id"),
            .add_generation_prompt = flag(request, "add_generation_prompt"),
        };
        json_object_object_get_ex(request, "messages", &input.messages);
        json_object_object_get_ex(request, "tools", &input.tools);
        for (int which = 0; which < CHAT_N; which++)
            render((enum chat_template)which, &input);
    }
    json_object_put(request);
    return 0;
}
