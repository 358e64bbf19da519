/* SPDX-License-Identifier: Apache-2.0 */
/* Mapped bytes are the file's, whatever advice was given about them; a file that shrinks is an
 * error for those who ask first. */
#include "base/mapped_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES 300001u

static unsigned char byte_at(size_t i) {
    return (unsigned char)(i * 2654435761u >> 24);
}

/* A file of FILE_BYTES, mapped. The caller closes it and removes the path. */
static void open_file(struct mapped_file *file, char path[32]) {
    struct error err;
    snprintf(path, 32, "/tmp/shoal-mapped-XXXXXX");
    int fd = mkstemp(path);
    FILE *stream = fd >= 0 ? fdopen(fd, "wb") : NULL;
    assert_non_null(stream);
    for (size_t i = 0; i < FILE_BYTES; i++)
        putc(byte_at(i), stream);
    assert_int_equal(fclose(stream), 0);
    if (mapped_file_open(file, path, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(file->bytes, FILE_BYTES);
}

static void expect_bytes(const struct mapped_file *file, size_t begin, size_t bytes) {
    for (size_t i = begin; i < begin + bytes; i++)
        assert_int_equal(file->data[i], byte_at(i));
}

/* Pages of the mapping that are in this process's memory, not only in the page cache. */
static size_t n_present(const struct mapped_file *file) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    FILE *map = fopen("/proc/self/pagemap", "rbe");
    size_t n = 0;
    for (size_t i = 0; map && i < file->bytes; i += page) {
        uint64_t entry = 0;
        long at = (long)((uintptr_t)(file->data + i) / page * sizeof entry);
        if (fseek(map, at, SEEK_SET) == 0 && fread(&entry, sizeof entry, 1, map) == 1)
            n += entry >> 63;
    }
    if (map)
        fclose(map);
    return n;
}

static void advice_changes_no_byte(void **state) {
    (void)state;
    static const struct {
        size_t begin, bytes;
    } ranges[] = {{0, FILE_BYTES}, {1, 5}, {4095, 2}, {70000, 140000}, {FILE_BYTES - 1, 1}, {9, 0}};
    struct mapped_file file;
    struct error err;
    char path[32];
    open_file(&file, path);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const unsigned char *begin = file.data + ranges[i].begin;
        mapped_file_expect(&file, begin, ranges[i].bytes);
        assert_int_equal(mapped_file_fetch(&file, begin, ranges[i].bytes, &err), OK);
        expect_bytes(&file, ranges[i].begin, ranges[i].bytes);
        mapped_file_drop(&file, begin, ranges[i].bytes);
        expect_bytes(&file, ranges[i].begin, ranges[i].bytes);
    }
    mapped_file_close(&file);
    remove(path);
}

static void dropped_pages_leave_the_process(void **state) {
    (void)state;
    struct mapped_file file;
    struct error err;
    char path[32];
    open_file(&file, path);
    assert_int_equal(mapped_file_fetch(&file, file.data, file.bytes, &err), OK);
    expect_bytes(&file, 0, FILE_BYTES);
    if (n_present(&file) == 0)
        skip(); /* the system does not show page tables */
    /* Piece by piece, as a loader does: nothing stays behind between the pieces,
     * at most a window of 16 pages at the end. */
    for (size_t begin = 0; begin < FILE_BYTES; begin += 50000) {
        size_t bytes = FILE_BYTES - begin < 50000 ? FILE_BYTES - begin : 50000;
        assert_int_equal(mapped_file_fetch(&file, file.data + begin, bytes, &err), OK);
        expect_bytes(&file, begin, bytes);
        mapped_file_drop(&file, file.data + begin, bytes);
    }
    assert_true(n_present(&file) <= 16);
    mapped_file_close(&file);
    remove(path);
}

static void a_file_that_shrinks_is_an_error_of_fetch(void **state) {
    (void)state;
    struct mapped_file file;
    struct error err;
    char path[32];
    open_file(&file, path);
    assert_int_equal(truncate(path, 100000), 0);
    assert_int_equal(mapped_file_fetch(&file, file.data, 100000, &err), OK);
    expect_bytes(&file, 0, 100000);
#ifdef MADV_POPULATE_READ
    assert_int_equal(mapped_file_fetch(&file, file.data + 200000, 70000, &err), ERR_IO);
    assert_string_equal(
        err.text, "70000 bytes from byte 200000 on cannot be read, or the file has become shorter");
#endif
    mapped_file_close(&file);
    remove(path);
}

static void an_address_is_in_the_mapping_or_not(void **state) {
    (void)state;
    struct mapped_file file, none = {0};
    char path[32];
    open_file(&file, path);
    assert_true(mapped_file_holds(&file, file.data));
    assert_true(mapped_file_holds(&file, file.data + FILE_BYTES - 1));
    assert_false(mapped_file_holds(&file, file.data + FILE_BYTES));
    assert_false(mapped_file_holds(&file, path));
    assert_false(mapped_file_holds(&none, NULL));
    mapped_file_close(&file);
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(advice_changes_no_byte),
        cmocka_unit_test(dropped_pages_leave_the_process),
        cmocka_unit_test(a_file_that_shrinks_is_an_error_of_fetch),
        cmocka_unit_test(an_address_is_in_the_mapping_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
