/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer against ids of independent implementations: the Hugging Face tokenizer (the
 * demonstration model's cases), tiktoken (the 151k vocabulary under both patterns), and the
 * published vectors of the 248k vocabulary, which need a model file of the family: named as
 * argument, or by SHOAL_TEST_MODEL. */
#include "model/tokenizer.h"

#include "model/nfc.h"
#include "support_files.h"
#include "support_vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define VECTORS TEST_DATA "/tokenizer/qwen3.5-vectors/"

static struct tokenizer *open_gguf(struct gguf *gguf, const char *path) {
    struct tokenizer *t = NULL;
    struct error err = {0};
    if (gguf_open(gguf, path, &err) != OK || tokenizer_open(&t, gguf, &err) != OK)
        fail_msg("%s", err.text);
    return t;
}

static void check_ids(const struct token_ids *ids, struct json_object *expected, const char *what) {
    bool equal = ids->n == json_object_array_length(expected);
    for (size_t i = 0; equal && i < ids->n; i++)
        equal = ids->data[i] == json_object_get_int(json_object_array_get_idx(expected, i));
    if (!equal)
        fail_msg("'%s': the ids differ", what);
}

/* Decoding gives the form C of the text again. */
static void check_round_trip(const struct tokenizer *t, const struct token_ids *ids,
                             struct span text) {
    struct text back = {0}, expected = {0};
    struct error err;
    assert_int_equal(nfc_append(&expected, text, &err), OK);
    for (size_t i = 0; i < ids->n; i++)
        text_add(&back, tokenizer_bytes(t, ids->data[i]));
    assert_true(span_eq(text_span(&back), text_span(&expected)));
    text_free(&back);
    text_free(&expected);
}

static void demo_texts_give_the_ids_of_the_reference(void **state) {
    (void)state;
    struct gguf gguf = {0};
    struct tokenizer *t = open_gguf(&gguf, SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf");
    struct json_object *golden = test_read_json(SOURCE_DIR "/model/demo/golden-q8_0.json");
    static const char *const lists[] = {"tokenizer", "prompts"};
    size_t n = 0;
    for (size_t k = 0; k < 2; k++) {
        struct json_object *cases = test_field(golden, lists[k]);
        for (size_t i = 0; i < json_object_array_length(cases); i++, n++) {
            struct json_object *c = json_object_array_get_idx(cases, i);
            struct span text = json_span(test_field(c, "text"));
            struct token_ids ids = {0};
            struct error err;
            assert_int_equal(tokenizer_encode(t, text, true, &ids, &err), OK);
            check_ids(&ids, test_field(c, "ids"), text.data);
            check_round_trip(t, &ids, text);
            token_ids_free(&ids);
        }
    }
    assert_true(n > 30);
    json_object_put(golden);
    tokenizer_close(t);
    gguf_close(&gguf);
}

static void demo_ends_and_kinds_are_those_of_the_file(void **state) {
    (void)state;
    struct gguf gguf = {0};
    struct tokenizer *t = open_gguf(&gguf, SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf");
    assert_int_equal(tokenizer_n_vocab(t), 2048);
    assert_true(tokenizer_is_end(t, 1671) && tokenizer_is_end(t, 1673));
    assert_false(tokenizer_is_end(t, 1672) || tokenizer_is_end(t, -1));
    assert_int_equal(tokenizer_find_added(t, "<|im_end|>"), 1673);
    assert_int_equal(tokenizer_find_added(t, "<think>"), 1683);
    assert_int_equal(tokenizer_find_added(t, "<thin"), -1);
    assert_int_equal(tokenizer_kind(t, 0), TOKEN_NORMAL);
    assert_int_equal(tokenizer_kind(t, 1672), TOKEN_CONTROL);
    assert_int_equal(tokenizer_kind(t, 1683), TOKEN_USER_DEFINED);
    assert_int_equal(tokenizer_kind(t, 2047), TOKEN_UNUSED);
    assert_int_equal(tokenizer_kind(t, 2048), TOKEN_UNUSED);
    assert_int_equal(tokenizer_bytes(t, 2047).len, 0);
    assert_int_equal(tokenizer_bytes(t, -1).len, 0);
    assert_int_equal(tokenizer_bytes(t, INT32_MAX).len, 0);
    assert_true(tokenizer_memory_bytes(t) > 10000 && tokenizer_memory_bytes(t) < 200000);
    tokenizer_close(t);
    gguf_close(&gguf);
}

/* Two-character sequences of the vector files: \n, \s, and \x, which is nothing. */
static void unescape(struct text *out, struct span line) {
    text_clear(out);
    for (size_t i = 0; i < line.len; i++) {
        char next = i + 1 < line.len ? line.data[i + 1] : '\0';
        bool escape = line.data[i] == '\\' && (next == 'n' || next == 's' || next == 'x');
        if (!escape)
            text_add_char(out, line.data[i]);
        else if (next != 'x')
            text_add_char(out, next == 'n' ? '\n' : ' ');
        i += escape;
    }
}

/* Next line that is not empty: the vectors' rule for inputs and ids. */
static bool next_filled_line(struct span *rest, struct span *line) {
    while (test_next_line(rest, line)) {
        if (line->len)
            return true;
    }
    return false;
}

static void compare_line(const struct tokenizer *t, struct span text, struct span expected,
                         const char *what, size_t line_no) {
    struct token_ids ids = {0};
    struct error err;
    assert_int_equal(tokenizer_encode(t, text, true, &ids, &err), OK);
    const char *at = expected.data;
    for (size_t i = 0; i < ids.n; i++) {
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at || id != ids.data[i])
            fail_msg("%s: text %zu: id %zu is %d, expected %ld", what, line_no, i, ids.data[i], id);
        at = *end == ',' ? end + 1 : end;
    }
    if (at != expected.data + expected.len)
        fail_msg("%s: text %zu: only %zu ids", what, line_no, ids.n);
    token_ids_free(&ids);
}

static void compare_files(const struct tokenizer *t, const char *name, const char *ids_path) {
    char path[512];
    snprintf(path, sizeof path, VECTORS "%s_input.txt", name);
    struct text inputs = test_read_file(path);
    struct text ids = test_read_file(ids_path);
    struct span rest = text_span(&inputs), ids_rest = text_span(&ids), line, ids_line;
    if (strcmp(name, "utf8") == 0) {
        assert_true(next_filled_line(&ids_rest, &ids_line));
        compare_line(t, rest, ids_line, name, 0);
    } else {
        struct text unescaped = {0};
        size_t n = 0;
        for (; next_filled_line(&rest, &line); n++) {
            assert_true(next_filled_line(&ids_rest, &ids_line));
            unescape(&unescaped, line);
            compare_line(t, text_span(&unescaped), ids_line, name, n);
        }
        assert_true(n >= 20);
        text_free(&unescaped);
    }
    assert_false(next_filled_line(&ids_rest, &ids_line));
    text_free(&inputs);
    text_free(&ids);
}

static const char *const vector_names[] = {"small", "mixed", "utf8"};

static void texts_give_the_ids_of_tiktoken_under_both_patterns(void **state) {
    (void)state;
    static const char *const patterns[] = {[SPLIT_QWEN2] = "qwen2", [SPLIT_QWEN35] = "qwen35"};
    struct vocabulary v;
    vocabulary_init(&v, 160000);
    vocabulary_read_ranks(&v, TEST_DATA "/tokenizer/qwen2-151k.tiktoken");
    assert_int_equal(v.n_tokens, 151643);
    assert_int_equal(v.n_merges, 151643 - 256);
    vocabulary_add(&v, span_of("<|endoftext|>"), TOKEN_CONTROL);
    vocabulary_add(&v, span_of("<|im_start|>"), TOKEN_CONTROL);
    vocabulary_add(&v, span_of("<|im_end|>"), TOKEN_CONTROL);
    for (int pattern = SPLIT_QWEN2; pattern <= SPLIT_QWEN35; pattern++) {
        struct tokenizer_tables tables = vocabulary_tables(&v, (enum split_pattern)pattern);
        struct tokenizer *t;
        struct error err = {0};
        if (tokenizer_open_tables(&t, &tables, &err) != OK)
            fail_msg("%s", err.text);
        assert_true(tokenizer_memory_bytes(t) < 6000000);
        for (size_t i = 0; i < 3; i++) {
            char path[512];
            snprintf(path, sizeof path, TEST_DATA "/tokenizer/qwen2-151k-%s-%s.ids",
                     patterns[pattern], vector_names[i]);
            compare_files(t, vector_names[i], path);
        }
        tokenizer_close(t);
    }
    vocabulary_free(&v);
}

static void texts_give_the_published_ids_of_the_248k_vocabulary(void **state) {
    const char *model = *state;
    if (!model) {
        print_message("skipped: no model file of the family, name one as argument or in "
                      "SHOAL_TEST_MODEL\n");
        skip();
    }
    struct gguf gguf = {0};
    struct tokenizer *t = open_gguf(&gguf, model);
    if (tokenizer_find_added(t, "<|endoftext|>") != 248044) {
        print_message("skipped: %s has another vocabulary\n", model);
        tokenizer_close(t);
        gguf_close(&gguf);
        skip();
    }
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, VECTORS "%s_tokens.txt", vector_names[i]);
        compare_files(t, vector_names[i], path);
    }
    tokenizer_close(t);
    gguf_close(&gguf);
}

int main(int argc, char **argv) {
    char *model = argc > 1 ? argv[1] : getenv("SHOAL_TEST_MODEL");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_texts_give_the_ids_of_the_reference),
        cmocka_unit_test(demo_ends_and_kinds_are_those_of_the_file),
        cmocka_unit_test(texts_give_the_ids_of_tiktoken_under_both_patterns),
        cmocka_unit_test_prestate(texts_give_the_published_ids_of_the_248k_vocabulary, model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
