/* SPDX-License-Identifier: Apache-2.0 */
/* Merges come from a list of words: every word " w o r d" is built letter by letter from its front,
 * so that each prefix is a token, and the rank of a merge is the place where its prefix first
 * appears. A word of the list is then encoded as one token. */
#include "cli/synth_vocab.h"

#include "base/utf8.h"
#include "model/byte_alphabet.h"
#include "model/tokenizer.h"

#include <stdio.h>
#include <string.h>

static const char words[] =
    "the and that have for not with you this but his from they say her she will one all would "
    "there their what out about who get which when make can like time just him know take people "
    "into year your good some could them see other than then now look only come its over think "
    "also back after use two how our work first well way even new want because any these give day "
    "most hello world number question answer capital please thank where is in it of to on at";

/* In the order of the published vocabulary; Qwen3 has the first 26. */
static const struct {
    const char *text;
    enum token_kind kind;
} added[] = {
    {"<|endoftext|>", TOKEN_CONTROL},
    {"<|im_start|>", TOKEN_CONTROL},
    {"<|im_end|>", TOKEN_CONTROL},
    {"<|object_ref_start|>", TOKEN_CONTROL},
    {"<|object_ref_end|>", TOKEN_CONTROL},
    {"<|box_start|>", TOKEN_CONTROL},
    {"<|box_end|>", TOKEN_CONTROL},
    {"<|quad_start|>", TOKEN_CONTROL},
    {"<|quad_end|>", TOKEN_CONTROL},
    {"<|vision_start|>", TOKEN_CONTROL},
    {"<|vision_end|>", TOKEN_CONTROL},
    {"<|vision_pad|>", TOKEN_CONTROL},
    {"<|image_pad|>", TOKEN_CONTROL},
    {"<|video_pad|>", TOKEN_CONTROL},
    {"<tool_call>", TOKEN_USER_DEFINED},
    {"</tool_call>", TOKEN_USER_DEFINED},
    {"<|fim_prefix|>", TOKEN_CONTROL},
    {"<|fim_middle|>", TOKEN_CONTROL},
    {"<|fim_suffix|>", TOKEN_CONTROL},
    {"<|fim_pad|>", TOKEN_CONTROL},
    {"<|repo_name|>", TOKEN_CONTROL},
    {"<|file_sep|>", TOKEN_CONTROL},
    {"<tool_response>", TOKEN_USER_DEFINED},
    {"</tool_response>", TOKEN_USER_DEFINED},
    {"<think>", TOKEN_USER_DEFINED},
    {"</think>", TOKEN_USER_DEFINED},
    {"<|audio_start|>", TOKEN_CONTROL},
    {"<|audio_end|>", TOKEN_CONTROL},
    {"<tts_pad>", TOKEN_CONTROL},
    {"<tts_text_bos>", TOKEN_CONTROL},
    {"<tts_text_eod>", TOKEN_CONTROL},
    {"<tts_text_bos_single>", TOKEN_CONTROL},
    {"<|audio_pad|>", TOKEN_CONTROL},
};

#define ADDED_N       (sizeof added / sizeof added[0])
#define ADDED_N_QWEN3 26
#define ADDED_EOT     0 /* <|endoftext|> */
#define ADDED_IM_END  2

/* The space before a word, in the byte alphabet. */
#define SPACE "\xc4\xa0"

#define MERGES_MAX 1024

/* A prefix that the merges make: a view into `words`, behind a space. */
struct merges {
    struct span prefixes[MERGES_MAX];
    uint32_t n;
};

static bool has_prefix(const struct merges *merges, struct span prefix) {
    for (uint32_t i = 0; i < merges->n; i++) {
        if (span_eq(merges->prefixes[i], prefix))
            return true;
    }
    return false;
}

static void collect_merges(struct merges *merges, uint32_t n_max) {
    const char *word = words;
    while (*word) {
        size_t len = strcspn(word, " ");
        for (size_t n = 1; n <= len && merges->n < n_max && merges->n < MERGES_MAX; n++) {
            struct span prefix = span_make(word, n);
            if (!has_prefix(merges, prefix))
                merges->prefixes[merges->n++] = prefix;
        }
        word += len;
        word += *word == ' ';
    }
}

/* Bytes in the order of their characters: those that stand for themselves first. */
static void write_bytes(struct gguf_writer *w) {
    for (uint32_t c = 0; c < 512; c++) {
        char text[4];
        if (byte_alphabet_byte(c) >= 0)
            gguf_writer_add_string(w, span_make(text, utf8_encode(c, text)));
    }
}

static void write_tokens(struct gguf_writer *w, const struct merges *merges, uint32_t n_filler,
                         uint32_t n_added, uint32_t n_padding) {
    char text[64];
    gguf_writer_strings(w, "tokenizer.ggml.tokens",
                        256 + (uint64_t)merges->n + n_filler + n_added + n_padding);
    write_bytes(w);
    for (uint32_t i = 0; i < merges->n; i++) {
        struct span prefix = merges->prefixes[i];
        snprintf(text, sizeof text, SPACE "%.*s", (int)prefix.len, prefix.data);
        gguf_writer_add_string(w, span_of(text));
    }
    for (uint32_t i = 0; i < n_filler; i++) {
        snprintf(text, sizeof text, SPACE "filler%u", i);
        gguf_writer_add_string(w, span_of(text));
    }
    for (uint32_t i = 0; i < n_added; i++)
        gguf_writer_add_string(w, span_of(added[i].text));
    uint32_t first = 256 + merges->n + n_filler + n_added;
    for (uint32_t i = 0; i < n_padding; i++) {
        snprintf(text, sizeof text, "[PAD%u]", first + i);
        gguf_writer_add_string(w, span_of(text));
    }
}

static enum status write_kinds(struct gguf_writer *w, uint32_t n_normal, uint32_t n_added,
                               uint32_t n_padding, struct error *err) {
    struct arena arena = {0};
    uint32_t n = n_normal + n_added + n_padding;
    int32_t *kinds = arena_array(&arena, n, sizeof *kinds);
    if (!kinds)
        return error_set(err, ERR_NOMEM, "no memory for a vocabulary of %u", n);
    for (uint32_t i = 0; i < n; i++) {
        bool is_added = i >= n_normal && i < n_normal + n_added;
        kinds[i] = is_added       ? (int32_t)added[i - n_normal].kind
                   : i < n_normal ? TOKEN_NORMAL
                                  : TOKEN_UNUSED;
    }
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", kinds, n);
    arena_free(&arena);
    return OK;
}

static void write_merges(struct gguf_writer *w, const struct merges *merges) {
    char text[64];
    gguf_writer_strings(w, "tokenizer.ggml.merges", merges->n);
    for (uint32_t i = 0; i < merges->n; i++) {
        struct span prefix = merges->prefixes[i];
        snprintf(text, sizeof text, SPACE "%.*s %c", (int)prefix.len - 1, prefix.data,
                 prefix.data[prefix.len - 1]);
        gguf_writer_add_string(w, span_of(text));
    }
}

enum status synth_vocab_write(const struct synth_vocab_options *o, struct gguf_writer *w,
                              struct error *err) {
    bool is_qwen35 = o->arch == ARCH_QWEN35 || o->arch == ARCH_QWEN35MOE;
    uint32_t n_added = is_qwen35 ? ADDED_N : ADDED_N_QWEN3;
    uint32_t n_fixed = 256 + n_added + o->n_padding;
    if (o->n_vocab < SYNTH_VOCAB_MIN || o->n_vocab < n_fixed) {
        return error_set(err, ERR_INPUT, "a vocabulary of %u is too small: %u are needed",
                         o->n_vocab, n_fixed > SYNTH_VOCAB_MIN ? n_fixed : SYNTH_VOCAB_MIN);
    }
    struct merges merges = {.n = 0};
    collect_merges(&merges, o->n_vocab - n_fixed);
    uint32_t n_filler = o->n_vocab - n_fixed - merges.n;
    uint32_t n_normal = 256 + merges.n + n_filler;
    gguf_writer_string(w, "tokenizer.ggml.model", span_of("gpt2"));
    gguf_writer_string(w, "tokenizer.ggml.pre", span_of(is_qwen35 ? "qwen35" : "qwen2"));
    write_tokens(w, &merges, n_filler, n_added, o->n_padding);
    TRY(write_kinds(w, n_normal, n_added, o->n_padding, err));
    write_merges(w, &merges);
    gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", n_normal + ADDED_IM_END);
    gguf_writer_u32(w, "tokenizer.ggml.padding_token_id", n_normal + ADDED_EOT);
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", false);
    gguf_writer_string(w, "tokenizer.chat_template", span_of(synth_chat_template));
    return OK;
}
