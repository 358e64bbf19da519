/* SPDX-License-Identifier: Apache-2.0 */
/* How sums over K are cut: the family's shapes by hand, the rules on many shapes, the tree. */
#include "tensor/ksplit.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct ksplit split_of(const struct ksplit_units *units, struct arena *arena) {
    struct ksplit split;
    assert_int_equal(ksplit_init_units(&split, units, arena, NULL), OK);
    assert_int_equal(split.n_parts, KSPLIT_PARTS);
    return split;
}

static void assert_run(const struct ksplit *split, uint32_t part, uint32_t idx, uint32_t begin,
                       uint32_t end) {
    assert_true(split->part_begin[part] + idx < split->part_begin[part + 1]);
    const struct krun *run = &split->runs[split->part_begin[part] + idx];
    assert_int_equal(run->begin, begin);
    assert_int_equal(run->end, end);
}

static uint32_t n_runs(const struct ksplit *split, uint32_t part) {
    return split->part_begin[part + 1] - split->part_begin[part];
}

static void a_whole_is_one_run(void **state) {
    (void)state;
    struct arena arena = {0};
    struct ksplit split;
    assert_int_equal(ksplit_init_whole(&split, 2048, &arena, NULL), OK);
    assert_int_equal(split.n_parts, 1);
    assert_run(&split, 0, 0, 0, 2048);
    float parts[KSPLIT_PARTS] = {3};
    assert_true(ksplit_combine(&split, parts) == 3);
    arena_free(&arena);
}

/* 35B: 16 heads of 256, two to a part. */
static void attention_heads_lie_together(void **state) {
    (void)state;
    struct arena arena = {0};
    struct ksplit split = split_of(
        &(struct ksplit_units){.d_in = 4096, .width = 256, .n_units = 16, .n_repeats = 1}, &arena);
    for (uint32_t part = 0; part < 8; part++) {
        assert_int_equal(n_runs(&split, part), 1);
        assert_run(&split, part, 0, part * 512, (part + 1) * 512);
    }
    arena_free(&arena);
}

/* 35B: 16 key heads, 32 value heads of 128 in tiled order: part i has key heads 2i, 2i+1, that is
 * value heads 2i, 2i+1, 16+2i, 17+2i. */
static void value_heads_follow_their_key_head(void **state) {
    (void)state;
    struct arena arena = {0};
    struct ksplit split = split_of(
        &(struct ksplit_units){
            .d_in = 4096, .width = 128, .n_units = 16, .n_repeats = 2, .stride = 2048},
        &arena);
    for (uint32_t part = 0; part < 8; part++) {
        assert_int_equal(n_runs(&split, part), 2);
        assert_run(&split, part, 0, part * 256, part * 256 + 256);
        assert_run(&split, part, 1, 2048 + part * 256, 2048 + part * 256 + 256);
    }
    arena_free(&arena);
}

/* Two runs of 256 in an expert of width 512: parts 3 and 7, the others are empty. */
static void fewer_units_than_parts_leave_parts_empty(void **state) {
    (void)state;
    struct arena arena = {0};
    struct ksplit split = split_of(
        &(struct ksplit_units){.d_in = 512, .width = 256, .n_units = 2, .n_repeats = 1}, &arena);
    for (uint32_t part = 0; part < 8; part++)
        assert_int_equal(ksplit_part_empty(&split, part), part != 3 && part != 7);
    assert_run(&split, 3, 0, 0, 256);
    assert_run(&split, 7, 0, 256, 512);
    float parts[KSPLIT_PARTS] = {0, 0, 0, 1.5f, 0, 0, 0, 2};
    assert_true(ksplit_combine(&split, parts) == 3.5f);
    arena_free(&arena);
}

/* Heads of 128 in a dtype of 256: neighbours share a block and become one unit. */
static void units_of_one_block_count_as_one(void **state) {
    (void)state;
    struct arena arena = {0};
    struct ksplit split = split_of(&(struct ksplit_units){.d_in = 4096,
                                                          .width = 128,
                                                          .n_units = 16,
                                                          .n_repeats = 2,
                                                          .stride = 2048,
                                                          .block = 256},
                                   &arena);
    for (uint32_t part = 0; part < 8; part++) {
        assert_run(&split, part, 0, part * 256, part * 256 + 256);
        assert_run(&split, part, 1, 2048 + part * 256, 2048 + part * 256 + 256);
    }
    /* A stride that is no multiple of the block ties the units together in the second repeat. */
    split = split_of(
        &(struct ksplit_units){
            .d_in = 768, .width = 128, .n_units = 3, .n_repeats = 2, .stride = 384, .block = 256},
        &arena);
    assert_run(&split, 7, 0, 0, 768);
    arena_free(&arena);
}

static void a_short_last_unit_ends_with_the_matrix(void **state) {
    (void)state;
    struct arena arena = {0};
    struct ksplit split = split_of(
        &(struct ksplit_units){.d_in = 800, .width = 256, .n_units = 4, .n_repeats = 1}, &arena);
    assert_run(&split, 1, 0, 0, 256);
    assert_run(&split, 7, 0, 768, 800);
    arena_free(&arena);
}

/* Every column is in exactly one run, runs inside a part rise, and no run cuts a block. */
static void runs_cover_every_column_once(void **state) {
    (void)state;
    static const uint32_t widths[] = {32, 64, 96, 128, 256}, blocks[] = {1, 32, 64, 256};
    for (uint64_t round = 0; round < 3000; round++) {
        struct arena arena = {0};
        struct ksplit_units u = {.width = widths[rng_u64(round, 0) % 5],
                                 .n_units = 1 + (uint32_t)(rng_u64(round, 1) % 40),
                                 .n_repeats = 1 + (uint32_t)(rng_u64(round, 2) % 4),
                                 .block = blocks[rng_u64(round, 3) % 4]};
        u.stride = u.n_units * u.width;
        u.d_in = u.stride * u.n_repeats;
        if (u.d_in % u.block != 0)
            continue; /* no such matrix */
        struct ksplit split = split_of(&u, &arena);
        uint8_t *seen = arena_alloc(&arena, u.d_in);
        for (uint32_t part = 0; part < KSPLIT_PARTS; part++) {
            uint32_t last = 0;
            for (uint32_t i = split.part_begin[part]; i < split.part_begin[part + 1]; i++) {
                const struct krun *run = &split.runs[i];
                assert_true(run->begin >= last && run->begin < run->end && run->end <= u.d_in);
                assert_int_equal(run->begin % u.block, 0);
                assert_int_equal(run->end % u.block, 0);
                for (uint32_t c = run->begin; c < run->end; c++)
                    seen[c]++;
                last = run->end;
            }
        }
        for (uint32_t c = 0; c < u.d_in; c++)
            assert_int_equal(seen[c], 1);
        arena_free(&arena);
    }
}

/* A sum that is none while nothing was added to it. */
struct partial {
    bool any;
    float sum;
};

static struct partial plus(struct partial a, struct partial b) {
    if (a.any && b.any)
        return (struct partial){.any = true, .sum = a.sum + b.sum};
    return a.any ? a : b;
}

/* All 255 choices of non-empty parts, against the tree as it is written in the header. */
static void parts_are_added_by_the_tree(void **state) {
    (void)state;
    for (uint32_t mask = 1; mask < 256; mask++) {
        struct ksplit split = {.n_parts = KSPLIT_PARTS};
        float parts[KSPLIT_PARTS];
        struct partial p[KSPLIT_PARTS];
        for (uint32_t i = 0; i < KSPLIT_PARTS; i++) {
            bool any = mask >> i & 1;
            split.part_begin[i + 1] = split.part_begin[i] + any;
            p[i].any = any;
            p[i].sum = parts[i] = (float)rng_double(mask, i) * (i % 2 ? 1e7f : -1);
        }
        struct partial want = plus(plus(plus(p[0], p[1]), plus(p[2], p[3])),
                                   plus(plus(p[4], p[5]), plus(p[6], p[7])));
        assert_true(ksplit_combine(&split, parts) == want.sum);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_is_one_run),
        cmocka_unit_test(attention_heads_lie_together),
        cmocka_unit_test(value_heads_follow_their_key_head),
        cmocka_unit_test(fewer_units_than_parts_leave_parts_empty),
        cmocka_unit_test(units_of_one_block_count_as_one),
        cmocka_unit_test(a_short_last_unit_ends_with_the_matrix),
        cmocka_unit_test(runs_cover_every_column_once),
        cmocka_unit_test(parts_are_added_by_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
