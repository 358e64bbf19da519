/* SPDX-License-Identifier: Apache-2.0 */
/* Folding against the sum written down as its definition says: as a text with brackets, which
 * shows every order, and in floats that feel it. */
#include "tensor/tree.h"

#include "base/arena.h"
#include "base/rng.h"

#include <stdbool.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TERMS_MAX 128
#define ROUNDS    400

/* A sum and how it was made. */
struct sum {
    const char *text;
    float value;
};

struct problem {
    struct arena *arena;
    uint32_t n_leaves;
    uint32_t n_terms;
    uint32_t leaves[TERMS_MAX]; /* rising */
    struct sum sums[TERMS_MAX]; /* begin as the terms, change with the adds */
};

static struct sum plus(struct arena *arena, struct sum a, struct sum b) {
    return (struct sum){.text = arena_printf(arena, "(%s+%s)", a.text, b.text),
                        .value = a.value + b.value};
}

/* Up to three terms in a leaf, none in many of them; names are "leaf.place". */
static void make_problem(struct problem *p, struct arena *arena, uint32_t n_leaves, uint64_t seed) {
    *p = (struct problem){.arena = arena, .n_leaves = n_leaves};
    for (uint32_t leaf = 0; leaf < n_leaves; leaf++) {
        uint64_t n = rng_u64(seed, leaf) % 6;
        for (uint32_t i = 0; i < (n < 4 ? n : 0) && p->n_terms < TERMS_MAX; i++) {
            uint32_t term = p->n_terms++;
            p->leaves[term] = leaf;
            p->sums[term].text = arena_printf(arena, "%u.%u", leaf, i);
            p->sums[term].value =
                (float)(rng_double(seed, 1000 + term) - 0.5) * (term % 3 == 0 ? 1e6f : 1);
        }
    }
}

/* The definition: a leaf adds its terms in order, a subtree its halves, and what is empty is left
 * out. False: there is no term in these leaves. */
static bool sum_of(const struct problem *p, uint32_t begin, uint32_t end, struct sum *out) {
    if (end - begin == 1) {
        bool any = false;
        for (uint32_t t = 0; t < p->n_terms; t++) {
            if (p->leaves[t] != begin)
                continue;
            *out = any ? plus(p->arena, *out, p->sums[t]) : p->sums[t];
            any = true;
        }
        return any;
    }
    struct sum left, right;
    bool has_left = sum_of(p, begin, (begin + end) / 2, &left);
    bool has_right = sum_of(p, (begin + end) / 2, end, &right);
    if (has_left && has_right)
        *out = plus(p->arena, left, right);
    else
        *out = has_left ? left : right;
    return has_left || has_right;
}

/* Folds what stands in terms[0..n) and carries the adds out. */
static uint32_t fold(struct problem *p, struct leaf_range own, struct tree_term *terms,
                     uint32_t n) {
    struct tree_add adds[TERMS_MAX];
    uint32_t n_roots = tree_fold(p->n_leaves, own, terms, n, adds);
    assert_true(n_roots <= n);
    for (uint32_t i = 0; i < n - n_roots; i++)
        p->sums[adds[i].to] = plus(p->arena, p->sums[adds[i].to], p->sums[adds[i].from]);
    return n_roots;
}

/* The terms of the leaves begin .. end-1. */
static uint32_t terms_of(const struct problem *p, struct leaf_range own, struct tree_term *terms) {
    uint32_t n = 0;
    for (uint32_t t = 0; t < p->n_terms; t++) {
        if (p->leaves[t] >= own.begin && p->leaves[t] < own.end)
            terms[n++] = (struct tree_term){.leaf = p->leaves[t], .term = t};
    }
    return n;
}

/* Rising borders from 0 to n_leaves; neighbours may be equal. */
static void make_borders(uint32_t *borders, uint32_t n_holders, uint32_t n_leaves, uint64_t seed) {
    for (uint32_t i = 0; i <= n_holders; i++) {
        borders[i] = i == 0           ? 0
                     : i == n_holders ? n_leaves
                                      : (uint32_t)(rng_u64(seed, i) % (n_leaves + 1));
        for (uint32_t j = i; j > 0 && borders[j] < borders[j - 1]; j--) {
            uint32_t larger = borders[j - 1];
            borders[j - 1] = borders[j];
            borders[j] = larger;
        }
    }
}

static void assert_same(struct sum got, struct sum want) {
    assert_string_equal(got.text, want.text);
    assert_memory_equal(&got.value, &want.value, sizeof got.value);
}

static void eight_leaves_are_three_levels(void **state) {
    (void)state;
    struct arena arena = {0};
    struct problem p = {.arena = &arena, .n_leaves = 8};
    static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    struct tree_term terms[8];
    for (uint32_t i = 0; i < 8; i++) {
        p.sums[i].text = names[i];
        terms[i] = (struct tree_term){.leaf = i, .term = i};
    }
    assert_int_equal(fold(&p, (struct leaf_range){0, 8}, terms, 8), 1);
    assert_string_equal(p.sums[terms[0].term].text, "(((0+1)+(2+3))+((4+5)+(6+7)))");
    arena_free(&arena);
}

static void a_holder_of_three_leaves_sends_two_roots(void **state) {
    (void)state;
    struct tree_term terms[] = {{0, 10}, {1, 11}, {2, 12}};
    struct tree_add adds[3];
    assert_int_equal(tree_fold(8, (struct leaf_range){0, 3}, terms, 3, adds), 2);
    assert_int_equal(adds[0].to, 10);
    assert_int_equal(adds[0].from, 11);
    assert_int_equal(terms[0].term, 10);
    assert_int_equal(terms[1].term, 12);
    assert_int_equal(terms[1].leaf, 2);
}

/* Leaf 1 would be joined with 0, which is another's: it must not meet 2 and 3 before. */
static void neighbours_of_other_subtrees_stay_apart(void **state) {
    (void)state;
    struct tree_term terms[] = {{1, 0}, {2, 1}, {3, 2}, {4, 3}};
    struct tree_add adds[4];
    assert_int_equal(tree_fold(8, (struct leaf_range){1, 5}, terms, 4, adds), 3);
    assert_int_equal(terms[0].term, 0);
    assert_int_equal(terms[1].term, 1);
    assert_int_equal(terms[2].term, 3);
}

static void nothing_folds_to_nothing(void **state) {
    (void)state;
    assert_int_equal(tree_fold(64, (struct leaf_range){0, 64}, NULL, 0, NULL), 0);
    assert_int_equal(tree_fold(64, (struct leaf_range){9, 9}, NULL, 0, NULL), 0);
}

/* What a holder is left with: the sums of its largest whole subtrees, in order. */
static void roots_are_the_largest_own_subtrees(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct arena arena = {0};
        struct problem p;
        struct tree_term terms[TERMS_MAX];
        uint32_t borders[4];
        make_problem(&p, &arena, 1u << seed % 7, seed);
        make_borders(borders, 3, p.n_leaves, seed + ROUNDS);
        struct leaf_range own = {borders[1], borders[2]};
        struct sum want[TERMS_MAX];
        uint32_t n_want = 0, begin = own.begin;
        while (begin < own.end) {
            uint32_t width = 1;
            while (begin % (2 * width) == 0 && begin + 2 * width <= own.end)
                width *= 2;
            n_want += sum_of(&p, begin, begin + width, &want[n_want]);
            begin += width;
        }
        uint32_t n = fold(&p, own, terms, terms_of(&p, own, terms));
        assert_int_equal(n, n_want);
        for (uint32_t i = 0; i < n; i++)
            assert_same(p.sums[terms[i].term], want[i]);
        arena_free(&arena);
    }
}

/* Ranks fold their leaves, nodes of three ranks the roots of their ranks, the leader those of the
 * nodes: the bits of one holder. */
static void any_holders_make_the_sum_of_one(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct arena arena = {0};
        struct problem p;
        struct tree_term roots[TERMS_MAX];
        uint32_t borders[13], n_ranks = 3 * (1 + (uint32_t)(seed % 4)), n_roots = 0;
        make_problem(&p, &arena, 1u << (3 + seed % 4), seed);
        make_borders(borders, n_ranks, p.n_leaves, seed + ROUNDS);
        struct sum want;
        bool any = sum_of(&p, 0, p.n_leaves, &want);
        for (uint32_t node = 0; node < n_ranks; node += 3) {
            struct tree_term *of_node = roots + n_roots;
            uint32_t n_of_node = 0;
            for (uint32_t r = node; r < node + 3; r++) {
                struct leaf_range own = {borders[r], borders[r + 1]};
                struct tree_term *of_rank = of_node + n_of_node;
                n_of_node += fold(&p, own, of_rank, terms_of(&p, own, of_rank));
            }
            struct leaf_range own = {borders[node], borders[node + 3]};
            n_roots += fold(&p, own, of_node, n_of_node);
        }
        n_roots = fold(&p, (struct leaf_range){0, p.n_leaves}, roots, n_roots);
        assert_int_equal(n_roots, any);
        if (any)
            assert_same(p.sums[roots[0].term], want);
        arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_leaves_are_three_levels),
        cmocka_unit_test(a_holder_of_three_leaves_sends_two_roots),
        cmocka_unit_test(neighbours_of_other_subtrees_stay_apart),
        cmocka_unit_test(nothing_folds_to_nothing),
        cmocka_unit_test(roots_are_the_largest_own_subtrees),
        cmocka_unit_test(any_holders_make_the_sum_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
