/* SPDX-License-Identifier: Apache-2.0 */
/* Shares from capacities. Panels of rows are many and equal: the border next to the share of the
 * ranks before it will do. Leaves (parts of K, buckets of experts) are few and uneven: every border
 * is tried, which also finds the division that sends the fewest roots. */
#include "plan/shard_plan.h"

#include "base/size.h"
#include "tensor/ksplit.h"
#include "tensor/panels.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* What a root more costs beside the deviations from the shares: enough to decide between equal
 * ones, too little to make them unequal. */
#define ROOT_COST 1e-6

uint32_t shard_plan_bucket_begin(uint32_t bucket, uint32_t n_experts) {
    uint64_t rounded_up = (uint64_t)bucket * n_experts + PLAN_EXPERT_LEAVES - 1;
    return (uint32_t)(rounded_up / PLAN_EXPERT_LEAVES);
}

/* ---- nodes and groups ---- */

static enum status check_options(const struct shard_plan_options *o, uint32_t *n_nodes,
                                 struct error *err) {
    if (o->n_ranks < 1 || o->n_ranks > PLAN_RANKS_MAX)
        return error_set(err, ERR_LIMIT, "%u ranks: 1 to %u are possible", o->n_ranks,
                         PLAN_RANKS_MAX);
    uint32_t node = 0;
    for (uint32_t i = 0; i < o->n_ranks; i++) {
        const struct plan_rank *rank = &o->ranks[i];
        bool follows = rank->node == node || (i > 0 && rank->node == node + 1);
        if (!follows)
            return error_set(err, ERR_INPUT,
                             "rank %u: node %u behind node %u; ranks are numbered in order of "
                             "nodes from 0 on",
                             i, rank->node, node);
        if (!isfinite(rank->capacity) || rank->capacity <= 0)
            return error_set(err, ERR_INPUT, "rank %u: capacity of %g; it must be above 0", i,
                             rank->capacity);
        node = rank->node;
    }
    *n_nodes = node + 1;
    uint32_t n_groups = o->n_attention_groups;
    if (n_groups != 0 && (n_groups < *n_nodes || n_groups > o->n_ranks))
        return error_set(err, ERR_INPUT,
                         "%u attention groups on %u nodes with %u ranks: a group is at least a "
                         "rank and lies within a node, so %u to %u are possible",
                         n_groups, *n_nodes, o->n_ranks, *n_nodes, o->n_ranks);
    return OK;
}

static uint32_t range_length(struct index_range range) {
    return range.end - range.begin;
}

static void fill_nodes(struct shard_plan *plan, const struct plan_rank *ranks) {
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        struct plan_node *node = &plan->nodes[ranks[i].node];
        if (i == 0 || ranks[i].node != ranks[i - 1].node)
            node->ranks.begin = i;
        node->ranks.end = i + 1;
        plan->ranks[i].node = ranks[i].node;
    }
}

/* One group each; every further one goes to the node whose groups would have most ranks with it
 * (D'Hondt's method), which never gives a node more groups than ranks. */
static void count_groups(struct shard_plan *plan) {
    for (uint32_t i = 0; i < plan->n_nodes; i++)
        plan->nodes[i].groups.end = 1;
    for (uint32_t given = plan->n_nodes; given < plan->n_groups; given++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < plan->n_nodes; i++) {
            uint64_t here =
                (uint64_t)range_length(plan->nodes[i].ranks) * (plan->nodes[best].groups.end + 1);
            uint64_t there =
                (uint64_t)range_length(plan->nodes[best].ranks) * (plan->nodes[i].groups.end + 1);
            if (here > there)
                best = i;
        }
        plan->nodes[best].groups.end++;
    }
}

static void fill_groups(struct shard_plan *plan) {
    count_groups(plan);
    uint32_t next = 0;
    for (uint32_t i = 0; i < plan->n_nodes; i++) {
        struct plan_node *node = &plan->nodes[i];
        uint32_t n_ranks = range_length(node->ranks), n_groups = node->groups.end;
        node->groups = (struct index_range){.begin = next, .end = next + n_groups};
        for (uint32_t g = 0; g < n_groups; g++) {
            struct plan_group *group = &plan->groups[next++];
            group->node = i;
            group->ranks = (struct index_range){
                .begin = node->ranks.begin + (uint32_t)((uint64_t)g * n_ranks / n_groups),
                .end = node->ranks.begin + (uint32_t)((uint64_t)(g + 1) * n_ranks / n_groups)};
            for (uint32_t r = group->ranks.begin; r < group->ranks.end; r++) {
                plan->ranks[r].group = next - 1;
                plan->ranks[r].tp_idx = r - group->ranks.begin;
            }
        }
    }
}

/* ---- leaves of a tree among ranks ---- */

/* Roots of the whole subtrees in leaves begin .. end-1: what a rank sends of them. */
static uint32_t count_roots(uint32_t begin, uint32_t end) {
    uint32_t n = 0;
    while (begin < end) {
        uint32_t width = begin ? begin & -begin : PLAN_EXPERT_LEAVES;
        while (width > end - begin)
            width /= 2;
        begin += width;
        n++;
    }
    return n;
}

/* Leaves of which the first i hold units[i] units, to be divided among n ranks. */
struct division {
    uint32_t n_leaves;
    uint32_t units[PLAN_EXPERT_LEAVES + 1]; /* [n_leaves + 1] */
    const struct plan_rank *ranks;          /* [n] */
    uint32_t n;
};

/* How far a rank with these leaves is from its share: the square, relative to the share, so that a
 * unit too many weighs more on a slow rank. */
static double division_cost(const struct division *d, double share, uint32_t begin, uint32_t end) {
    double deviation = (double)(d->units[end] - d->units[begin]) - share;
    return deviation * deviation / share + ROOT_COST * count_roots(begin, end);
}

static double total_capacity(const struct plan_rank *ranks, uint32_t n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += ranks[i].capacity;
    return sum;
}

/* Rank by rank: the cheapest way to leave all leaves below `end` to the ranks so far, and where
 * the last of them begins; then back from the last rank. */
static enum status divide_leaves(const struct division *d, struct leaf_range *out,
                                 struct arena *scratch, struct error *err) {
    uint32_t n_ends = d->n_leaves + 1;
    uint8_t *begins = arena_array(scratch, (size_t)d->n * n_ends, sizeof *begins);
    if (!begins)
        return error_set(err, ERR_NOMEM, "no memory to plan %u ranks", d->n);
    double all = total_capacity(d->ranks, d->n), n_units = d->units[d->n_leaves];
    double before[PLAN_EXPERT_LEAVES + 1], now[PLAN_EXPERT_LEAVES + 1];
    for (uint32_t end = 0; end < n_ends; end++)
        before[end] = end == 0 ? 0 : INFINITY; /* without ranks, without leaves */
    for (uint32_t i = 0; i < d->n; i++) {
        double share = n_units * (d->ranks[i].capacity / all);
        for (uint32_t end = 0; end < n_ends; end++) {
            now[end] = INFINITY;
            for (uint32_t begin = 0; begin <= end; begin++) {
                double cost = before[begin] + division_cost(d, share, begin, end);
                if (cost < now[end]) {
                    now[end] = cost;
                    begins[(size_t)i * n_ends + end] = (uint8_t)begin;
                }
            }
        }
        memcpy(before, now, n_ends * sizeof *before);
    }
    uint32_t end = d->n_leaves;
    for (uint32_t i = d->n; i > 0; i--) {
        uint32_t begin = begins[(size_t)(i - 1) * n_ends + end];
        out[i - 1] = (struct leaf_range){.begin = begin, .end = end};
        end = begin;
    }
    return OK;
}

/* ---- shares ---- */

struct planner {
    const struct shard_plan_options *options;
    struct shard_plan *plan;
    struct leaf_range *leaves; /* [n_ranks], of the division last made */
    struct arena scratch;
    struct error *err;
};

/* The parts of K that hold n_units units, in each group, to `leaves`. A group of layers that the
 * model lacks has no units, and nobody its parts. */
static enum status divide_parts(struct planner *p, uint32_t n_units) {
    struct division division = {.n_leaves = KSPLIT_PARTS};
    memset(p->leaves, 0, p->plan->n_ranks * sizeof *p->leaves);
    for (uint32_t i = 0; i <= KSPLIT_PARTS; i++)
        division.units[i] = (uint32_t)((uint64_t)i * n_units / KSPLIT_PARTS);
    for (uint32_t g = 0; n_units > 0 && g < p->plan->n_groups; g++) {
        struct index_range ranks = p->plan->groups[g].ranks;
        division.ranks = p->options->ranks + ranks.begin;
        division.n = range_length(ranks);
        TRY(divide_leaves(&division, p->leaves + ranks.begin, &p->scratch, p->err));
    }
    return OK;
}

static enum status divide_mixers(struct planner *p) {
    const struct hparams *hp = p->options->hp;
    struct shard_plan *plan = p->plan;
    TRY(divide_parts(p, hp->n_attention_layers + hp->n_mtp_layers > 0 ? hp->n_heads : 0));
    for (uint32_t i = 0; i < plan->n_ranks; i++)
        plan->ranks[i].attention = p->leaves[i];
    TRY(divide_parts(p, hp->n_gdn_layers > 0 ? hp->n_k_heads : 0));
    for (uint32_t i = 0; i < plan->n_ranks; i++)
        plan->ranks[i].gdn = p->leaves[i];
    uint32_t d_ff = hp->n_experts > 0 ? hp->d_ff_shared : hp->d_ff;
    TRY(divide_parts(p, (uint32_t)div_up(d_ff, PLAN_FFN_RUN)));
    for (uint32_t i = 0; i < plan->n_ranks; i++)
        plan->ranks[i].ffn = p->leaves[i];
    return OK;
}

static enum status divide_experts(struct planner *p) {
    uint32_t n_experts = p->options->hp->n_experts;
    if (n_experts == 0)
        return OK;
    struct division division = {
        .n_leaves = PLAN_EXPERT_LEAVES, .ranks = p->options->ranks, .n = p->plan->n_ranks};
    for (uint32_t i = 0; i <= PLAN_EXPERT_LEAVES; i++)
        division.units[i] = shard_plan_bucket_begin(i, n_experts);
    TRY(divide_leaves(&division, p->leaves, &p->scratch, p->err));
    for (uint32_t i = 0; i < p->plan->n_ranks; i++) {
        struct rank_share *share = &p->plan->ranks[i];
        share->buckets = p->leaves[i];
        share->experts = (struct index_range){.begin = division.units[share->buckets.begin],
                                              .end = division.units[share->buckets.end]};
    }
    return OK;
}

/* Rows up to the share of the first ranks of a group, `part` of the whole, in whole panels. */
static uint32_t rows_up_to(uint32_t n_rows, double part) {
    uint64_t panels = (uint64_t)((double)panel_count(n_rows) * part + 0.5);
    return panels * PANEL_ROWS < n_rows ? (uint32_t)(panels * PANEL_ROWS) : n_rows;
}

static void divide_rows(struct planner *p) {
    const struct hparams *hp = p->options->hp;
    for (uint32_t g = 0; g < p->plan->n_groups; g++) {
        struct index_range ranks = p->plan->groups[g].ranks;
        const struct plan_rank *first = p->options->ranks + ranks.begin;
        double all = total_capacity(first, range_length(ranks));
        uint32_t vocab_begin = 0, router_begin = 0;
        for (uint32_t i = ranks.begin; i < ranks.end; i++) {
            bool is_last = i + 1 == ranks.end;
            double part = is_last ? 1 : total_capacity(first, i + 1 - ranks.begin) / all;
            struct rank_share *share = &p->plan->ranks[i];
            share->vocab.begin = vocab_begin;
            share->vocab.end = vocab_begin = rows_up_to(hp->n_vocab, part);
            share->router.begin = router_begin;
            share->router.end = router_begin = rows_up_to(hp->n_experts, part);
        }
    }
}

/* A product has KSPLIT_PARTS parts and a layer PLAN_EXPERT_LEAVES buckets: ranks beyond both are
 * sure to wait for others in every layer. */
static enum status check_use(const struct shard_plan *plan, const struct hparams *hp,
                             struct error *err) {
    uint32_t n_parts = plan->n_groups * KSPLIT_PARTS;
    uint32_t n_buckets = hp->n_experts < PLAN_EXPERT_LEAVES ? hp->n_experts : PLAN_EXPERT_LEAVES;
    uint32_t n_max = n_parts > n_buckets ? n_parts : n_buckets;
    if (plan->n_ranks <= n_max)
        return OK;
    return error_set(err, ERR_LIMIT,
                     "%u ranks: the experts of this model keep at most %u at work, its matrices "
                     "%u with %u attention group%s",
                     plan->n_ranks, n_buckets, n_parts, plan->n_groups,
                     plan->n_groups == 1 ? "" : "s");
}

enum status shard_plan_init(struct shard_plan *plan, const struct shard_plan_options *options,
                            struct arena *arena, struct error *err) {
    uint32_t n_nodes = 0;
    TRY(check_options(options, &n_nodes, err));
    *plan = (struct shard_plan){
        .n_ranks = options->n_ranks,
        .n_nodes = n_nodes,
        .n_groups = options->n_attention_groups ? options->n_attention_groups : n_nodes};
    TRY(check_use(plan, options->hp, err));
    plan->ranks = arena_array(arena, plan->n_ranks, sizeof *plan->ranks);
    plan->nodes = arena_array(arena, plan->n_nodes, sizeof *plan->nodes);
    plan->groups = arena_array(arena, plan->n_groups, sizeof *plan->groups);
    struct planner p = {.options = options, .plan = plan, .err = err};
    p.leaves = arena_array(&p.scratch, plan->n_ranks, sizeof *p.leaves);
    enum status status = OK;
    if (!plan->ranks || !plan->nodes || !plan->groups || !p.leaves) {
        status = error_set(err, ERR_NOMEM, "no memory to plan %u ranks", plan->n_ranks);
        goto done;
    }
    fill_nodes(plan, options->ranks);
    fill_groups(plan);
    divide_rows(&p);
    status = divide_mixers(&p);
    if (status == OK)
        status = divide_experts(&p);
done:
    arena_free(&p.scratch);
    return status;
}
