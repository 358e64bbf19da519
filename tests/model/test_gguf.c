/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of GGUF headers: what the demonstration file says (numbers from the `gguf` Python
 * package 0.19), and every way in which a header can be wrong. */
#include "model/gguf.h"

#include "model/gguf_writer.h"
#include "support_model_header.h"

#include <xxhash.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

#define DEMO SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf"

/* ---- raw bytes of headers ---- */

static void add_number(struct text *out, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++)
        text_add_char(out, (char)(value >> (8 * i) & 0xff));
}

static void add_name(struct text *out, const char *name) {
    add_number(out, strlen(name), 8);
    text_add_str(out, name);
}

static void add_begin(struct text *out, uint64_t n_tensors, uint64_t n_pairs) {
    text_add_str(out, "GGUF");
    add_number(out, 3, 4);
    add_number(out, n_tensors, 8);
    add_number(out, n_pairs, 8);
}

static void add_key(struct text *out, const char *key, enum gguf_type type) {
    add_name(out, key);
    add_number(out, type, 4);
}

/* A vector of n elements. */
static void add_info(struct text *out, const char *name, uint64_t n, uint32_t type,
                     uint64_t offset) {
    add_name(out, name);
    add_number(out, 1, 4);
    add_number(out, n, 8);
    add_number(out, type, 4);
    add_number(out, offset, 8);
}

static void add_zeros(struct text *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        text_add_char(out, '\0');
}

static void pad_to(struct text *out, size_t align) {
    while (out->len % align)
        text_add_char(out, '\0');
}

/* Parses the bytes, frees them and expects an error that says `where` and `what`. */
static void expect_error(struct text *bytes, enum status status, const char *where,
                         const char *what) {
    struct gguf gguf;
    struct error err = {0};
    assert_false(bytes->failed);
    assert_int_equal(gguf_parse(&gguf, "x.gguf", text_span(bytes), false, &err), status);
    if (!strstr(err.text, "x.gguf") || !strstr(err.text, where) || !strstr(err.text, what))
        fail_msg("'%s' does not say '%s' and '%s'", err.text, where, what);
    gguf_close(&gguf);
    text_free(bytes);
}

static void expect_ok(struct text *bytes) {
    struct gguf gguf;
    struct error err = {0};
    if (gguf_parse(&gguf, "x.gguf", text_span(bytes), false, &err))
        fail_msg("%s", err.text);
    gguf_close(&gguf);
    text_free(bytes);
}

/* ---- the demonstration file ---- */

static void demo_file_has_its_known_tensors_and_keys(void **state) {
    (void)state;
    struct gguf gguf;
    struct error err = {0};
    if (gguf_open(&gguf, DEMO, &err))
        fail_msg("%s", err.text);
    assert_int_equal(gguf.n_tensors, 96);
    assert_int_equal(gguf.n_pairs, 39);
    assert_int_equal(gguf.n_parts, 1);
    assert_true(span_is(gguf.tensors[0].name, "token_embd.weight"));
    assert_int_equal(gguf.tensors[0].offset, 71232);

    const struct gguf_tensor *exps = gguf_find_tensor(&gguf, "blk.0.ffn_gate_exps.weight");
    assert_non_null(exps);
    assert_int_equal(exps->tensor.n_dims, 3);
    assert_int_equal(exps->tensor.shape[0], 16);
    assert_int_equal(exps->tensor.shape[1], 256);
    assert_int_equal(exps->tensor.shape[2], 256);
    assert_int_equal(exps->tensor.dtype, DTYPE_Q8_0);
    assert_int_equal(exps->offset, 1780992);
    assert_int_equal(exps->tensor.bytes, 16 * 256 * 256 / 32 * 34);
    const struct gguf_tensor *proj = gguf_find_tensor(&gguf, "blk.4.nextn.eh_proj.weight");
    assert_non_null(proj);
    assert_int_equal(proj->tensor.shape[0], 256);
    assert_int_equal(proj->tensor.shape[1], 512);
    assert_int_equal(proj->offset, 23000704);
    assert_ptr_equal(proj->tensor.data, gguf.parts[0].bytes.data + 23000704);
    assert_null(gguf_find_tensor(&gguf, "blk.5.attn_norm.weight"));

    uint32_t block_count = 0;
    float base = 0;
    bool add_bos = true;
    struct span name = {0};
    assert_int_equal(gguf_get_u32(&gguf, "qwen35moe.block_count", true, &block_count, &err), OK);
    assert_int_equal(block_count, 5);
    assert_int_equal(gguf_get_f32(&gguf, "qwen35moe.rope.freq_base", true, &base, &err), OK);
    assert_true(base == 1e7f);
    assert_int_equal(gguf_get_bool(&gguf, "tokenizer.ggml.add_bos_token", &add_bos, &err), OK);
    assert_false(add_bos);
    assert_int_equal(gguf_get_string(&gguf, "general.name", true, &name, &err), OK);
    assert_true(span_is(name, "shoal-demo"));
    const struct gguf_value *sections = gguf_find(&gguf, "qwen35moe.rope.dimension_sections");
    assert_int_equal(sections->array.n, 4);
    assert_int_equal(gguf_array_int(sections, 0), 11);
    assert_int_equal(gguf_array_int(sections, 2), 10);
    gguf_close(&gguf);
}

static void demo_file_walks_its_tokens_in_order(void **state) {
    (void)state;
    struct gguf gguf;
    struct error err = {0};
    assert_int_equal(gguf_open(&gguf, DEMO, &err), OK);
    struct gguf_strings tokens;
    assert_int_equal(gguf_get_strings(&gguf, "tokenizer.ggml.tokens", &tokens, &err), OK);
    struct span token;
    uint32_t n = 0;
    for (; gguf_strings_next(&tokens, &token); n++) {
        if (n == 10) /* the line feed's character */
            assert_true(span_is(token, "\xc4\x8a"));
        if (n == 1672)
            assert_true(span_is(token, "<|im_start|>"));
    }
    assert_int_equal(n, 2048);
    assert_int_equal(gguf_get_strings(&gguf, "tokenizer.ggml.token_type", &tokens, &err),
                     ERR_INPUT);
    gguf_close(&gguf);
}

static void header_hash_covers_the_header_only(void **state) {
    (void)state;
    struct gguf gguf;
    assert_int_equal(gguf_open(&gguf, DEMO, NULL), OK);
    struct span file = gguf.parts[0].bytes;
    uint64_t n = gguf.parts[0].header_bytes;
    assert_true(n > 71232 - 32 && n <= 71232);
    assert_true(gguf_header_hash(&gguf) == XXH3_64bits(file.data, n));
    gguf_close(&gguf);
}

/* ---- what is accepted ---- */

static void empty_file_of_no_keys_and_no_tensors_is_valid(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 0, 0);
    expect_ok(&bytes);
}

static void version_2_reads_as_version_3(void **state) {
    (void)state;
    struct text bytes = {0};
    model_header_bytes(&bytes, &(struct model_header){.arch = ARCH_QWEN35MOE});
    bytes.data[4] = 2;
    expect_ok(&bytes);
}

static void bytes_after_the_last_tensor_are_accepted(void **state) {
    (void)state;
    struct text bytes = {0};
    model_header_bytes(&bytes, &(struct model_header){.arch = ARCH_QWEN35});
    text_add_str(&bytes, "anything may follow");
    expect_ok(&bytes);
}

static void the_last_tensor_needs_no_padding(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 1, 0);
    add_info(&bytes, "a", 1, 0, 0);
    pad_to(&bytes, 32);
    add_zeros(&bytes, 4);
    expect_ok(&bytes);
}

static void alignment_key_moves_the_data(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 2, 1);
    add_key(&bytes, "general.alignment", GGUF_U32);
    add_number(&bytes, 256, 4);
    add_info(&bytes, "a", 1, 0, 0);
    add_info(&bytes, "b", 1, 0, 256);
    pad_to(&bytes, 256);
    size_t start = bytes.len;
    add_zeros(&bytes, 256);
    text_add(&bytes, span_make("\0\0\x80\x3f", 4));
    struct gguf gguf;
    struct error err = {0};
    if (gguf_parse(&gguf, "x.gguf", text_span(&bytes), false, &err))
        fail_msg("%s", err.text);
    const struct gguf_tensor *b = gguf_find_tensor(&gguf, "b");
    assert_int_equal(b->offset, start + 256);
    assert_true(*(const float *)b->tensor.data == 1.0f);
    gguf_close(&gguf);
    text_free(&bytes);
}

static void every_value_type_is_read(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 0, 13);
    static const struct {
        const char *key;
        enum gguf_type type;
        uint64_t raw;
        size_t n;
    } scalars[] = {{"u8", GGUF_U8, 200, 1},
                   {"i8", GGUF_I8, 0x80, 1},
                   {"u16", GGUF_U16, 60000, 2},
                   {"i16", GGUF_I16, 0x8000, 2},
                   {"u32", GGUF_U32, 4000000000u, 4},
                   {"i32", GGUF_I32, 0xffffffffu, 4},
                   {"f32", GGUF_F32, 0x3fc00000u, 4},
                   {"bool", GGUF_BOOL, 1, 1},
                   {"u64", GGUF_U64, 7, 8},
                   {"i64", GGUF_I64, UINT64_MAX, 8},
                   {"f64", GGUF_F64, 0x3ff8000000000000u, 8}};
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++) {
        add_key(&bytes, scalars[i].key, scalars[i].type);
        add_number(&bytes, scalars[i].raw, scalars[i].n);
    }
    add_key(&bytes, "string", GGUF_STRING);
    add_name(&bytes, "text");
    add_key(&bytes, "array", GGUF_ARRAY);
    add_number(&bytes, GGUF_I16, 4);
    add_number(&bytes, 2, 8);
    add_number(&bytes, 0xfffe, 2);
    add_number(&bytes, 3, 2);
    struct gguf gguf;
    struct error err = {0};
    if (gguf_parse(&gguf, "x.gguf", text_span(&bytes), false, &err))
        fail_msg("%s", err.text);
    assert_int_equal(gguf_find(&gguf, "i8")->i64, -128);
    assert_int_equal(gguf_find(&gguf, "i16")->i64, -32768);
    assert_int_equal(gguf_find(&gguf, "i64")->i64, -1);
    assert_true(gguf_find(&gguf, "f32")->f64 == 1.5);
    assert_true(gguf_find(&gguf, "f64")->f64 == 1.5);
    const struct gguf_value *array = gguf_find(&gguf, "array");
    assert_int_equal(gguf_array_int(array, 0), -2);
    assert_int_equal(gguf_array_int(array, 1), 3);
    uint32_t u;
    static const char *const fitting[] = {"u8", "u16", "u32", "u64"};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(gguf_get_u32(&gguf, fitting[i], true, &u, &err), OK);
    assert_int_equal(u, 7);
    assert_int_equal(gguf_get_u32(&gguf, "i32", true, &u, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "is -1"));
    assert_int_equal(gguf_get_u32(&gguf, "string", true, &u, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "of type string"));
    u = 5;
    assert_int_equal(gguf_get_u32(&gguf, "absent", false, &u, &err), OK);
    assert_int_equal(u, 5);
    assert_int_equal(gguf_get_u32(&gguf, "absent", true, &u, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "key 'absent' is missing"));
    gguf_close(&gguf);
    text_free(&bytes);
}

static void non_finite_floats_are_refused_where_they_are_used(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "f", GGUF_F32);
    add_number(&bytes, 0x7f800000u, 4);
    struct gguf gguf;
    struct error err = {0};
    float f;
    assert_int_equal(gguf_parse(&gguf, "x.gguf", text_span(&bytes), false, &err), OK);
    assert_int_equal(gguf_get_f32(&gguf, "f", true, &f, &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "must be finite"));
    gguf_close(&gguf);
    text_free(&bytes);
}

static void header_only_leaves_data_unset(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 1, 0);
    add_info(&bytes, "a", 1 << 20, 0, 0);
    struct gguf gguf;
    assert_int_equal(gguf_parse(&gguf, "x.gguf", text_span(&bytes), true, NULL), OK);
    assert_null(gguf.tensors[0].tensor.data);
    assert_int_equal(gguf.tensors[0].tensor.bytes, 4 << 20);
    gguf_close(&gguf);
    expect_error(&bytes, ERR_INPUT, "tensor 'a'", "the file has");
}

/* ---- what is refused ---- */

static void other_files_and_versions_are_named(void **state) {
    (void)state;
    struct text bytes = {0};
    expect_error(&bytes, ERR_INPUT, "byte 0", "0 remain");
    text_add_str(&bytes, "PK\003\004 is a zip file");
    expect_error(&bytes, ERR_INPUT, "byte 0", "not a GGUF file");
    text_add_str(&bytes, "FUGG");
    expect_error(&bytes, ERR_UNSUPPORTED, "byte 0", "big-endian");
    text_add(&bytes, span_make("GGUF\0\0\0\3", 8));
    expect_error(&bytes, ERR_UNSUPPORTED, "byte 4", "big-endian");
    for (uint32_t version = 0; version <= 4; version++) {
        if (version == 2 || version == 3)
            continue;
        text_add_str(&bytes, "GGUF");
        add_number(&bytes, version, 4);
        expect_error(&bytes, ERR_UNSUPPORTED, "byte 4", "supported are 2 and 3");
    }
}

static void every_truncation_is_an_error(void **state) {
    (void)state;
    struct text bytes = {0};
    model_header_bytes(&bytes, &(struct model_header){.arch = ARCH_QWEN3MOE});
    struct gguf gguf;
    assert_int_equal(gguf_parse(&gguf, "x.gguf", text_span(&bytes), false, NULL), OK);
    size_t header = gguf.parts[0].header_bytes;
    gguf_close(&gguf);
    for (size_t n = 0; n < header; n++) {
        /* A copy of exactly n bytes, so that a sanitizer sees the first byte beyond. */
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, bytes.data, n);
        struct error err = {0};
        assert_int_not_equal(gguf_parse(&gguf, "x.gguf", span_make(copy, n), true, &err), OK);
        assert_non_null(strstr(err.text, "x.gguf: byte "));
        free(copy);
    }
    text_free(&bytes);
}

static void counts_beyond_the_file_or_the_limits_are_refused(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, UINT64_MAX, 0);
    expect_error(&bytes, ERR_INPUT, "byte 8", "number of tensors");
    add_begin(&bytes, 0, UINT64_MAX);
    expect_error(&bytes, ERR_INPUT, "byte 16", "number of keys");
    add_begin(&bytes, 0, GGUF_KEYS_MAX + 1);
    add_zeros(&bytes, (GGUF_KEYS_MAX + 1) * 16);
    expect_error(&bytes, ERR_LIMIT, "byte 16", "at most 65536");
}

static void bad_keys_are_refused(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 0, 1);
    add_number(&bytes, UINT64_MAX, 8);
    add_zeros(&bytes, 32);
    expect_error(&bytes, ERR_INPUT, "byte 24", "key of 18446744073709551615 bytes");
    add_begin(&bytes, 0, 1);
    add_number(&bytes, GGUF_NAME_MAX + 1, 8);
    add_zeros(&bytes, 2000);
    expect_error(&bytes, ERR_LIMIT, "byte 24", "at most 1024");
    add_begin(&bytes, 0, 1);
    add_number(&bytes, 0, 8);
    add_zeros(&bytes, 32);
    expect_error(&bytes, ERR_INPUT, "byte 24", "key is empty");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "a\033[2J", GGUF_U32);
    add_number(&bytes, 1, 4);
    expect_error(&bytes, ERR_INPUT, "byte 24", "printable ASCII");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "k", 13);
    add_zeros(&bytes, 8);
    expect_error(&bytes, ERR_INPUT, "byte 33: key 'k'", "must be 0 to 12");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "k", GGUF_BOOL);
    add_number(&bytes, 2, 1);
    expect_error(&bytes, ERR_INPUT, "byte 37: key 'k'", "must be 0 or 1");
    add_begin(&bytes, 0, 2);
    for (int i = 0; i < 2; i++) {
        add_key(&bytes, "twice", GGUF_U32);
        add_number(&bytes, 1, 4);
    }
    expect_error(&bytes, ERR_INPUT, "key 'twice'", "stands twice");
}

static void bad_strings_and_arrays_are_refused(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "k", GGUF_STRING);
    add_number(&bytes, 100, 8);
    expect_error(&bytes, ERR_INPUT, "key 'k'", "0 remain");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "k", GGUF_ARRAY);
    add_number(&bytes, GGUF_ARRAY, 4);
    add_number(&bytes, 0, 8);
    expect_error(&bytes, ERR_UNSUPPORTED, "key 'k'", "arrays of arrays");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "k", GGUF_ARRAY);
    add_number(&bytes, GGUF_U64, 4);
    add_number(&bytes, (uint64_t)1 << 61, 8); /* times 8 is 0 in 64 bits */
    expect_error(&bytes, ERR_INPUT, "key 'k'", "array of 2305843009213693952 elements");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "k", GGUF_ARRAY);
    add_number(&bytes, GGUF_STRING, 4);
    add_number(&bytes, 2, 8);
    add_name(&bytes, "only one");
    expect_error(&bytes, ERR_INPUT, "key 'k'", "remain");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "k", GGUF_ARRAY);
    add_number(&bytes, GGUF_U8, 4);
    add_number(&bytes, GGUF_ARRAY_MAX + 1, 8);
    char *room = text_reserve(&bytes, GGUF_ARRAY_MAX + 1);
    memset(room, 0, GGUF_ARRAY_MAX + 1);
    text_grew(&bytes, GGUF_ARRAY_MAX + 1);
    expect_error(&bytes, ERR_LIMIT, "key 'k'", "at most 16777216");
}

static void bad_alignments_are_refused(void **state) {
    (void)state;
    static const uint32_t values[] = {0, 1, 4, 48, GGUF_ALIGNMENT_MAX * 2};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct text bytes = {0};
        add_begin(&bytes, 0, 1);
        add_key(&bytes, "general.alignment", GGUF_U32);
        add_number(&bytes, values[i], 4);
        expect_error(&bytes, ERR_INPUT, "key 'general.alignment'", "must be a power of two");
    }
    struct text bytes = {0};
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "general.alignment", GGUF_STRING);
    add_name(&bytes, "32");
    expect_error(&bytes, ERR_INPUT, "key 'general.alignment'", "must be an integer");
}

static void bad_tensor_infos_are_refused(void **state) {
    (void)state;
    static const struct {
        uint32_t n_dims;
        uint64_t dims[4];
        uint32_t type;
        uint64_t offset;
        enum status status;
        const char *text;
    } cases[] = {
        {0, {0}, 0, 0, ERR_INPUT, "must be 1 to 4"},
        {5, {0}, 0, 0, ERR_INPUT, "must be 1 to 4"},
        {2, {4, 0}, 0, 0, ERR_INPUT, "dimension 1 is 0"},
        {4, {1, 1u << 31, 1u << 31, 1u << 31}, 0, 0, ERR_INPUT, "dimensions overflow"},
        {1, {UINT64_MAX / 2}, 0, 0, ERR_INPUT, "size in bytes overflows"},
        {2, {(uint64_t)1 << 32, (uint64_t)1 << 31}, 0, 0, ERR_INPUT, "size in bytes overflows"},
        {1, {32}, 4, 0, ERR_UNSUPPORTED, "unknown type number 4"},
        {1, {33}, 8, 0, ERR_INPUT, "multiple of 32 for Q8_0"},
        {1, {1}, 0, 8, ERR_INPUT, "multiple of 32"},
        {1, {(uint64_t)1 << 61}, 24, UINT64_MAX - 31, ERR_INPUT, "end of its data overflows"},
        {1, {100}, 0, 0, ERR_INPUT, "the file has"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text bytes = {0};
        add_begin(&bytes, 1, 0);
        add_name(&bytes, "t");
        add_number(&bytes, cases[i].n_dims, 4);
        for (uint32_t d = 0; d < cases[i].n_dims && d < 4; d++)
            add_number(&bytes, cases[i].dims[d], 8);
        add_number(&bytes, cases[i].type, 4);
        add_number(&bytes, cases[i].offset, 8);
        add_zeros(&bytes, 64);
        expect_error(&bytes, cases[i].status, "tensor 't'", cases[i].text);
    }
}

static void overlapping_and_duplicate_tensors_are_refused(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 2, 0);
    add_info(&bytes, "second", 1, 0, 32);
    add_info(&bytes, "first", 9, 0, 0);
    pad_to(&bytes, 32);
    add_zeros(&bytes, 64);
    expect_error(&bytes, ERR_INPUT, "tensor 'second'", "overlaps that of 'first'");
    add_begin(&bytes, 2, 0);
    add_info(&bytes, "same", 1, 0, 0);
    add_info(&bytes, "same", 1, 0, 32);
    pad_to(&bytes, 32);
    add_zeros(&bytes, 64);
    expect_error(&bytes, ERR_INPUT, "tensor 'same'", "stands twice");
}

static void a_hundred_thousand_tensors_in_hostile_order_are_read(void **state) {
    (void)state;
    const uint32_t n = 100000;
    struct text bytes = {0};
    add_begin(&bytes, n, 0);
    char name[32];
    for (uint32_t i = 0; i < n; i++) { /* names and offsets both fall */
        snprintf(name, sizeof name, "t%08u", n - i);
        add_info(&bytes, name, 1, 0, (uint64_t)(n - i - 1) * 32);
    }
    struct gguf gguf;
    struct error err = {0};
    if (gguf_parse(&gguf, "x.gguf", text_span(&bytes), true, &err))
        fail_msg("%s", err.text);
    assert_int_equal(gguf_find_tensor(&gguf, "t00000001") - gguf.tensors, n - 1);
    gguf_close(&gguf);
    text_free(&bytes);
}

static void a_part_under_another_name_is_refused(void **state) {
    (void)state;
    struct text bytes = {0};
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "split.count", GGUF_U16);
    add_number(&bytes, 3, 2);
    expect_error(&bytes, ERR_INPUT, "key 'split.count'", "the name says 1 part");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "split.count", GGUF_I32);
    add_number(&bytes, 0xffffffffu, 4);
    expect_error(&bytes, ERR_INPUT, "key 'split.count'", "the name says 1 part");
    add_begin(&bytes, 0, 1);
    add_key(&bytes, "split.count", GGUF_F32);
    add_number(&bytes, 0, 4);
    expect_error(&bytes, ERR_INPUT, "key 'split.count'", "must be an integer");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_file_has_its_known_tensors_and_keys),
        cmocka_unit_test(demo_file_walks_its_tokens_in_order),
        cmocka_unit_test(header_hash_covers_the_header_only),
        cmocka_unit_test(empty_file_of_no_keys_and_no_tensors_is_valid),
        cmocka_unit_test(version_2_reads_as_version_3),
        cmocka_unit_test(bytes_after_the_last_tensor_are_accepted),
        cmocka_unit_test(the_last_tensor_needs_no_padding),
        cmocka_unit_test(alignment_key_moves_the_data),
        cmocka_unit_test(every_value_type_is_read),
        cmocka_unit_test(non_finite_floats_are_refused_where_they_are_used),
        cmocka_unit_test(header_only_leaves_data_unset),
        cmocka_unit_test(other_files_and_versions_are_named),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(counts_beyond_the_file_or_the_limits_are_refused),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(bad_strings_and_arrays_are_refused),
        cmocka_unit_test(bad_alignments_are_refused),
        cmocka_unit_test(bad_tensor_infos_are_refused),
        cmocka_unit_test(overlapping_and_duplicate_tensors_are_refused),
        cmocka_unit_test(a_part_under_another_name_is_refused),
        cmocka_unit_test(a_hundred_thousand_tensors_in_hostile_order_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
