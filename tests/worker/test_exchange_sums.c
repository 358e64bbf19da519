/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products cut along K, columns, and logits, within and between the attention groups of
 * every layout, by == against one thread. */
#include "tests/worker/support_exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define D_MODEL     288 /* a whole piece of columns, and a part of one */
#define STEP_TOKENS 160
#define N_ROUNDS    3 /* areas take turns; neighbours in time must not meet */

/* Both without and with slices. */
static const uint32_t row_counts[] = {1, 3, 0, STEP_TOKENS, 20};
#define N_ROW_COUNTS (sizeof row_counts / sizeof row_counts[0])

/* ---- sums ---- */

static enum status split_of_heads(struct ksplit *split, uint32_t n_heads, struct arena *arena,
                                  struct error *err) {
    return ksplit_init_units(
        split,
        &(struct ksplit_units){
            .d_in = n_heads * 64, .width = 64, .n_units = n_heads, .n_repeats = 1},
        arena, err);
}

/* Some parts of a split: the others are empty. */
static struct ksplit parts_only(const struct ksplit *split, struct leaf_range own) {
    struct ksplit some = {.n_parts = KSPLIT_PARTS, .runs = split->runs};
    for (uint32_t p = 0; p < KSPLIT_PARTS; p++) {
        bool is_in = p >= own.begin && p < own.end && !ksplit_part_empty(split, p);
        some.part_begin[p + 1] = some.part_begin[p] + is_in;
    }
    return some;
}

static float part_sum(uint64_t key, uint32_t part, uint32_t row, uint32_t i) {
    return spread_float(key + part * 0x51ed27u, row * 4096 + i);
}

static float sum_of(const struct ksplit *split, uint64_t key, uint32_t row, uint32_t i) {
    float parts[KSPLIT_PARTS];
    for (uint32_t p = 0; p < KSPLIT_PARTS; p++)
        parts[p] = part_sum(key, p, row, i);
    return ksplit_combine(split, parts);
}

static void make_roots(const struct exchange_sum_layout *layout, const struct ksplit *split,
                       uint64_t key, uint32_t n_rows, float *roots) {
    for (uint32_t k = 0; k < layout->n_own_roots; k++) {
        struct ksplit own = parts_only(split, layout->own[k]);
        for (uint32_t row = 0; row < n_rows; row++) {
            for (uint32_t i = 0; i < D_MODEL; i++)
                roots[((size_t)k * n_rows + row) * D_MODEL + i] = sum_of(&own, key, row, i);
        }
    }
}

static enum status check_sum(const struct ksplit *split, uint64_t key, struct index_range rows,
                             const float *x, struct error *err) {
    for (uint32_t row = rows.begin; row < rows.end; row++) {
        for (uint32_t i = row % 5; i<D_MODEL; i += rows.end> 8 ? 29 : 3)
            CHECK(x[(size_t)row * D_MODEL + i] == sum_of(split, key, row, i));
    }
    return OK;
}

static enum status sum_rounds(struct exchange_rank *rank, const struct exchange_sum_layout *layout,
                              const struct ksplit *split, uint32_t n_rows, struct error *err) {
    float *x = arena_array(&rank->arena, n_rows, D_MODEL * sizeof *x);
    CHECK(x);
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        uint64_t key = rng_u64(round, rank->own->group * 1000 + n_rows);
        make_roots(layout, split, key, n_rows, exchange_roots(rank->ex));
        TRY(exchange_sum(rank->ex, layout, n_rows, x, err));
        TRY(check_sum(split, key, exchange_slice(rank->ex, n_rows), x, err));
        if (round % 2 == 0) {
            TRY(exchange_share(rank->ex, x, n_rows, err));
            TRY(check_sum(split, key, (struct index_range){0, n_rows}, x, err));
        }
    }
    return OK;
}

static enum status run_sums(struct exchange_rank *rank, struct error *err) {
    struct ksplit split;
    struct leaf_range parts[THREAD_GROUP_RANKS_MAX];
    TRY(split_of_heads(&split, rank->c->n_heads, &rank->arena, err));
    struct index_range ranks = rank->plan.groups[rank->own->group].ranks;
    for (uint32_t i = ranks.begin; i < ranks.end; i++)
        parts[i - ranks.begin] = rank->plan.ranks[i].attention;
    struct exchange_sum_layout layout;
    exchange_sum_layout_init(&layout, &split, parts, rank->n_tp, rank->own->tp_idx);
    for (size_t i = 0; i < N_ROW_COUNTS; i++)
        TRY(sum_rounds(rank, &layout, &split, row_counts[i], err));
    return OK;
}

/* The shared expert's sum rides on the experts' combine. */
static enum status run_shared(struct exchange_rank *rank, struct error *err) {
    struct ksplit split;
    struct leaf_range parts[THREAD_GROUP_RANKS_MAX];
    struct exchange_sum_layout layout;
    TRY(split_of_heads(&split, rank->c->n_heads, &rank->arena, err));
    struct index_range ranks = rank->plan.groups[rank->own->group].ranks;
    for (uint32_t i = ranks.begin; i < ranks.end; i++)
        parts[i - ranks.begin] = rank->plan.ranks[i].attention;
    exchange_sum_layout_init(&layout, &split, parts, rank->n_tp, rank->own->tp_idx);
    float *x = arena_array(&rank->arena, (size_t)3 * STEP_TOKENS, D_MODEL * sizeof *x);
    struct act_block *blocks =
        arena_array(&rank->arena, STEP_TOKENS, D_MODEL / ACT_BLOCK * sizeof *blocks);
    uint32_t *ids = arena_array(&rank->arena, STEP_TOKENS, rank->c->top_k * sizeof *ids);
    float *weights = arena_array(&rank->arena, STEP_TOKENS, rank->c->top_k * sizeof *weights);
    CHECK(x && blocks && ids && weights);
    for (uint32_t i = 0; i < STEP_TOKENS * rank->c->top_k; i++)
        ids[i] = i % rank->c->top_k * 7;
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        /* Groups differ in their rows, and some have none. */
        uint32_t n_rows = (uint32_t)(round + rank->own->group) % 3 * 9;
        struct activation in = {.x = x, .blocks = blocks, .n_tokens = n_rows, .d = D_MODEL};
        struct exchange_work work;
        uint64_t key = rng_u64(round, rank->own->group);
        TRY(exchange_dispatch(rank->ex,
                              &(struct exchange_home){.x = &in, .ids = ids, .weights = weights},
                              &work, err));
        make_roots(&layout, &split, key, n_rows, exchange_roots(rank->ex));
        float *shared = x + (size_t)2 * STEP_TOKENS * D_MODEL;
        TRY(exchange_combine(
            rank->ex,
            &(struct exchange_combine_args){.out = x + (size_t)STEP_TOKENS * D_MODEL,
                                            .shared = &layout,
                                            .shared_out = shared,
                                            .n_rows = n_rows},
            err));
        TRY(check_sum(&split, key, exchange_slice(rank->ex, n_rows), shared, err));
    }
    return OK;
}

/* ---- columns ---- */

static enum status run_columns(struct exchange_rank *rank, struct error *err) {
    struct index_range vocab[THREAD_GROUP_RANKS_MAX];
    struct index_range ranks = rank->plan.groups[rank->own->group].ranks;
    for (uint32_t i = ranks.begin; i < ranks.end; i++)
        vocab[i - ranks.begin] = rank->plan.ranks[i].vocab;
    struct index_range mine = rank->own->vocab;
    size_t width = mine.end - mine.begin;
    float *out = arena_array(&rank->arena, STEP_TOKENS, CASE_VOCAB * sizeof *out);
    float *own = arena_array(&rank->arena, STEP_TOKENS, (width + 1) * sizeof *own);
    CHECK(out && own);
    /* More rows than the area has room for go in pieces. */
    static const uint32_t counts[] = {1, CASE_LOGIT_ROWS, 0, STEP_TOKENS, 2};
    for (uint32_t round = 0; round < sizeof counts / sizeof counts[0]; round++) {
        uint32_t n = counts[round];
        uint64_t key = rng_u64(round, rank->own->group);
        for (uint32_t row = 0; row < n; row++) {
            for (uint32_t i = 0; i < width; i++)
                own[row * width + i] = spread_float(key, row * CASE_VOCAB + mine.begin + i);
        }
        struct exchange_columns_args a = {
            .out = out, .own = own, .ranges = vocab, .n_rows = n, .n_columns = CASE_VOCAB};
        TRY(exchange_columns(rank->ex, &a, err));
        for (uint32_t i = 0; i < n * CASE_VOCAB; i++)
            CHECK(out[i] == spread_float(key, i));
    }
    return OK;
}

/* ---- logits ---- */

static enum status run_logits(struct exchange_rank *rank, struct error *err) {
    /* Wide rows go in pieces. */
    static const uint32_t widths[] = {CASE_VOCAB, 200000, 7};
    for (uint32_t round = 0; round < 3; round++) {
        uint32_t n_rows[THREAD_GROUP_RANKS_MAX], n_all = 0, width = widths[round];
        for (uint32_t g = 0; g < rank->plan.n_groups; g++)
            n_all += n_rows[g] = (g + round) % (CASE_LOGIT_ROWS + 1);
        uint32_t n_own = n_rows[rank->own->group];
        bool is_leader = rank->group->rank_idx == 0;
        float *own = arena_array(&rank->arena, n_own, width * sizeof *own);
        float *out = is_leader ? arena_array(&rank->arena, n_all, width * sizeof *out) : NULL;
        CHECK(own && (out || !is_leader));
        for (uint32_t i = 0; rank->own->tp_idx == 0 && i < n_own * width; i++)
            own[i] = spread_float(rng_u64(round, rank->own->group), i);
        struct exchange_logits_args a = {
            .own = own, .n_rows = n_rows, .n_columns = width, .out = out};
        TRY(exchange_logits(rank->ex, &a, err));
        for (uint32_t g = 0; is_leader && g < rank->plan.n_groups; g++) {
            for (uint32_t i = 0; i < n_rows[g] * width; i++)
                CHECK(*out++ == spread_float(rng_u64(round, g), i));
        }
    }
    return OK;
}

/* ---- layouts ---- */

static enum status run_all(struct exchange_rank *rank, struct error *err) {
    TRY(run_sums(rank, err));
    TRY(run_columns(rank, err));
    TRY(run_logits(rank, err));
    TRY(run_shared(rank, err));
    return run_sums(rank, err);
}

static enum status rank_main(struct group *group, void *user, struct error *err) {
    struct exchange_rank rank;
    TRY(exchange_rank_open(&rank, group, user, err));
    enum status status = run_all(&rank, err);
    exchange_rank_close(&rank);
    return status;
}

static void run_case(struct exchange_case c) {
    struct error err;
    if (thread_group_run(c.n_ranks, c.n_nodes, rank_main, &c, &err) != OK)
        fail_msg("%u heads, %u ranks, %u nodes, %u groups: %s", c.n_heads, c.n_ranks, c.n_nodes,
                 c.n_groups, err.text);
}

static const struct exchange_case common = {.strategy = EXCHANGE_ALLTOALL,
                                            .d_model = D_MODEL,
                                            .n_heads = 16,
                                            .n_experts = 60,
                                            .top_k = 4,
                                            .n_step_tokens = STEP_TOKENS,
                                            .n_threads = 1};

static void one_group_adds_by_the_tree(void **state) {
    (void)state;
    static const uint32_t heads[] = {16, 5, 2, 11};
    struct exchange_case c = common;
    c.n_nodes = c.n_groups = 1;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        c.n_heads = heads[i];
        c.uneven = i % 2;
        for (c.n_ranks = 1; c.n_ranks <= 8; c.n_ranks++)
            run_case(c);
    }
}

static void groups_do_not_disturb_each_other(void **state) {
    (void)state;
    struct exchange_case c = common;
    for (c.n_ranks = 2; c.n_ranks <= 8; c.n_ranks += 2) {
        for (c.n_nodes = 1; c.n_nodes <= 4 && c.n_nodes <= c.n_ranks; c.n_nodes *= 2) {
            c.n_groups = c.n_nodes;
            run_case(c);
            c.n_groups = (c.n_nodes + c.n_ranks) / 2;
            run_case(c);
        }
    }
}

static void threads_of_a_rank_share_the_adding(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.n_ranks = 3;
    c.n_nodes = c.n_groups = 1;
    c.n_threads = 2;
    run_case(c);
}

/* A rank that owns parts 0..2 of full eight has two roots, (0+1) and 2. */
static void a_layout_names_the_products_of_a_rank(void **state) {
    (void)state;
    struct arena arena = {0};
    struct ksplit split;
    struct exchange_sum_layout layout;
    static const struct leaf_range parts[] = {{0, 3}, {3, 8}};
    assert_int_equal(split_of_heads(&split, 8, &arena, NULL), OK);
    exchange_sum_layout_init(&layout, &split, parts, 2, 0);
    assert_int_equal(layout.n_own_roots, 2);
    assert_int_equal(layout.own[0].begin, 0);
    assert_int_equal(layout.own[0].end, 2);
    assert_int_equal(layout.own[1].begin, 2);
    assert_int_equal(layout.own[1].end, 3);
    assert_int_equal(layout.n_terms, 4);
    assert_int_equal(layout.n_adds, 3);
    exchange_sum_layout_init(&layout, &split, parts, 2, 1);
    assert_int_equal(layout.n_own_roots, 2);
    assert_int_equal(layout.own[0].begin, 3);
    assert_int_equal(layout.own[0].end, 4);
    assert_int_equal(layout.own[1].begin, 4);
    assert_int_equal(layout.own[1].end, 8);
    arena_free(&arena);
}

/* A group whose third rank never comes: the wait ends, and the phase says where. */
static enum status one_stays_away(struct group *group, void *user, struct error *err) {
    struct exchange_rank rank;
    struct ksplit split;
    struct exchange_sum_layout layout;
    TRY(exchange_rank_open(&rank, group, user, err));
    group_set_phase(group, PHASE_STEP, 17);
    enum status status = split_of_heads(&split, 16, &rank.arena, err);
    struct leaf_range parts[3];
    for (uint32_t i = 0; i < 3; i++)
        parts[i] = rank.plan.ranks[i].attention;
    exchange_sum_layout_init(&layout, &split, parts, 3, group->rank_idx);
    float *x = arena_array(&rank.arena, 1, D_MODEL * sizeof *x);
    if (status == OK && group->rank_idx != 2) {
        status = exchange_sum(rank.ex, &layout, 1, x, err);
        if (status == ERR_COMM &&
            (group->progress->phase != PHASE_EXCHANGE || group->progress->layer != 17))
            status = error_set(err, ERR_INPUT, "the phase was lost");
    }
    exchange_rank_close(&rank);
    return status;
}

static void a_rank_that_stays_away_is_named(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.n_ranks = 3;
    c.n_nodes = c.n_groups = 1;
    struct thread_group_options options = {.n_ranks = 3, .n_nodes = 1, .timeout_ms = 200};
    struct error err;
    assert_int_equal(thread_group_run_with(&options, one_stays_away, &c, &err), ERR_COMM);
    assert_non_null(strstr(err.text, "2"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layout_names_the_products_of_a_rank),
        cmocka_unit_test(one_group_adds_by_the_tree),
        cmocka_unit_test(groups_do_not_disturb_each_other),
        cmocka_unit_test(threads_of_a_rank_share_the_adding),
        cmocka_unit_test(a_rank_that_stays_away_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
