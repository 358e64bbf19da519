/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds what: every layout owns everything once, shares are as near as any division can be,
 * and what cannot be is refused with numbers. */
#include "plan/shard_plan.h"

#include "base/rng.h"
#include "tensor/ksplit.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define RANKS_MAX 80

/* Published shapes (config.json of each model), and two that divide by nothing. */
static const struct hparams shapes[] = {
    /* Qwen3.5-35B-A3B */
    {.n_attention_layers = 10,
     .n_gdn_layers = 30,
     .n_heads = 16,
     .n_kv_heads = 2,
     .n_k_heads = 16,
     .n_experts = 256,
     .d_ff_shared = 512,
     .n_vocab = 248320},
    /* Qwen3.5-122B-A10B */
    {.n_attention_layers = 12,
     .n_gdn_layers = 36,
     .n_heads = 32,
     .n_kv_heads = 2,
     .n_k_heads = 16,
     .n_experts = 256,
     .d_ff_shared = 1024,
     .n_vocab = 248320},
    /* Qwen3.5-397B-A17B */
    {.n_attention_layers = 15,
     .n_gdn_layers = 45,
     .n_heads = 32,
     .n_kv_heads = 2,
     .n_k_heads = 16,
     .n_experts = 512,
     .d_ff_shared = 1024,
     .n_vocab = 248320},
    /* Qwen3.5-27B */
    {.n_attention_layers = 16,
     .n_gdn_layers = 48,
     .n_heads = 24,
     .n_kv_heads = 4,
     .n_k_heads = 16,
     .d_ff = 17408,
     .n_vocab = 248320},
    /* Qwen3-30B-A3B: attention only, no shared expert */
    {.n_attention_layers = 48, .n_heads = 32, .n_kv_heads = 4, .n_experts = 128, .n_vocab = 151936},
    /* five heads, three key heads, six experts, a vocabulary that is no multiple of a panel */
    {.n_attention_layers = 1,
     .n_gdn_layers = 3,
     .n_heads = 5,
     .n_kv_heads = 1,
     .n_k_heads = 3,
     .n_experts = 6,
     .d_ff_shared = 96,
     .n_vocab = 1003},
    /* delta nets only, dense */
    {.n_gdn_layers = 4, .n_k_heads = 7, .n_heads = 4, .d_ff = 800, .n_vocab = 40},
};
#define N_SHAPES (sizeof shapes / sizeof shapes[0])

static const struct hparams *const big = &shapes[0]; /* 35B */
static const struct hparams *const odd = &shapes[5];

/* Consecutive ranks over nodes as even as they go, all equal. */
static void equal_ranks(struct plan_rank *ranks, uint32_t n_ranks, uint32_t n_nodes) {
    for (uint32_t i = 0; i < n_ranks; i++)
        ranks[i] = (struct plan_rank){.node = i * n_nodes / n_ranks, .capacity = 1};
}

static struct shard_plan plan_of(const struct shard_plan_options *options, struct arena *arena) {
    struct shard_plan plan;
    struct error err = {0};
    if (shard_plan_init(&plan, options, arena, &err) != OK)
        fail_msg("%s", err.text);
    return plan;
}

/* ---- what every plan must keep ---- */

static void check_nodes_and_groups(const struct shard_plan *plan, const struct plan_rank *ranks) {
    uint32_t next_rank = 0, next_group = 0;
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        const struct plan_node *node = &plan->nodes[n];
        assert_int_equal(node->ranks.begin, next_rank);
        assert_int_equal(node->groups.begin, next_group);
        assert_true(node->groups.end > node->groups.begin);
        for (uint32_t g = node->groups.begin; g < node->groups.end; g++) {
            const struct plan_group *group = &plan->groups[g];
            assert_int_equal(group->node, n);
            assert_int_equal(group->ranks.begin, next_rank);
            assert_true(group->ranks.end > group->ranks.begin);
            for (uint32_t tp_idx = 0; next_rank < group->ranks.end; tp_idx++, next_rank++) {
                assert_int_equal(ranks[next_rank].node, n);
                assert_int_equal(plan->ranks[next_rank].node, n);
                assert_int_equal(plan->ranks[next_rank].group, g);
                assert_int_equal(plan->ranks[next_rank].tp_idx, tp_idx);
            }
        }
        assert_int_equal(node->ranks.end, next_rank);
        next_group = node->groups.end;
    }
    assert_int_equal(next_rank, plan->n_ranks);
    assert_int_equal(next_group, plan->n_groups);
}

/* Leaves of one kind follow each other in a group up to n_leaves, or nobody has any. */
static void check_leaves(struct leaf_range range, bool is_first, bool is_last, bool exists,
                         uint32_t n_leaves, uint32_t *next) {
    if (!exists) {
        assert_int_equal(range.begin, 0);
        assert_int_equal(range.end, 0);
        return;
    }
    assert_int_equal(range.begin, is_first ? 0 : *next);
    assert_true(range.end >= range.begin);
    *next = range.end;
    if (is_last)
        assert_int_equal(range.end, n_leaves);
}

static void check_group(const struct shard_plan *plan, const struct plan_group *group,
                        const struct hparams *hp) {
    uint32_t attention = 0, gdn = 0, ffn = 0, vocab = 0, router = 0;
    for (uint32_t r = group->ranks.begin; r < group->ranks.end; r++) {
        const struct rank_share *share = &plan->ranks[r];
        bool first = r == group->ranks.begin, last = r + 1 == group->ranks.end;
        check_leaves(share->attention, first, last, hp->n_attention_layers > 0, KSPLIT_PARTS,
                     &attention);
        check_leaves(share->gdn, first, last, hp->n_gdn_layers > 0, KSPLIT_PARTS, &gdn);
        check_leaves(share->ffn, first, last, hp->d_ff + hp->d_ff_shared > 0, KSPLIT_PARTS, &ffn);
        assert_int_equal(share->vocab.begin, vocab);
        assert_int_equal(share->router.begin, router);
        assert_true(share->vocab.end >= vocab && share->router.end >= router);
        vocab = share->vocab.end;
        router = share->router.end;
        assert_true(last || (vocab % 16 == 0 && router % 16 == 0) || vocab == hp->n_vocab ||
                    router == hp->n_experts);
    }
    assert_int_equal(vocab, hp->n_vocab);
    assert_int_equal(router, hp->n_experts);
}

/* By id, as the kernels find buckets. */
static void check_experts(const struct shard_plan *plan, uint32_t n_experts) {
    uint32_t next = 0;
    for (uint32_t r = 0; r < plan->n_ranks; r++)
        check_leaves(plan->ranks[r].buckets, r == 0, r + 1 == plan->n_ranks, n_experts > 0,
                     PLAN_EXPERT_LEAVES, &next);
    for (uint32_t id = 0; id < n_experts; id++) {
        uint32_t bucket = id * PLAN_EXPERT_LEAVES / n_experts, n_owners = 0;
        for (uint32_t r = 0; r < plan->n_ranks; r++) {
            const struct rank_share *share = &plan->ranks[r];
            bool has_bucket = bucket >= share->buckets.begin && bucket < share->buckets.end;
            bool has_expert = id >= share->experts.begin && id < share->experts.end;
            assert_int_equal(has_bucket, has_expert);
            n_owners += has_expert;
        }
        assert_int_equal(n_owners, 1);
    }
}

static void check_plan(const struct shard_plan *plan, const struct shard_plan_options *options) {
    check_nodes_and_groups(plan, options->ranks);
    for (uint32_t g = 0; g < plan->n_groups; g++)
        check_group(plan, &plan->groups[g], options->hp);
    check_experts(plan, options->hp->n_experts);
}

/* ---- tests ---- */

static void everything_is_owned_once_on_every_layout(void **state) {
    (void)state;
    uint32_t n_plans = 0;
    for (size_t s = 0; s < N_SHAPES; s++) {
        for (uint32_t n_ranks = 1; n_ranks <= 16; n_ranks++) {
            for (uint32_t n_nodes = 1; n_nodes <= 4 && n_nodes <= n_ranks; n_nodes++) {
                for (uint32_t n_groups = n_nodes; n_groups <= n_ranks; n_groups++) {
                    struct arena arena = {0};
                    struct plan_rank ranks[16];
                    equal_ranks(ranks, n_ranks, n_nodes);
                    struct shard_plan_options options = {&shapes[s], ranks, n_ranks, n_groups};
                    uint32_t n_used = shapes[s].n_experts < PLAN_EXPERT_LEAVES ? shapes[s].n_experts
                                                                               : PLAN_EXPERT_LEAVES;
                    if (n_ranks > n_groups * KSPLIT_PARTS && n_ranks > n_used)
                        continue; /* refused, see below */
                    struct shard_plan plan = plan_of(&options, &arena);
                    assert_int_equal(plan.n_groups, n_groups);
                    check_plan(&plan, &options);
                    n_plans++;
                    arena_free(&arena);
                }
            }
        }
    }
    assert_true(n_plans > 2500);
}

static void uneven_capacities_and_nodes_own_everything_once_too(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct arena arena = {0};
        struct plan_rank ranks[12];
        uint32_t n_ranks = 1 + (uint32_t)(rng_u64(seed, 0) % 12), node = 0;
        for (uint32_t i = 0; i < n_ranks; i++) {
            node += i > 0 && rng_u64(seed, 10 + i) % 3 == 0;
            ranks[i].node = node;
            ranks[i].capacity = exp(6 * rng_double(seed, 30 + i));
        }
        uint32_t n_groups = node + 1 + (uint32_t)(rng_u64(seed, 1) % (n_ranks - node));
        struct shard_plan_options options = {&shapes[seed % 5], ranks, n_ranks, n_groups};
        if (n_ranks > n_groups * KSPLIT_PARTS && options.hp->n_experts == 0)
            continue;
        struct shard_plan plan = plan_of(&options, &arena);
        check_plan(&plan, &options);
        arena_free(&arena);
    }
}

static void buckets_are_the_inverse_of_ids(void **state) {
    (void)state;
    for (uint32_t n_experts = 1; n_experts <= HPARAMS_EXPERTS_MAX; n_experts++) {
        assert_int_equal(shard_plan_bucket_begin(0, n_experts), 0);
        assert_int_equal(shard_plan_bucket_begin(PLAN_EXPERT_LEAVES, n_experts), n_experts);
        for (uint32_t id = 0; id < n_experts; id++) {
            uint32_t bucket = id * PLAN_EXPERT_LEAVES / n_experts;
            assert_true(shard_plan_bucket_begin(bucket, n_experts) <= id);
            assert_true(shard_plan_bucket_begin(bucket + 1, n_experts) > id);
        }
    }
}

static void two_ranks_have_half_of_everything(void **state) {
    (void)state;
    struct arena arena = {0};
    struct plan_rank ranks[2];
    equal_ranks(ranks, 2, 1);
    struct shard_plan plan = plan_of(&(struct shard_plan_options){big, ranks, 2, 0}, &arena);
    assert_int_equal(plan.n_groups, 1);
    assert_int_equal(plan.ranks[0].attention.end, 4);
    assert_int_equal(plan.ranks[0].gdn.end, 4);
    assert_int_equal(plan.ranks[0].ffn.end, 4);
    assert_int_equal(plan.ranks[0].vocab.end, 124160);
    assert_int_equal(plan.ranks[0].router.end, 128);
    assert_int_equal(plan.ranks[0].buckets.end, 32);
    assert_int_equal(plan.ranks[0].experts.end, 128);
    arena_free(&arena);
}

/* 16 heads on 2 KV heads: four heads each, whatever the KV heads. The two runs of 256 of the shared
 * expert, parts 3 and 7, leave two of the ranks without. */
static void four_ranks_of_two_kv_heads_share_the_heads(void **state) {
    (void)state;
    struct arena arena = {0};
    struct plan_rank ranks[4];
    equal_ranks(ranks, 4, 1);
    struct shard_plan plan = plan_of(&(struct shard_plan_options){big, ranks, 4, 0}, &arena);
    uint32_t n_with_ffn = 0;
    for (uint32_t r = 0; r < 4; r++) {
        const struct rank_share *share = &plan.ranks[r];
        assert_int_equal(share->attention.begin, 2 * r);
        assert_int_equal(share->attention.end, 2 * r + 2);
        bool has_3 = share->ffn.begin <= 3 && share->ffn.end > 3;
        bool has_7 = share->ffn.begin <= 7 && share->ffn.end > 7;
        assert_false(has_3 && has_7);
        n_with_ffn += has_3 || has_7;
    }
    assert_int_equal(n_with_ffn, 2);
    arena_free(&arena);
}

/* Heads stand in the parts 1, 3, 4, 6 and 7. */
static void five_heads_on_three_ranks_are_two_two_one(void **state) {
    (void)state;
    struct arena arena = {0};
    struct plan_rank ranks[3];
    equal_ranks(ranks, 3, 1);
    struct shard_plan plan = plan_of(&(struct shard_plan_options){odd, ranks, 3, 0}, &arena);
    uint32_t n_heads[3], n_experts = 0;
    for (uint32_t r = 0; r < 3; r++) {
        struct leaf_range parts = plan.ranks[r].attention;
        n_heads[r] = parts.end * 5 / 8 - parts.begin * 5 / 8;
        assert_true(n_heads[r] == 1 || n_heads[r] == 2);
        n_experts += plan.ranks[r].experts.end - plan.ranks[r].experts.begin == 2;
    }
    assert_int_equal(n_heads[0] + n_heads[1] + n_heads[2], 5);
    assert_int_equal(n_experts, 3);
    arena_free(&arena);
}

/* A rank without heads, but with experts and rows of the head. */
static void fewer_heads_than_ranks_leave_ranks_without(void **state) {
    (void)state;
    struct arena arena = {0};
    struct plan_rank ranks[6];
    equal_ranks(ranks, 6, 1);
    struct shard_plan plan = plan_of(&(struct shard_plan_options){odd, ranks, 6, 0}, &arena);
    uint32_t n_without = 0;
    for (uint32_t r = 0; r < 6; r++) {
        const struct rank_share *share = &plan.ranks[r];
        n_without += share->attention.end * 5 / 8 == share->attention.begin * 5 / 8;
        assert_int_equal(share->experts.end - share->experts.begin, 1);
        assert_true(share->vocab.end > share->vocab.begin);
    }
    assert_int_equal(n_without, 1);
    arena_free(&arena);
}

static void shares_follow_capacities(void **state) {
    (void)state;
    struct arena arena = {0};
    const struct plan_rank ranks[] = {{0, 30e9}, {0, 10e9}};
    struct shard_plan plan = plan_of(&(struct shard_plan_options){big, ranks, 2, 0}, &arena);
    assert_int_equal(plan.ranks[0].attention.end, 6);
    assert_int_equal(plan.ranks[0].experts.end, 192);
    assert_int_equal(plan.ranks[0].vocab.end, 186240);
    assert_int_equal(plan.ranks[0].router.end, 192);
    arena_free(&arena);
}

/* Experts go over all ranks, heads over those of a group: a slow node has fewer experts, but all
 * heads of its sequences. */
static void a_slow_node_has_fewer_experts(void **state) {
    (void)state;
    struct arena arena = {0};
    const struct plan_rank ranks[] = {{0, 3}, {0, 3}, {1, 1}, {1, 1}};
    struct shard_plan plan = plan_of(&(struct shard_plan_options){big, ranks, 4, 0}, &arena);
    assert_int_equal(plan.ranks[1].experts.end, 192);
    assert_int_equal(plan.ranks[2].attention.begin, 0);
    assert_int_equal(plan.ranks[2].attention.end, 4);
    arena_free(&arena);
}

static double distance(double units, double share) {
    return (units - share) * (units - share) / share;
}

/* Every division of eight parts among three ranks is tried: none is nearer to the shares. */
static void no_division_is_nearer_to_the_shares(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct arena arena = {0};
        struct hparams hp = {.n_attention_layers = 1,
                             .n_heads = 1 + (uint32_t)(rng_u64(seed, 0) % 40)};
        struct plan_rank ranks[3];
        double shares[3], all = 0;
        for (uint32_t i = 0; i < 3; i++) {
            ranks[i] = (struct plan_rank){0, 0.1 + rng_double(seed, 1 + i)};
            all += ranks[i].capacity;
        }
        for (uint32_t i = 0; i < 3; i++)
            shares[i] = hp.n_heads * ranks[i].capacity / all;
        double best = INFINITY;
        for (uint32_t a = 0; a <= 8; a++) {
            for (uint32_t b = a; b <= 8; b++) {
                uint32_t to_a = a * hp.n_heads / 8, to_b = b * hp.n_heads / 8;
                double d = distance(to_a, shares[0]) + distance(to_b - to_a, shares[1]) +
                           distance(hp.n_heads - to_b, shares[2]);
                best = d < best ? d : best;
            }
        }
        struct shard_plan plan = plan_of(&(struct shard_plan_options){&hp, ranks, 3, 0}, &arena);
        double got = 0;
        for (uint32_t i = 0; i < 3; i++) {
            struct leaf_range parts = plan.ranks[i].attention;
            got += distance(parts.end * hp.n_heads / 8 - parts.begin * hp.n_heads / 8, shares[i]);
        }
        assert_true(got <= best + 1e-4);
        arena_free(&arena);
    }
}

static void groups_follow_the_ranks_of_the_nodes(void **state) {
    (void)state;
    struct arena arena = {0};
    struct plan_rank ranks[9]; /* six and three */
    for (uint32_t i = 0; i < 9; i++)
        ranks[i] = (struct plan_rank){.node = i >= 6, .capacity = 1};
    struct shard_plan plan = plan_of(&(struct shard_plan_options){big, ranks, 9, 3}, &arena);
    assert_int_equal(plan.nodes[0].groups.end, 2);
    assert_int_equal(plan.groups[0].ranks.end, 3);
    assert_int_equal(plan.groups[2].ranks.begin, 6);
    plan = plan_of(&(struct shard_plan_options){big, ranks, 9, 9}, &arena);
    assert_int_equal(plan.nodes[0].groups.end, 6);
    plan = plan_of(&(struct shard_plan_options){big, ranks, 9, 0}, &arena);
    assert_int_equal(plan.n_groups, 2);
    arena_free(&arena);
}

static void refuses(const struct shard_plan_options *options, enum status status,
                    const char *text) {
    struct arena arena = {0};
    struct shard_plan plan;
    struct error err = {0};
    assert_int_equal(shard_plan_init(&plan, options, &arena, &err), status);
    if (!strstr(err.text, text))
        fail_msg("'%s' is not in '%s'", text, err.text);
    arena_free(&arena);
}

static void layouts_that_cannot_be_are_refused(void **state) {
    (void)state;
    struct plan_rank ranks[RANKS_MAX];
    equal_ranks(ranks, RANKS_MAX, 1);
    refuses(&(struct shard_plan_options){big, ranks, 0, 0}, ERR_LIMIT, "0 ranks: 1 to 1024");
    refuses(&(struct shard_plan_options){big, ranks, 1025, 0}, ERR_LIMIT, "1025 ranks");
    refuses(&(struct shard_plan_options){big, ranks, 3, 4}, ERR_INPUT, "1 to 3 are possible");
    refuses(&(struct shard_plan_options){big, ranks, 65, 1}, ERR_LIMIT, "at most 64");
    refuses(&(struct shard_plan_options){odd, ranks, 9, 1}, ERR_LIMIT,
            "experts of this model keep at most 6 at work, its matrices 8");
    refuses(&(struct shard_plan_options){&shapes[3], ranks, 9, 1}, ERR_LIMIT, "9 ranks");
    equal_ranks(ranks, 4, 2);
    refuses(&(struct shard_plan_options){big, ranks, 4, 1}, ERR_INPUT, "2 to 4 are possible");
    ranks[3].node = 0;
    refuses(&(struct shard_plan_options){big, ranks, 4, 0}, ERR_INPUT, "rank 3: node 0");
    ranks[0].node = 1;
    refuses(&(struct shard_plan_options){big, ranks, 4, 0}, ERR_INPUT, "rank 0: node 1");
}

static void capacities_that_are_no_speed_are_refused(void **state) {
    (void)state;
    static const double wrong[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct plan_rank ranks[] = {{0, 1}, {0, wrong[i]}};
        refuses(&(struct shard_plan_options){big, ranks, 2, 0}, ERR_INPUT, "rank 1: capacity");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_owned_once_on_every_layout),
        cmocka_unit_test(uneven_capacities_and_nodes_own_everything_once_too),
        cmocka_unit_test(buckets_are_the_inverse_of_ids),
        cmocka_unit_test(two_ranks_have_half_of_everything),
        cmocka_unit_test(four_ranks_of_two_kv_heads_share_the_heads),
        cmocka_unit_test(five_heads_on_three_ranks_are_two_two_one),
        cmocka_unit_test(fewer_heads_than_ranks_leave_ranks_without),
        cmocka_unit_test(shares_follow_capacities),
        cmocka_unit_test(a_slow_node_has_fewer_experts),
        cmocka_unit_test(no_division_is_nearer_to_the_shares),
        cmocka_unit_test(groups_follow_the_ranks_of_the_nodes),
        cmocka_unit_test(layouts_that_cannot_be_are_refused),
        cmocka_unit_test(capacities_that_are_no_speed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
