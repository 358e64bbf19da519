/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: bytes as the format's description says, files that appear whole or not at all. */
#include "model/gguf_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

/* A fresh folder and the path "<folder>/m.gguf" in it. */
struct place {
    char folder[32];
    char path[64], partial[80];
};

static void place_init(struct place *p) {
    snprintf(p->folder, sizeof p->folder, "/tmp/shoal-test-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/m.gguf", p->folder);
    snprintf(p->partial, sizeof p->partial, "%s.partial", p->path);
}

/* Fails if anything but the finished file is left. */
static void place_free(struct place *p) {
    unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0);
}

static bool exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

static void small_header_has_the_bytes_of_the_format(void **state) {
    (void)state;
    static const unsigned char expected[96] = {
        'G', 'G', 'U', 'F', 3, 0, 0, 0, 1,   0,   0,   0, 0, 0, 0, 0,    1,    0,    0,
        0,   0,   0,   0,   0, /* counts */
        3,   0,   0,   0,   0, 0, 0, 0, 'k', 'e', 'y', 4, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, /* u32 */
        1,   0,   0,   0,   0, 0, 0, 0, 't', 2,   0,   0, 0,          /* name, dimensions */
        32,  0,   0,   0,   0, 0, 0, 0, 2,   0,   0,   0, 0, 0, 0, 0, /* fastest first */
        8,   0,   0,   0,   0, 0, 0, 0, 0,   0,   0,   0,             /* Q8_0, offset 0 */
    };
    struct gguf_writer w;
    struct text out = {0};
    gguf_writer_init(&w);
    gguf_writer_u32(&w, "key", 0x12345678);
    gguf_writer_tensor(&w, "t", DTYPE_Q8_0, 2, (uint64_t[]){2, 32});
    assert_int_equal(gguf_writer_header(&w, &out, NULL), OK);
    assert_int_equal(out.len, sizeof expected);
    assert_memory_equal(out.data, expected, sizeof expected);
    assert_int_equal(w.data_bytes, 96); /* 68 and padding */
    text_free(&out);
    gguf_writer_free(&w);
}

static void file_reads_back_as_written(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    struct gguf_writer w;
    struct error err = {0};
    gguf_writer_init(&w);
    gguf_writer_string(&w, "general.architecture", span_of("qwen35"));
    gguf_writer_f32(&w, "f", -0.25f);
    gguf_writer_bool(&w, "yes", true);
    gguf_writer_i32s(&w, "numbers", (int32_t[]){-1, 5}, 2);
    gguf_writer_strings(&w, "words", 2);
    gguf_writer_add_string(&w, span_of("one"));
    gguf_writer_add_string(&w, span_make("\0\xff", 2));
    uint64_t a = gguf_writer_tensor(&w, "a", DTYPE_F32, 1, (uint64_t[]){3});
    uint64_t b = gguf_writer_tensor(&w, "b", DTYPE_F16, 3, (uint64_t[]){2, 1, 2});
    if (gguf_writer_create(&w, p.path, false, &err))
        fail_msg("%s", err.text);
    assert_false(exists(p.path));
    assert_int_equal(gguf_writer_put(&w, b, 4, span_make("wxyz", 4), &err), OK);
    assert_int_equal(gguf_writer_put(&w, a, 0, span_make("AAAABBBBCCCC", 12), &err), OK);
    assert_int_equal(gguf_writer_put(&w, b, 0, span_make("stuv", 4), &err), OK);
    uint64_t bytes = gguf_writer_file_bytes(&w);
    assert_int_equal(gguf_writer_finish(&w, &err), OK);
    gguf_writer_free(&w);

    struct gguf gguf;
    struct gguf_strings words;
    struct span word;
    if (gguf_open(&gguf, p.path, &err))
        fail_msg("%s", err.text);
    assert_int_equal(gguf.parts[0].bytes.len, bytes);
    assert_true(gguf_find(&gguf, "f")->f64 == -0.25);
    assert_int_equal(gguf_find(&gguf, "yes")->u64, 1);
    assert_int_equal(gguf_array_int(gguf_find(&gguf, "numbers"), 0), -1);
    assert_int_equal(gguf_get_strings(&gguf, "words", &words, &err), OK);
    assert_true(gguf_strings_next(&words, &word) && span_is(word, "one"));
    assert_true(gguf_strings_next(&words, &word) && span_eq(word, span_make("\0\xff", 2)));
    assert_false(gguf_strings_next(&words, &word));
    const struct tensor *tensor = &gguf_find_tensor(&gguf, "b")->tensor;
    assert_int_equal(tensor->shape[0], 2);
    assert_int_equal(tensor->shape[2], 2);
    assert_memory_equal(tensor->data, "stuvwxyz", 8);
    assert_memory_equal(gguf_find_tensor(&gguf, "a")->tensor.data, "AAAABBBBCCCC", 12);
    gguf_close(&gguf);
    place_free(&p);
}

static void unfinished_file_leaves_nothing(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    struct gguf_writer w;
    gguf_writer_init(&w);
    gguf_writer_tensor(&w, "a", DTYPE_F32, 1, (uint64_t[]){3});
    assert_int_equal(gguf_writer_create(&w, p.path, false, NULL), OK);
    assert_true(exists(p.partial));
    gguf_writer_free(&w);
    assert_false(exists(p.partial));
    assert_false(exists(p.path));
    place_free(&p);
}

static void existing_file_is_replaced_only_on_request(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    for (int round = 0; round < 3; round++) {
        struct gguf_writer w;
        struct error err = {0};
        gguf_writer_init(&w);
        enum status status = gguf_writer_create(&w, p.path, round == 2, &err);
        if (round == 1) {
            assert_int_equal(status, ERR_INPUT);
            assert_non_null(strstr(err.text, "exists already"));
        } else {
            assert_int_equal(status, OK);
            assert_int_equal(gguf_writer_finish(&w, &err), OK);
        }
        gguf_writer_free(&w);
        assert_true(exists(p.path));
    }
    place_free(&p);
}

static void file_larger_than_the_disk_is_refused_before_writing(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    struct gguf_writer w;
    struct error err = {0};
    gguf_writer_init(&w);
    gguf_writer_tensor(&w, "huge", DTYPE_F32, 2, (uint64_t[]){1u << 30, 1u << 28});
    assert_int_equal(gguf_writer_create(&w, p.path, false, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "free"));
    gguf_writer_free(&w);
    assert_false(exists(p.partial));
    place_free(&p);
}

static void folder_that_is_not_there_is_an_io_error(void **state) {
    (void)state;
    struct gguf_writer w;
    struct error err = {0};
    gguf_writer_init(&w);
    assert_int_equal(gguf_writer_create(&w, "/nonexistent/m.gguf", false, &err), ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent/m.gguf"));
    gguf_writer_free(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_header_has_the_bytes_of_the_format),
        cmocka_unit_test(file_reads_back_as_written),
        cmocka_unit_test(unfinished_file_leaves_nothing),
        cmocka_unit_test(existing_file_is_replaced_only_on_request),
        cmocka_unit_test(file_larger_than_the_disk_is_refused_before_writing),
        cmocka_unit_test(folder_that_is_not_there_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
