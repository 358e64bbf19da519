/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer's keys in a model file: what is read, what is refused and how the error names it;
 * and which chat template a file without, with a known or with an edited one gets. */
#include "model/chat_template.h"
#include "model/gguf_writer.h"
#include "model/tokenizer.h"
#include "support_files.h"
#include "support_vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IM_END = 256, ENDOFTEXT, STOP, PAD, N_TOKENS };

/* A small file, and what may be different in it: NULL and 0 mean as usual. */
struct file {
    const char *model, *pre, *arch, *template;
    bool no_merges, no_types, types_as_text;
    uint32_t n_types;
    int32_t pad_type;
    bool with_eos;
    uint32_t eos;
    int32_t more_ends[TOKENIZER_N_ENDS_MAX];
    uint32_t n_more_ends;
};

static void describe(struct gguf_writer *w, const struct file *f) {
    struct vocabulary v;
    int32_t types[N_TOKENS];
    vocabulary_init(&v, N_TOKENS);
    vocabulary_add_bytes(&v);
    vocabulary_add(&v, span_of("<|im_end|>"), TOKEN_CONTROL);
    vocabulary_add(&v, span_of("<|endoftext|>"), TOKEN_CONTROL);
    vocabulary_add(&v, span_of("<stop>"), TOKEN_USER_DEFINED);
    vocabulary_add(&v, span_of("[PAD259]"), TOKEN_UNUSED);
    for (uint32_t i = 0; i < N_TOKENS; i++)
        types[i] = v.kinds[i];
    if (f->pad_type)
        types[PAD] = f->pad_type;
    gguf_writer_string(w, "general.architecture", span_of(f->arch ? f->arch : "qwen35moe"));
    gguf_writer_string(w, "tokenizer.ggml.model", span_of(f->model ? f->model : "gpt2"));
    gguf_writer_string(w, "tokenizer.ggml.pre", span_of(f->pre ? f->pre : "qwen35"));
    gguf_writer_strings(w, "tokenizer.ggml.tokens", N_TOKENS);
    for (uint32_t i = 0; i < N_TOKENS; i++)
        gguf_writer_add_string(w, v.tokens[i]);
    if (!f->no_merges)
        gguf_writer_strings(w, "tokenizer.ggml.merges", 0);
    if (f->types_as_text)
        gguf_writer_string(w, "tokenizer.ggml.token_type", span_of("normal"));
    else if (!f->no_types)
        gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, f->n_types ? f->n_types : N_TOKENS);
    if (f->with_eos)
        gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", f->eos);
    if (f->n_more_ends)
        gguf_writer_i32s(w, "tokenizer.ggml.eos_token_ids", f->more_ends, f->n_more_ends);
    if (f->template)
        gguf_writer_string(w, "tokenizer.chat_template", span_of(f->template));
    vocabulary_free(&v);
}

/* A file in memory, 8-byte aligned. */
struct opened {
    struct text bytes;
    struct gguf gguf;
};

static void open_file(struct opened *o, const struct file *f) {
    struct gguf_writer w;
    struct error err = {0};
    *o = (struct opened){0};
    gguf_writer_init(&w);
    describe(&w, f);
    if (gguf_writer_header(&w, &o->bytes, &err) != OK ||
        gguf_parse(&o->gguf, "small.gguf", text_span(&o->bytes), true, &err) != OK)
        fail_msg("%s", err.text);
    gguf_writer_free(&w);
}

static void close_file(struct opened *o) {
    gguf_close(&o->gguf);
    text_free(&o->bytes);
}

static void ends_of_a_turn_come_from_three_places(void **state) {
    (void)state;
    struct opened o;
    struct tokenizer *t;
    struct error err = {0};
    open_file(&o, &(struct file){
                      .with_eos = true, .eos = STOP, .more_ends = {'x', 'y'}, .n_more_ends = 2});
    if (tokenizer_open(&t, &o.gguf, &err) != OK)
        fail_msg("%s", err.text);
    for (int32_t id = 0; id < N_TOKENS; id++) {
        bool end = id == 'x' || id == 'y' || id == STOP || id == IM_END || id == ENDOFTEXT;
        assert_int_equal(tokenizer_is_end(t, id), end);
    }
    tokenizer_close(t);
    close_file(&o);
}

static void both_patterns_are_known(void **state) {
    (void)state;
    static const char *const pres[] = {"qwen35", "qwen2"};
    for (size_t i = 0; i < 2; i++) {
        struct opened o;
        struct tokenizer *t;
        struct error err = {0};
        open_file(&o, &(struct file){.pre = pres[i]});
        if (tokenizer_open(&t, &o.gguf, &err) != OK)
            fail_msg("%s", err.text);
        assert_int_equal(tokenizer_n_vocab(t), N_TOKENS);
        tokenizer_close(t);
        close_file(&o);
    }
}

static void faults_name_their_key(void **state) {
    (void)state;
    static const struct {
        struct file file;
        enum status status;
        const char *text;
    } cases[] = {
        {{.model = "llama"}, ERR_UNSUPPORTED, "'tokenizer.ggml.model': is 'llama'"},
        {{.pre = "default"}, ERR_UNSUPPORTED, "'tokenizer.ggml.pre': is 'default'"},
        {{.no_merges = true}, ERR_INPUT, "tokenizer.ggml.merges"},
        {{.no_types = true}, ERR_INPUT, "'tokenizer.ggml.token_type': missing"},
        {{.types_as_text = true}, ERR_INPUT, "'tokenizer.ggml.token_type': must be an array"},
        {{.n_types = 200}, ERR_INPUT, "has 200 entries for 260 tokens"},
        {{.pad_type = 2}, ERR_INPUT, "token_type[259]: is 2"},
        {{.pad_type = -5}, ERR_INPUT, "token_type[259]: is -5"},
        {{.pad_type = 1 << 20}, ERR_INPUT, "token_type[259]: is 1048576"},
        {{.with_eos = true, .eos = N_TOKENS},
         ERR_INPUT,
         "eos_token_id': token 260, the vocabulary has 0..259"},
        {{.with_eos = true, .eos = UINT32_MAX}, ERR_INPUT, "token 4294967295"},
        {{.more_ends = {-7}, .n_more_ends = 1}, ERR_INPUT, "eos_token_ids': token -7"},
        {{.n_more_ends = TOKENIZER_N_ENDS_MAX}, ERR_LIMIT, "has 64 entries, at most 63"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        struct tokenizer *t = NULL;
        struct error err = {0};
        open_file(&o, &cases[i].file);
        assert_int_equal(tokenizer_open(&t, &o.gguf, &err), cases[i].status);
        assert_null(t);
        if (!strstr(err.text, cases[i].text))
            fail_msg("'%s' does not say '%s'", err.text, cases[i].text);
        close_file(&o);
    }
}

static void template_comes_from_text_else_architecture(void **state) {
    (void)state;
    struct text qwen36 = test_read_file(TEST_DATA "/templates/qwen3.6.jinja");
    const struct {
        struct file file;
        enum chat_template t;
        bool exact;
    } cases[] = {
        {{.template = text_str(&qwen36)}, CHAT_QWEN36, true},
        {{.template = "{{ '<function=' }} <think> preserve_thinking"}, CHAT_QWEN36, false},
        {{.template = "{{ '<function=' }} <think>"}, CHAT_QWEN35, false},
        {{.template = "{{ messages }}"}, CHAT_QWEN3, false},
        {{.arch = "qwen35moe"}, CHAT_QWEN35, false},
        {{.arch = "qwen3moe", .pre = "qwen2"}, CHAT_QWEN3, false},
        {{.arch = "qwen3next", .pre = "qwen2", .template = ""}, CHAT_QWEN3, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        bool exact;
        open_file(&o, &cases[i].file);
        assert_int_equal(chat_template_of(&o.gguf, &exact), cases[i].t);
        assert_int_equal(exact, cases[i].exact);
        close_file(&o);
    }
    text_free(&qwen36);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_of_a_turn_come_from_three_places),
        cmocka_unit_test(both_patterns_are_known),
        cmocka_unit_test(faults_name_their_key),
        cmocka_unit_test(template_comes_from_text_else_architecture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
