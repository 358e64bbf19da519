/* SPDX-License-Identifier: Apache-2.0 */
/* Model files in several parts, on disk as they come: any part may be named, all must agree. */
#include "model/gguf.h"

#include "model/gguf_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

struct split_case {
    uint32_t count, no[3], n_tensors;
    bool without_keys;
};

static char *part_path(const char *folder, uint32_t i, uint32_t n) {
    char *path = malloc(256);
    snprintf(path, 256, "%s/model-%05u-of-%05u.gguf", folder, i + 1, n);
    return path;
}

/* Three parts; the first has no tensors, the others one each. */
static void write_parts(const char *folder, const struct split_case *c) {
    static const char *const names[] = {NULL, "b.weight", "a.weight"};
    for (uint32_t i = 0; i < 3; i++) {
        struct gguf_writer w;
        struct error err = {0};
        gguf_writer_init(&w);
        if (i == 0)
            gguf_writer_string(&w, "general.architecture", span_of("qwen35"));
        if (!c->without_keys) {
            gguf_writer_u32(&w, "split.no", c->no[i]);
            gguf_writer_u32(&w, "split.count", c->count);
            gguf_writer_u32(&w, "split.tensors.count", c->n_tensors);
        }
        if (names[i])
            gguf_writer_tensor(&w, names[i], DTYPE_F32, 1, (uint64_t[]){8});
        char *path = part_path(folder, i, 3);
        if (gguf_writer_create(&w, path, true, &err) || gguf_writer_finish(&w, &err))
            fail_msg("%s", err.text);
        gguf_writer_free(&w);
        free(path);
    }
}

static void remove_parts(char *folder) {
    for (uint32_t i = 0; i < 3; i++) {
        char *path = part_path(folder, i, 3);
        unlink(path);
        free(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

static void split_file_opens_from_any_part(void **state) {
    (void)state;
    char folder[] = "/tmp/shoal-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    write_parts(folder, &(struct split_case){.count = 3, .no = {0, 1, 2}, .n_tensors = 2});
    for (uint32_t i = 0; i < 3; i++) {
        char *path = part_path(folder, i, 3);
        struct gguf gguf;
        struct error err = {0};
        if (gguf_open(&gguf, path, &err))
            fail_msg("%s", err.text);
        assert_int_equal(gguf.n_parts, 3);
        assert_int_equal(gguf.n_tensors, 2);
        assert_non_null(gguf_find(&gguf, "general.architecture"));
        assert_int_equal(gguf_find_tensor(&gguf, "b.weight")->part, 1);
        const struct gguf_tensor *a = gguf_find_tensor(&gguf, "a.weight");
        assert_int_equal(a->part, 2);
        assert_ptr_equal(a->tensor.data, gguf.parts[2].bytes.data + a->offset);
        gguf_close(&gguf);
        free(path);
    }
    remove_parts(folder);
}

static void parts_that_disagree_are_refused(void **state) {
    (void)state;
    static const struct {
        struct split_case split;
        const char *where, *what;
    } cases[] = {
        {{.count = 2, .no = {0, 1, 2}, .n_tensors = 2}, "split.count", "the name says 3 parts"},
        {{.count = 3, .no = {0, 2, 1}, .n_tensors = 2}, "-00002-of", "split.no"},
        {{.count = 3, .no = {0, 1, 2}, .n_tensors = 3}, "-00001-of", "the parts have 2 tensors"},
        {{.without_keys = true}, "split.count", "missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char folder[] = "/tmp/shoal-test-XXXXXX";
        assert_non_null(mkdtemp(folder));
        write_parts(folder, &cases[i].split);
        char *path = part_path(folder, 1, 3);
        struct gguf gguf;
        struct error err = {0};
        assert_int_equal(gguf_open(&gguf, path, &err), ERR_INPUT);
        if (!strstr(err.text, cases[i].where) || !strstr(err.text, cases[i].what))
            fail_msg("'%s' does not say '%s' and '%s'", err.text, cases[i].where, cases[i].what);
        free(path);
        remove_parts(folder);
    }
}

static void missing_part_is_named(void **state) {
    (void)state;
    char folder[] = "/tmp/shoal-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    write_parts(folder, &(struct split_case){.count = 3, .no = {0, 1, 2}, .n_tensors = 2});
    char *path = part_path(folder, 1, 3), *first = part_path(folder, 0, 3);
    unlink(path);
    struct gguf gguf;
    struct error err = {0};
    assert_int_equal(gguf_open(&gguf, first, &err), ERR_IO);
    assert_non_null(strstr(err.text, "model-00002-of-00003.gguf"));
    free(path);
    free(first);
    remove_parts(folder);
}

static void part_numbers_in_names_are_checked(void **state) {
    (void)state;
    struct gguf gguf;
    struct error err = {0};
    assert_int_equal(gguf_open(&gguf, "x-00003-of-00002.gguf", &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "part 3 of 2"));
    assert_int_equal(gguf_open(&gguf, "x-00000-of-00002.gguf", &err), ERR_INPUT);
    assert_int_equal(gguf_open(&gguf, "x-00001-of-01000.gguf", &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "at most 999"));
}

static void a_file_that_is_not_there_is_an_io_error(void **state) {
    (void)state;
    struct gguf gguf;
    struct error err = {0};
    assert_int_equal(gguf_open(&gguf, "/nonexistent/model.gguf", &err), ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent/model.gguf"));
    gguf_close(&gguf); /* safe after failure */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_file_opens_from_any_part),
        cmocka_unit_test(parts_that_disagree_are_refused),
        cmocka_unit_test(missing_part_is_named),
        cmocka_unit_test(part_numbers_in_names_are_checked),
        cmocka_unit_test(a_file_that_is_not_there_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
