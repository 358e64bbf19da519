/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens to experts and back, on every layout: experts are invented functions of the bytes that
 * reached them, and the sums must have the bits of one thread that adds by the definition. */
#include "tests/worker/support_exchange.h"

#include "kernels/experts/experts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define D_MODEL     288 /* a whole piece of columns, and a part of one */
#define STEP_TOKENS 160
#define N_LAYERS    3

/* How many rows the groups of a step have: [layer] picks one by its number. */
enum rows { ROWS_ONE_EACH, ROWS_FIRST_ONLY, ROWS_UNEVEN, ROWS_NONE, ROWS_MANY, ROWS_N };

static uint32_t rows_of_group(const struct exchange_rank *rank, enum rows rows, uint32_t group) {
    uint32_t even = STEP_TOKENS / rank->plan.n_groups;
    switch (rows) {
    case ROWS_ONE_EACH:
        return 1;
    case ROWS_FIRST_ONLY:
        return group == 0 ? 5 : 0;
    case ROWS_UNEVEN:
        return group % 2 ? 7 : group % 3;
    case ROWS_MANY:
        return even;
    default:
        return 0;
    }
}

/* ---- routing ---- */

/* What a row is, the same wherever it is looked at. */
static uint64_t row_key(uint32_t layer, uint32_t group, uint32_t row) {
    return rng_u64(layer, (uint64_t)group << 32 | row);
}

/* Rising ids; every fourth row has them all close together, so that one rank holds them. */
static void choose(const struct exchange_case *c, uint64_t key, uint32_t *ids) {
    uint32_t n_left = c->n_experts, n_wanted = c->top_k, first = 0;
    if (key % 4 == 0 && c->n_experts >= 4 * c->top_k) {
        first = (uint32_t)(rng_u64(key, 1) % (c->n_experts - 2 * c->top_k));
        n_left = 2 * c->top_k;
    }
    for (uint32_t i = 0; n_wanted > 0; i++, n_left--) {
        if (rng_u64(key, 2 + i) % n_left < n_wanted) {
            ids[c->top_k - n_wanted] = first + i;
            n_wanted--;
        }
    }
}

struct home {
    struct activation x;
    uint32_t *ids;
    float *weights;
};

static enum status make_home(struct exchange_rank *rank, uint32_t layer, uint32_t n_rows,
                             struct home *home, struct error *err) {
    const struct exchange_case *c = rank->c;
    uint32_t n_blocks = c->d_model / ACT_BLOCK;
    float *x = arena_array(&rank->arena, n_rows, c->d_model * sizeof *x);
    home->x = (struct activation){.x = x, .n_tokens = n_rows, .d = c->d_model};
    home->x.blocks = arena_array(&rank->arena, n_rows, n_blocks * sizeof(struct act_block));
    home->ids = arena_array(&rank->arena, n_rows, c->top_k * sizeof(uint32_t));
    home->weights = arena_array(&rank->arena, n_rows, c->top_k * sizeof(float));
    CHECK(x && home->x.blocks && home->ids && home->weights);
    for (uint32_t row = 0; row < n_rows; row++) {
        uint64_t key = row_key(layer, rank->own->group, row);
        choose(c, key, home->ids + row * c->top_k);
        for (uint32_t s = 0; s < c->top_k; s++)
            home->weights[row * c->top_k + s] = spread_float(key, s);
        memcpy(home->x.blocks[(size_t)row * n_blocks].q, &key, sizeof key);
        memcpy(home->x.blocks[(size_t)(row + 1) * n_blocks - 1].q, &key, sizeof key);
        for (uint32_t i = 0; i < c->d_model; i++)
            x[(size_t)row * c->d_model + i] = spread_float(key, 1000 + i);
    }
    return OK;
}

/* ---- experts ---- */

static float expert_result(uint64_t key, uint32_t expert, float weight, uint32_t i) {
    return weight * spread_float(key ^ (uint64_t)expert * 0x100000001b3u, i);
}

/* Roots of own buckets for every row of work, as kernels/experts leaves them. */
static enum status run_experts(const struct exchange_rank *rank, const struct exchange_work *work,
                               float *roots, struct error *err) {
    const struct exchange_case *c = rank->c;
    uint32_t n_blocks = c->d_model / ACT_BLOCK;
    CHECK(work->x.d == c->d_model);
    for (uint32_t row = 0; row < work->x.n_tokens; row++) {
        const uint32_t *ids = work->ids + (size_t)row * c->top_k;
        uint64_t key, last;
        memcpy(&key, work->x.blocks[(size_t)row * n_blocks].q, sizeof key);
        memcpy(&last, work->x.blocks[(size_t)(row + 1) * n_blocks - 1].q, sizeof last);
        CHECK(key == last);
        for (uint32_t i = 0; c->whole_rows && i < c->d_model; i++)
            CHECK(work->x.x[(size_t)row * c->d_model + i] == spread_float(key, 1000 + i));
        float made[EXPERT_TOP_K_MAX][D_MODEL];
        struct tree_term terms[EXPERT_TOP_K_MAX];
        struct tree_add adds[EXPERT_TOP_K_MAX];
        uint32_t n = 0;
        for (uint32_t s = 0; s < c->top_k; s++) {
            if (ids[s] < rank->own->experts.begin || ids[s] >= rank->own->experts.end)
                continue;
            for (uint32_t i = 0; i < c->d_model; i++)
                made[s][i] =
                    expert_result(key, ids[s], work->weights[(size_t)row * c->top_k + s], i);
            terms[n++] =
                (struct tree_term){.leaf = ids[s] * EXPERT_BUCKETS / c->n_experts, .term = s};
        }
        uint32_t n_roots = tree_fold(EXPERT_BUCKETS, rank->own->buckets, terms, n, adds);
        for (uint32_t a = 0; a < n - n_roots; a++) {
            for (uint32_t i = 0; i < c->d_model; i++)
                made[adds[a].to][i] += made[adds[a].from][i];
        }
        for (uint32_t r = 0; r < n_roots; r++, roots += c->d_model)
            memcpy(roots, made[terms[r].term], c->d_model * sizeof(float));
    }
    return OK;
}

/* The definition: buckets in order of ids, then the tree, halves first; false: no term there. */
static bool definition(const struct exchange_case *c, const struct home *home, uint32_t row,
                       uint64_t key, uint32_t begin, uint32_t end, uint32_t i, float *sum) {
    if (end - begin > 1) {
        uint32_t middle = (begin + end) / 2;
        float left, right;
        bool has_left = definition(c, home, row, key, begin, middle, i, &left);
        bool has_right = definition(c, home, row, key, middle, end, i, &right);
        *sum = has_left && has_right ? left + right : has_left ? left : right;
        return has_left || has_right;
    }
    bool any = false;
    *sum = 0;
    for (uint32_t s = 0; s < c->top_k; s++) {
        uint32_t id = home->ids[row * c->top_k + s];
        if (id * EXPERT_BUCKETS / c->n_experts != begin)
            continue;
        float result = expert_result(key, id, home->weights[row * c->top_k + s], i);
        *sum = any ? *sum + result : result;
        any = true;
    }
    return any;
}

/* ---- one rank ---- */

/* What all ranks together must have sent, by hand. */
static uint64_t rows_between_nodes(const struct exchange_rank *rank, uint32_t layer,
                                   enum rows rows) {
    const struct exchange_case *c = rank->c;
    uint64_t n = 0;
    for (uint32_t g = 0; g < rank->plan.n_groups; g++) {
        for (uint32_t row = 0; row < rows_of_group(rank, rows, g); row++) {
            uint32_t ids[EXPERT_TOP_K_MAX];
            bool is_needed[8] = {false};
            choose(c, row_key(layer, g, row), ids);
            for (uint32_t s = 0; s < c->top_k; s++) {
                uint32_t holder = 0;
                while (ids[s] >= rank->plan.ranks[holder].experts.end)
                    holder++;
                is_needed[rank->plan.ranks[holder].node] = true;
            }
            for (uint32_t node = 0; node < rank->plan.n_nodes; node++) {
                bool wanted = c->strategy == EXCHANGE_GATHER || is_needed[node];
                n += wanted && node != rank->plan.groups[g].node;
            }
        }
    }
    return n;
}

static enum status check_rows(const struct exchange_rank *rank, const struct home *home,
                              uint32_t layer, const float *out, struct error *err) {
    struct index_range slice = exchange_slice(rank->ex, home->x.n_tokens);
    for (uint32_t row = slice.begin; row < slice.end; row++) {
        uint64_t key = row_key(layer, rank->own->group, row);
        /* The order is the same for all columns; with many rows some of them must do. */
        for (uint32_t i = row % 4; i<rank->c->d_model; i += slice.end> 8 ? 37 : 5) {
            float want;
            CHECK(definition(rank->c, home, row, key, 0, EXPERT_BUCKETS, i, &want));
            CHECK(out[(size_t)row * rank->c->d_model + i] == want);
        }
    }
    return OK;
}

static enum status run_layer(struct exchange_rank *rank, uint32_t layer, enum rows rows,
                             struct error *err) {
    struct home home;
    struct exchange_work work;
    uint32_t n_rows = rows_of_group(rank, rows, rank->own->group);
    TRY(make_home(rank, layer, n_rows, &home, err));
    float *out = arena_array(&rank->arena, n_rows, rank->c->d_model * sizeof *out);
    CHECK(out);
    TRY(exchange_dispatch(
        rank->ex, &(struct exchange_home){.x = &home.x, .ids = home.ids, .weights = home.weights},
        &work, err));
    TRY(run_experts(rank, &work, exchange_expert_roots(rank->ex), err));
    TRY(exchange_combine(rank->ex, &(struct exchange_combine_args){.out = out, .n_rows = n_rows},
                         err));
    return check_rows(rank, &home, layer, out, err);
}

static enum status check_counts(const struct exchange_rank *rank, uint64_t want_rows,
                                uint64_t n_dispatches, struct error *err) {
    struct exchange_counts own = exchange_counts(rank->ex), all[THREAD_GROUP_RANKS_MAX];
    TRY(group_all_gather(rank->group, &own, sizeof own, all, err));
    uint64_t n_rows = 0, n_returned = 0;
    for (uint32_t i = 0; i < rank->c->n_ranks; i++) {
        CHECK(all[i].node_bytes == all[i].node_rows * all[i].row_bytes + all[i].header_bytes);
        CHECK(all[i].header_bytes == 16 * n_dispatches * (rank->c->n_nodes - 1));
        n_rows += all[i].node_rows;
        n_returned += all[i].return_rows;
    }
    CHECK(own.row_bytes == rank->c->d_model / 32 * 52 + rank->c->top_k * 8 +
                               (rank->c->whole_rows ? rank->c->d_model * sizeof(float) : 0));
    CHECK(n_rows == want_rows);
    CHECK(n_returned == n_rows || rank->c->strategy == EXCHANGE_GATHER);
    return OK;
}

static enum status run_layers(struct exchange_rank *rank, struct error *err) {
    uint64_t n_rows = 0, n_dispatches = 0;
    for (enum rows rows = 0; rows < ROWS_N; rows++) {
        for (uint32_t layer = 0; layer < N_LAYERS; layer++, n_dispatches++) {
            n_rows += rows_between_nodes(rank, layer, rows);
            TRY(run_layer(rank, layer, rows, err));
        }
    }
    bool travels = rank->c->strategy != EXCHANGE_REPLICATED;
    return travels ? check_counts(rank, n_rows, n_dispatches, err) : OK;
}

static enum status rank_main(struct group *group, void *user, struct error *err) {
    struct exchange_rank rank;
    TRY(exchange_rank_open(&rank, group, user, err));
    enum status status = run_layers(&rank, err);
    exchange_rank_close(&rank);
    return status;
}

/* ---- tests ---- */

static void run_case(struct exchange_case c) {
    struct error err;
    if (thread_group_run(c.n_ranks, c.n_nodes, rank_main, &c, &err) != OK)
        fail_msg("%s, %u ranks, %u nodes, %u groups, %u experts: %s", exchange_name(c.strategy),
                 c.n_ranks, c.n_nodes, c.n_groups, c.n_experts, err.text);
}

static const struct exchange_case common = {.d_model = D_MODEL,
                                            .n_heads = 16,
                                            .n_experts = 256,
                                            .top_k = 8,
                                            .n_step_tokens = STEP_TOKENS,
                                            .n_threads = 1};

/* As few groups as there can be, as many, and something between. */
static void run_all_layouts(struct exchange_case c) {
    for (c.n_ranks = 1; c.n_ranks <= 8; c.n_ranks++) {
        for (c.n_nodes = 1; c.n_nodes <= 4 && c.n_nodes <= c.n_ranks; c.n_nodes *= 2) {
            uint32_t last = 0;
            for (uint32_t k = 0; k < 3; k++) {
                c.n_groups = k == 0 ? c.n_nodes : (c.n_nodes + k * c.n_ranks) / (k + 1);
                if (k == 2)
                    c.n_groups = c.n_ranks;
                if (c.n_groups == last)
                    continue;
                last = c.n_groups;
                run_case(c);
            }
        }
    }
}

static void gathered_tokens_give_the_bits_of_one_thread(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.strategy = EXCHANGE_GATHER;
    run_all_layouts(c);
}

static void chosen_tokens_give_the_bits_of_one_thread_and_travel_once(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.strategy = EXCHANGE_ALLTOALL;
    run_all_layouts(c);
}

static void replicated_tokens_give_the_bits_of_one_thread(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.strategy = EXCHANGE_REPLICATED;
    for (c.n_ranks = 1; c.n_ranks <= 8; c.n_ranks++) {
        c.n_nodes = c.n_groups = 1;
        run_case(c);
    }
}

static void a_group_of_one_needs_no_window(void **state) {
    (void)state;
    struct exchange_case c = common;
    struct plan_rank place = {.node = 0, .capacity = 1};
    struct group_progress progress = {.layer = 0};
    struct group group = {
        .n_ranks = 1, .n_nodes = 1, .ranks = &place, .n_node_ranks = 1, .progress = &progress};
    c.n_ranks = c.n_nodes = c.n_groups = 1;
    c.strategy = EXCHANGE_REPLICATED;
    struct error err;
    if (rank_main(&group, &c, &err) != OK)
        fail_msg("%s", err.text);
}

static void odd_numbers_of_experts_and_uneven_ranks_work(void **state) {
    (void)state;
    static const struct {
        uint32_t n_experts, top_k;
    } shapes[] = {{6, 2}, {6, 6}, {60, 4}, {100, 10}, {512, 10}, {512, 1}};
    struct exchange_case c = common;
    c.uneven = true;
    c.n_nodes = 2;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        c.n_experts = shapes[i].n_experts;
        c.top_k = shapes[i].top_k;
        for (c.n_ranks = 3; c.n_ranks <= 7; c.n_ranks += 2) {
            for (c.strategy = EXCHANGE_GATHER; c.strategy < EXCHANGE_N; c.strategy++) {
                c.n_groups = c.n_ranks - 1;
                run_case(c);
            }
        }
    }
}

static void rows_bring_their_floats_where_experts_read_them(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.whole_rows = true;
    c.n_ranks = 4;
    c.n_nodes = 2;
    c.n_groups = 3;
    c.strategy = EXCHANGE_ALLTOALL;
    run_case(c);
    c.n_nodes = c.n_groups = 1;
    c.strategy = EXCHANGE_REPLICATED;
    run_case(c);
}

static void threads_of_a_rank_share_the_adding(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.n_threads = 2;
    c.n_ranks = 3;
    c.n_nodes = 2;
    c.n_groups = 2;
    for (c.strategy = EXCHANGE_GATHER; c.strategy < EXCHANGE_N; c.strategy++)
        run_case(c);
}

static enum status open_only(struct group *group, void *user, struct error *err) {
    struct exchange_rank rank;
    TRY(exchange_rank_open(&rank, group, user, err));
    exchange_rank_close(&rank);
    return OK;
}

static void replicated_is_refused_to_several_groups(void **state) {
    (void)state;
    struct exchange_case c = common;
    c.n_ranks = c.n_groups = 2;
    c.n_nodes = 1;
    c.strategy = EXCHANGE_REPLICATED;
    struct error err;
    assert_int_equal(thread_group_run(c.n_ranks, c.n_nodes, open_only, &c, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "2 attention groups"));
}

static enum status choose_exchange(struct group *group, void *user, struct error *err) {
    struct exchange_rank rank;
    struct exchange_choice choice;
    struct exchange_case *c = user;
    TRY(exchange_rank_open(&rank, group, c, err));
    struct exchange_options options = exchange_rank_options(&rank);
    enum status status = exchange_choose(&options, &choice, err);
    enum exchange_strategy all[THREAD_GROUP_RANKS_MAX];
    if (status == OK)
        status = group_all_gather(group, &choice.strategy, sizeof choice.strategy, all, err);
    for (uint32_t i = 0; status == OK && i < c->n_ranks; i++) {
        if (all[i] != all[0])
            status = error_set(err, ERR_INPUT, "ranks chose different strategies");
    }
    bool is_replicated = choice.strategy == EXCHANGE_REPLICATED;
    if (status == OK && (is_replicated != (c->n_groups == 1) || choice.reason[0] == 0))
        status = error_set(err, ERR_INPUT, "%s: %s", exchange_name(choice.strategy), choice.reason);
    exchange_rank_close(&rank);
    return status;
}

static void all_ranks_choose_the_same_strategy(void **state) {
    (void)state;
    static const struct {
        uint32_t n_ranks, n_nodes, n_groups;
    } layouts[] = {{1, 1, 1}, {3, 1, 1}, {3, 1, 3}, {4, 2, 2}, {5, 2, 3}};
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        struct exchange_case c = common;
        c.n_ranks = layouts[i].n_ranks;
        c.n_nodes = layouts[i].n_nodes;
        c.n_groups = layouts[i].n_groups;
        c.strategy = EXCHANGE_GATHER;
        struct error err;
        if (thread_group_run(c.n_ranks, c.n_nodes, choose_exchange, &c, &err) != OK)
            fail_msg("%u ranks, %u nodes: %s", c.n_ranks, c.n_nodes, err.text);
    }
}

/* Or the comparisons above would show nothing. */
static void the_order_of_adding_shows(void **state) {
    (void)state;
    struct exchange_case c = common;
    uint32_t ids[EXPERT_TOP_K_MAX], n_different = 0;
    float weights[EXPERT_TOP_K_MAX];
    const struct home home = {.ids = ids, .weights = weights};
    for (uint32_t row = 0; row < 100; row++) {
        uint64_t key = row_key(0, 0, row);
        choose(&c, key, ids);
        for (uint32_t s = 0; s < c.top_k; s++)
            weights[s] = spread_float(key, s);
        float in_order = 0, want;
        for (uint32_t s = 0; s < c.top_k; s++)
            in_order += expert_result(key, ids[s], weights[s], 0);
        assert_true(definition(&c, &home, 0, key, 0, EXPERT_BUCKETS, 0, &want));
        n_different += in_order != want;
    }
    assert_true(n_different > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_adding_shows),
        cmocka_unit_test(replicated_tokens_give_the_bits_of_one_thread),
        cmocka_unit_test(gathered_tokens_give_the_bits_of_one_thread),
        cmocka_unit_test(chosen_tokens_give_the_bits_of_one_thread_and_travel_once),
        cmocka_unit_test(a_group_of_one_needs_no_window),
        cmocka_unit_test(odd_numbers_of_experts_and_uneven_ranks_work),
        cmocka_unit_test(rows_bring_their_floats_where_experts_read_them),
        cmocka_unit_test(threads_of_a_rank_share_the_adding),
        cmocka_unit_test(replicated_is_refused_to_several_groups),
        cmocka_unit_test(all_ranks_choose_the_same_strategy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
