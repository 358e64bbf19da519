/* SPDX-License-Identifier: Apache-2.0 */
/* Which strategy this group should use: decided by arithmetic where there is nothing to choose,
 * else measured. Experts choose rows at random and compute nothing, so that what remains is the
 * exchange itself: few rows, where latency counts, and a full step, where bytes do. */
#include "worker/comm/exchange_state.h"

#include "base/rng.h"

#include <stdio.h>

#define CHOOSE_ROUNDS   5 /* of each size and strategy, after one that is not counted */
#define CHOOSE_FEW_ROWS 4 /* of each attention group: sequences that decode */

enum choose_size { CHOOSE_FEW, CHOOSE_MANY, CHOOSE_SIZES };

struct trial {
    struct exchange *exchanges[EXCHANGE_N]; /* those that are measured */
    uint32_t n_rows[CHOOSE_SIZES];          /* of each attention group */
    struct activation x;
    uint32_t *ids;
    float *weights, *out;
    struct arena arena;
};

/* top_k rising ids, each set with the same chance. */
static void choose_ids(const struct exchange_options *o, uint64_t key, uint32_t *ids) {
    uint32_t n_wanted = o->top_k;
    for (uint32_t id = 0; n_wanted > 0; id++) {
        if (rng_u64(key, id) % (o->n_experts - id) < n_wanted)
            ids[o->top_k - n_wanted--] = id;
    }
}

static enum status make_rows(struct trial *t, const struct exchange_options *o, struct error *err) {
    uint32_t n = t->n_rows[CHOOSE_MANY];
    uint64_t n_blocks = o->d_model / ACT_BLOCK;
    t->x = (struct activation){.d = o->d_model};
    bool ok = (t->x.x = arena_array(&t->arena, n, o->d_model * sizeof(float))) &&
              (t->x.blocks = arena_array(&t->arena, n, n_blocks * sizeof(struct act_block))) &&
              (t->ids = arena_array(&t->arena, n, o->top_k * sizeof *t->ids)) &&
              (t->weights = arena_array(&t->arena, n, o->top_k * sizeof *t->weights)) &&
              (t->out = arena_array(&t->arena, n, o->d_model * sizeof *t->out));
    if (!ok)
        return error_set(err, ERR_NOMEM, "no memory to measure an exchange of %u rows", n);
    for (uint32_t row = 0; row < n; row++)
        choose_ids(o, (uint64_t)o->group->rank_idx << 32 | row, t->ids + (size_t)row * o->top_k);
    return OK;
}

/* Ranks of one attention group have the same rows. */
static enum status open_trial(struct trial *t, const struct exchange_options *o,
                              struct error *err) {
    uint32_t many = o->n_step_tokens / o->plan->n_groups;
    t->n_rows[CHOOSE_MANY] = many > 0 ? many : 1;
    t->n_rows[CHOOSE_FEW] = many < CHOOSE_FEW_ROWS ? t->n_rows[CHOOSE_MANY] : CHOOSE_FEW_ROWS;
    TRY(make_rows(t, o, err));
    for (uint32_t s = EXCHANGE_GATHER; s < EXCHANGE_N; s++) {
        struct exchange_options own = *o;
        own.strategy = (enum exchange_strategy)s;
        TRY(exchange_open(&t->exchanges[s], &own, err));
    }
    return OK;
}

static void close_trial(struct trial *t) {
    for (uint32_t s = 0; s < EXCHANGE_N; s++)
        exchange_close(t->exchanges[s]);
    arena_free(&t->arena);
}

static enum status run_round(struct trial *t, struct exchange *ex, uint32_t n_rows, uint64_t *ns,
                             struct error *err) {
    struct exchange_work work;
    TRY(group_barrier(ex->options.group, err));
    uint64_t begin = clock_ns();
    t->x.n_tokens = n_rows;
    const struct exchange_home home = {.x = &t->x, .ids = t->ids, .weights = t->weights};
    TRY(exchange_dispatch(ex, &home, &work, err));
    TRY(exchange_combine(ex, &(struct exchange_combine_args){.out = t->out, .n_rows = n_rows},
                         err));
    *ns = clock_ns() - begin;
    return OK;
}

/* The fastest round: the others were disturbed. Strategies take turns, so that what disturbs for
 * long meets all of them. */
static enum status measure(struct trial *t, double us[CHOOSE_SIZES][EXCHANGE_N],
                           struct error *err) {
    for (uint32_t size = 0; size < CHOOSE_SIZES; size++) {
        for (uint32_t round = 0; round <= CHOOSE_ROUNDS; round++) {
            for (uint32_t s = EXCHANGE_GATHER; s < EXCHANGE_N; s++) {
                uint64_t ns;
                TRY(run_round(t, t->exchanges[s], t->n_rows[size], &ns, err));
                if (round == 1 || (round > 1 && (double)ns * 1e-3 < us[size][s]))
                    us[size][s] = (double)ns * 1e-3;
            }
        }
    }
    return OK;
}

/* Both sizes count alike: the smaller product of times. */
static void judge(const struct trial *t, const double us[CHOOSE_SIZES][EXCHANGE_N],
                  struct exchange_choice *choice) {
    double gather = us[CHOOSE_FEW][EXCHANGE_GATHER] * us[CHOOSE_MANY][EXCHANGE_GATHER];
    double alltoall = us[CHOOSE_FEW][EXCHANGE_ALLTOALL] * us[CHOOSE_MANY][EXCHANGE_ALLTOALL];
    enum exchange_strategy best = gather < alltoall ? EXCHANGE_GATHER : EXCHANGE_ALLTOALL;
    enum exchange_strategy other = gather < alltoall ? EXCHANGE_ALLTOALL : EXCHANGE_GATHER;
    choice->strategy = best;
    snprintf(choice->reason, sizeof choice->reason,
             "%u rows per attention group take %.0f us (%s %.0f), %u rows %.0f us (%s %.0f)",
             t->n_rows[CHOOSE_FEW], us[CHOOSE_FEW][best], exchange_name(other),
             us[CHOOSE_FEW][other], t->n_rows[CHOOSE_MANY], us[CHOOSE_MANY][best],
             exchange_name(other), us[CHOOSE_MANY][other]);
}

static enum status choose_by_measure(const struct exchange_options *o,
                                     struct exchange_choice *choice, struct error *err) {
    struct trial trial = {.n_rows = {0}};
    double us[CHOOSE_SIZES][EXCHANGE_N] = {{0}};
    uint64_t bytes = sizeof *choice;
    struct exchange_options largest = *o;
    largest.strategy = EXCHANGE_ALLTOALL;
    TRY(group_resize_windows(o->group, exchange_window_bytes(&largest), err));
    enum status status = group_agree(o->group, open_trial(&trial, o, err), err);
    if (status == OK)
        status = measure(&trial, us, err);
    if (status == OK) {
        judge(&trial, us, choice);
        status = group_broadcast(o->group, choice, sizeof *choice, &bytes, err);
    }
    close_trial(&trial);
    if (status == OK && (bytes != sizeof *choice || (uint32_t)choice->strategy >= EXCHANGE_N))
        status = error_set(err, ERR_COMM, "the leader chose no exchange");
    return status;
}

enum status exchange_choose(const struct exchange_options *options, struct exchange_choice *choice,
                            struct error *err) {
    *choice = (struct exchange_choice){.strategy = EXCHANGE_GATHER};
    if (options->plan->n_groups == 1) {
        choice->strategy = EXCHANGE_REPLICATED;
        snprintf(choice->reason, sizeof choice->reason,
                 "all ranks have all tokens: there is one attention group");
    } else if (options->n_experts == 0) {
        snprintf(choice->reason, sizeof choice->reason, "a dense model has no experts");
    } else if (options->plan->n_nodes == 1) {
        snprintf(choice->reason, sizeof choice->reason,
                 "all tokens lie in shared memory: there is one node");
    } else {
        return choose_by_measure(options, choice, err);
    }
    return OK;
}
