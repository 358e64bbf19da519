/* SPDX-License-Identifier: Apache-2.0 */
/* Alignment, zeros, many sizes, absurd sizes, and use after release. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void allocations_are_aligned_zeroed_and_apart(void **state) {
    (void)state;
    struct arena arena = {0};
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 65535, 65536, 65537, 300000};
    unsigned char *all[100];
    for (size_t i = 0; i < 100; i++) {
        size_t bytes = sizes[i % 10];
        all[i] = arena_alloc(&arena, bytes);
        assert_non_null(all[i]);
        assert_int_equal((uintptr_t)all[i] % ARENA_ALIGN, 0);
        for (size_t b = 0; b < bytes; b++)
            assert_int_equal(all[i][b], 0);
        memset(all[i], (int)i, bytes);
    }
    for (size_t i = 0; i < 100; i++) {
        for (size_t b = 0; b < sizes[i % 10]; b++)
            assert_int_equal(all[i][b], i);
    }
    arena_free(&arena);
}

static void a_large_block_does_not_waste_the_chunk_in_use(void **state) {
    (void)state;
    struct arena arena = {0};
    unsigned char *first = arena_alloc(&arena, 64);
    assert_non_null(arena_alloc(&arena, 1 << 20));
    assert_ptr_equal(arena_alloc(&arena, 64), first + 64);
    arena_free(&arena);
}

static void use_is_counted_rounded_up(void **state) {
    (void)state;
    struct arena arena = {0};
    arena_alloc(&arena, 1);
    arena_alloc(&arena, 65);
    assert_int_equal(arena.bytes_used, 64 + 128);
    arena_free(&arena);
    assert_int_equal(arena.bytes_used, 0);
}

static void absurd_sizes_give_null_and_leave_the_arena_usable(void **state) {
    (void)state;
    struct arena arena = {0};
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX / 2));
    assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
    assert_null(arena_array(&arena, (size_t)1 << 32, (size_t)1 << 32));
    assert_non_null(arena_array(&arena, 3, 5));
    arena_free(&arena);
}

static void copies_and_formatted_texts_are_terminated(void **state) {
    (void)state;
    struct arena arena = {0};
    assert_string_equal(arena_dup(&arena, span_make("abcdef", 3)), "abc");
    assert_string_equal(arena_dup(&arena, (struct span){0}), "");
    assert_string_equal(arena_printf(&arena, "blk.%d.%s", 7, "attn_q"), "blk.7.attn_q");
    char *longer = arena_printf(&arena, "%070000d", 1);
    assert_int_equal(strlen(longer), 70000);
    arena_free(&arena);
}

static void a_released_arena_is_empty_and_usable(void **state) {
    (void)state;
    struct arena arena = {0};
    arena_free(&arena);
    assert_non_null(arena_alloc(&arena, 10));
    arena_free(&arena);
    assert_non_null(arena_alloc(&arena, 10));
    arena_free(&arena);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_zeroed_and_apart),
        cmocka_unit_test(a_large_block_does_not_waste_the_chunk_in_use),
        cmocka_unit_test(use_is_counted_rounded_up),
        cmocka_unit_test(absurd_sizes_give_null_and_leave_the_arena_usable),
        cmocka_unit_test(copies_and_formatted_texts_are_terminated),
        cmocka_unit_test(a_released_arena_is_empty_and_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
