/* SPDX-License-Identifier: Apache-2.0 */
/* Small vocabularies made by hand: which merge comes first, what is found in text, bytes that are
 * no text, words of many megabytes, and every error of damaged tables. */
#include "model/bpe.h"
#include "model/byte_alphabet.h"
#include "model/tokenizer.h"
#include "support_vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Bytes, then a, aa, aaaa, ab, <|im_start|>, <|im_end|>, <think>, <think>!, unused. */
enum { AA = 256, AAAA, AB, IM_START, IM_END, THINK, THINK_LONG, UNUSED, N_SMALL };

static void make_small(struct vocabulary *v) {
    vocabulary_init(v, 300);
    vocabulary_add_bytes(v);
    vocabulary_add(v, span_of("aa"), TOKEN_NORMAL);
    vocabulary_add(v, span_of("aaaa"), TOKEN_NORMAL);
    vocabulary_add(v, span_of("ab"), TOKEN_NORMAL);
    vocabulary_add(v, span_of("<|im_start|>"), TOKEN_CONTROL);
    vocabulary_add(v, span_of("<|im_end|>"), TOKEN_CONTROL);
    vocabulary_add(v, span_of("<think>"), TOKEN_USER_DEFINED);
    vocabulary_add(v, span_of("<think>!"), TOKEN_USER_DEFINED);
    vocabulary_add(v, span_of("[PAD]"), TOKEN_UNUSED);
    vocabulary_add_merge(v, span_of("a"), span_of("a"));
    vocabulary_add_merge(v, span_of("aa"), span_of("aa"));
    vocabulary_add_merge(v, span_of("a"), span_of("b"));
}

static struct tokenizer *open_small(void) {
    struct vocabulary v;
    struct tokenizer *t = NULL;
    struct error err = {0};
    make_small(&v);
    struct tokenizer_tables tables = vocabulary_tables(&v, SPLIT_QWEN35);
    if (tokenizer_open_tables(&t, &tables, &err) != OK)
        fail_msg("%s", err.text);
    vocabulary_free(&v);
    return t;
}

static void check(const struct tokenizer *t, struct span text, bool special, size_t n,
                  const int32_t *expected) {
    struct token_ids ids = {0};
    struct error err;
    assert_int_equal(tokenizer_encode(t, text, special, &ids, &err), OK);
    assert_int_equal(ids.n, n);
    if (n)
        assert_memory_equal(ids.data, expected, n * sizeof *expected);
    token_ids_free(&ids);
}

#define CHECK(t, text, special, ...)                                                               \
    do {                                                                                           \
        static const int32_t expected_[] = {__VA_ARGS__};                                          \
        check(t, span_make(text, sizeof text - 1), special,                                        \
              sizeof expected_ / sizeof expected_[0], expected_);                                  \
    } while (0)

static void lowest_rank_merges_first_and_leftmost_on_ties(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    CHECK(t, "a", false, 'a');
    CHECK(t, "aaa", false, AA, 'a');
    CHECK(t, "aaaa", false, AAAA);
    CHECK(t, "aaaaaaa", false, AAAA, AA, 'a');
    /* "aa" has the lower rank, so the last a is gone when "ab" has its turn. */
    CHECK(t, "aab", false, AA, 'b');
    CHECK(t, "aaab", false, AA, AB);
    CHECK(t, "bab", false, 'b', AB);
    tokenizer_close(t);
}

static void empty_text_has_no_ids(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    check(t, (struct span){0}, true, 0, NULL);
    check(t, span_of(""), false, 0, NULL);
    tokenizer_close(t);
}

static void added_tokens_are_found_only_if_asked(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    CHECK(t, "<|im_end|>", true, IM_END);
    CHECK(t, "<|im_end|>", false, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>');
    CHECK(t, "a<|im_start|>a<|im_end|>a", true, 'a', IM_START, 'a', IM_END, 'a');
    CHECK(t, "<|im_start|", true, '<', '|', 'i', 'm', '_', 's', 't', 'a', 'r', 't', '|');
    CHECK(t, "<<think>", true, '<', THINK);
    tokenizer_close(t);
}

static void longest_of_added_tokens_wins(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    CHECK(t, "<think>!a", true, THINK_LONG, 'a');
    CHECK(t, "<think>?", true, THINK, '?');
    CHECK(t, "<think><think>!", true, THINK, THINK_LONG);
    tokenizer_close(t);
}

static void padding_is_never_found_in_text(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    CHECK(t, "[PAD]", true, '[', 'P', 'A', 'D', ']');
    assert_int_equal(tokenizer_find_added(t, "[PAD]"), -1);
    tokenizer_close(t);
}

/* An added token cuts before form C is taken: the accent stays alone. */
static void added_tokens_cut_before_normalisation(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    CHECK(t, "e\xcc\x81", true, 0xc3, 0xa9);
    CHECK(t, "e<think>\xcc\x81", true, 'e', THINK, 0xcc, 0x81);
    tokenizer_close(t);
}

static void bytes_that_are_no_text_pass_through(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    CHECK(t,
          "a\xff\xfe"
          "a",
          false, 'a', 0xff, 0xfe, 'a');
    CHECK(t, "\xc3", false, 0xc3);
    CHECK(t, "\xc3<think>\xa9", true, 0xc3, THINK, 0xa9);
    CHECK(t, "\xed\xa0\x80", false, 0xed, 0xa0, 0x80);
    CHECK(t, "\0a\0", false, 0, 'a', 0);
    /* The broken bytes end the word: "aa" before and after does not become "aaaa". */
    CHECK(t,
          "aa\x80"
          "aa",
          false, AA, 0x80, AA);
    tokenizer_close(t);
}

static void every_byte_survives_a_round_trip(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    char bytes[3 * 256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 % 256);
    struct token_ids ids = {0};
    struct error err;
    struct text back = {0};
    assert_int_equal(tokenizer_encode(t, span_make(bytes, sizeof bytes), true, &ids, &err), OK);
    for (size_t i = 0; i < ids.n; i++)
        text_add(&back, tokenizer_bytes(t, ids.data[i]));
    assert_true(span_eq(text_span(&back), span_make(bytes, sizeof bytes)));
    text_free(&back);
    token_ids_free(&ids);
    tokenizer_close(t);
}

static void words_of_megabytes_are_encoded(void **state) {
    (void)state;
    static const char letters[] = {'a', ' ', '\n', '<', '\xff'};
    const size_t n = 8u << 20;
    struct tokenizer *t = open_small();
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t k = 0; k < sizeof letters; k++) {
        struct token_ids ids = {0};
        struct error err;
        memset(bytes, letters[k], n);
        assert_int_equal(tokenizer_encode(t, span_make(bytes, n), true, &ids, &err), OK);
        assert_int_equal(ids.n, letters[k] == 'a' ? n / 4 : n);
        token_ids_free(&ids);
    }
    free(bytes);
    tokenizer_close(t);
}

/* Every pair enters the heap once, and once more for each merge beside it. */
static void work_on_a_long_word_is_linear_in_pairs(void **state) {
    (void)state;
    static const struct bpe_merge merges[] = {{'a', 'a', AA}, {AA, AA, AAAA}};
    const size_t n = 1u << 20;
    struct arena arena = {0};
    struct bpe bpe = {0};
    struct bpe_scratch scratch = {0};
    struct token_ids ids = {0};
    struct error err;
    for (uint32_t i = 0; i < 256; i++)
        bpe.byte_ids[i] = i;
    assert_int_equal(bpe_init(&bpe, merges, 2, &arena, &err), OK);
    char *bytes = malloc(n);
    assert_non_null(bytes);
    memset(bytes, 'a', n);
    assert_true(bpe_encode(&bpe, span_make(bytes, n), &scratch, &ids));
    assert_int_equal(ids.n, n / 4);
    assert_true(scratch.n_pops < 3 * n);
    free(bytes);
    token_ids_free(&ids);
    bpe_scratch_free(&scratch);
    arena_free(&arena);
}

/* Long words take the heap, short ones the scan: the same word behind a border must not differ. */
static void heap_and_scan_agree(void **state) {
    (void)state;
    struct tokenizer *t = open_small();
    for (size_t n = 1; n <= 70; n++) {
        char word[70];
        for (size_t i = 0; i < n; i++)
            word[i] = i % 11 == 7 || i % 5 == 3 ? 'b' : 'a';
        struct token_ids ids = {0};
        struct error err;
        assert_int_equal(tokenizer_encode(t, span_make(word, n), false, &ids, &err), OK);
        /* Greedy by rank on runs of a: whole fours, a pair, then a single with its b. */
        size_t at = 0, k = 0;
        while (at < n) {
            size_t run = 0;
            while (at + run < n && word[at + run] == 'a')
                run++;
            for (size_t i = 0; i < run / 4; i++)
                assert_int_equal(ids.data[k++], AAAA);
            if (run % 4 >= 2)
                assert_int_equal(ids.data[k++], AA);
            at += run;
            bool single = run % 2 == 1;
            bool b = at < n;
            if (single && b)
                assert_int_equal(ids.data[k++], AB);
            else if (single || b)
                assert_int_equal(ids.data[k++], single ? 'a' : 'b');
            at += b;
        }
        assert_int_equal(k, ids.n);
        token_ids_free(&ids);
    }
    tokenizer_close(t);
}

static void byte_alphabet_is_a_bijection(void **state) {
    (void)state;
    int n = 0;
    for (uint32_t c = 0; c < 0x400; c++) {
        int byte = byte_alphabet_byte(c);
        if (byte < 0)
            continue;
        assert_int_equal(byte_alphabet_char((unsigned char)byte), c);
        n++;
    }
    assert_int_equal(n, 256);
    assert_int_equal(byte_alphabet_char(' '), 0x120);
    assert_int_equal(byte_alphabet_char('\n'), 0x10a);
    assert_int_equal(byte_alphabet_char('\t'), 0x109);
    assert_int_equal(byte_alphabet_char(0xad), 0x143);
}

/* One thing wrong in the small vocabulary, and what the error says of it. */
static void expect_error(struct vocabulary *v, const struct tokenizer_tables *tables,
                         enum status status, const char *text) {
    struct tokenizer *t = NULL;
    struct error err = {0};
    assert_int_equal(tokenizer_open_tables(&t, tables, &err), status);
    assert_null(t);
    if (!strstr(err.text, text))
        fail_msg("'%s' does not say '%s'", err.text, text);
    vocabulary_free(v);
}

static void damaged_tokens_are_errors(void **state) {
    (void)state;
    struct vocabulary v;
    struct tokenizer_tables tables;
    make_small(&v);
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    tables.n_tokens = 0;
    expect_error(&v, &tables, ERR_INPUT, "tokens: the list is empty");

    make_small(&v);
    v.tokens[AB] = v.tokens[AA];
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "tokens[258]: the same text as tokens[256]");

    make_small(&v);
    v.tokens[AB] = span_of("a b");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "tokens[258]: a normal token that is not spelled");

    make_small(&v);
    v.tokens[AB] = span_of("");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "tokens[258]: empty");

    make_small(&v);
    v.tokens['a'] = vocabulary_spell(&v, span_of("zz"));
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "tokens: none for the single byte 0x61");

    make_small(&v);
    v.kinds[AB] = 2;
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "token_type[258]: is 2, must be 1, 3, 4 or 5");
}

static void damaged_added_tokens_are_errors(void **state) {
    (void)state;
    static char long_text[ADDED_TOKEN_BYTES_MAX + 1];
    struct vocabulary v;
    struct tokenizer_tables tables;
    make_small(&v);
    v.tokens[THINK] = v.tokens[IM_END];
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "the same text as tokens[");

    make_small(&v);
    v.tokens[THINK] = span_of("");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "tokens[261]: an added token without text");

    make_small(&v);
    memset(long_text, 'x', sizeof long_text);
    v.tokens[THINK] = span_make(long_text, sizeof long_text);
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_LIMIT, "tokens[261]: an added token of 257 bytes, at most 256");
}

static void damaged_merges_are_errors(void **state) {
    (void)state;
    struct vocabulary v;
    struct tokenizer_tables tables;
    make_small(&v);
    v.merges[2] = v.merges[0];
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "merges[2]: the same pair as merges[0]");

    make_small(&v);
    v.merges[1] = span_of("aaaa");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "merges[1]: not two spellings");

    make_small(&v);
    v.merges[1] = span_of("a a b");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "merges[1]: not two spellings");

    make_small(&v);
    v.merges[1] = span_of("zz a");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "merges[1]: its left part is not in the vocabulary");

    make_small(&v);
    v.merges[1] = span_of("a zz");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "merges[1]: its right part is not in the vocabulary");

    make_small(&v);
    v.merges[1] = span_of("b b");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "merges[1]: its result is not in the vocabulary");

    make_small(&v);
    v.merges[1] = span_of("a ");
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    expect_error(&v, &tables, ERR_INPUT, "merges[1]: its right part is not in the vocabulary");
}

static void tables_over_a_limit_are_errors(void **state) {
    (void)state;
    struct vocabulary v;
    struct tokenizer_tables tables;
    static const int32_t ends[] = {IM_END, N_SMALL};
    make_small(&v);
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    tables.n_merges = TOKENIZER_VOCAB_MAX + 1;
    expect_error(&v, &tables, ERR_LIMIT, "at most 4194304 each");

    make_small(&v);
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    tables.n_end_ids = TOKENIZER_N_ENDS_MAX + 1;
    expect_error(&v, &tables, ERR_LIMIT, "65 end tokens, at most 64");

    make_small(&v);
    tables = vocabulary_tables(&v, SPLIT_QWEN35);
    tables.end_ids = ends;
    tables.n_end_ids = 2;
    expect_error(&v, &tables, ERR_INPUT, "end token 264: the vocabulary has ids 0..263");

    struct tokenizer *t = open_small();
    struct token_ids ids = {0};
    struct error err;
    struct span huge = span_make("", (size_t)TOKENIZER_TEXT_MAX + 1);
    assert_int_equal(tokenizer_encode(t, huge, false, &ids, &err), ERR_LIMIT);
    tokenizer_close(t);
}

static void vocabulary_without_merges_encodes_bytes(void **state) {
    (void)state;
    struct vocabulary v;
    struct tokenizer *t;
    struct error err;
    vocabulary_init(&v, 256);
    vocabulary_add_bytes(&v);
    struct tokenizer_tables tables = vocabulary_tables(&v, SPLIT_QWEN2);
    assert_int_equal(tokenizer_open_tables(&t, &tables, &err), OK);
    CHECK(t, "abc <think>", true, 'a', 'b', 'c', ' ', '<', 't', 'h', 'i', 'n', 'k', '>');
    tokenizer_close(t);
    vocabulary_free(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowest_rank_merges_first_and_leftmost_on_ties),
        cmocka_unit_test(empty_text_has_no_ids),
        cmocka_unit_test(added_tokens_are_found_only_if_asked),
        cmocka_unit_test(longest_of_added_tokens_wins),
        cmocka_unit_test(padding_is_never_found_in_text),
        cmocka_unit_test(added_tokens_cut_before_normalisation),
        cmocka_unit_test(bytes_that_are_no_text_pass_through),
        cmocka_unit_test(every_byte_survives_a_round_trip),
        cmocka_unit_test(words_of_megabytes_are_encoded),
        cmocka_unit_test(work_on_a_long_word_is_linear_in_pairs),
        cmocka_unit_test(heap_and_scan_agree),
        cmocka_unit_test(byte_alphabet_is_a_bijection),
        cmocka_unit_test(damaged_tokens_are_errors),
        cmocka_unit_test(damaged_added_tokens_are_errors),
        cmocka_unit_test(damaged_merges_are_errors),
        cmocka_unit_test(tables_over_a_limit_are_errors),
        cmocka_unit_test(vocabulary_without_merges_encodes_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
