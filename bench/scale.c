/* SPDX-License-Identifier: Apache-2.0 */
/* Shares are of the time of all ranks together, P times the seconds of the clock: what one rank
 * computes while the others wait for it counts once as computing and P - 1 times as waiting. */
#include "bench/scale.h"

#include "bench/median.h"

#include <math.h>

const char *scale_part_name(enum scale_part part) {
    static const char *const names[SCALE_PARTS_N] = {"compute", "sum",  "dispatch", "combine",
                                                     "logits",  "wait", "host"};
    return names[part];
}

/* ---- one run ---- */

static double above_zero(double x) {
    return x > 0 ? x : 0;
}

/* Clocks of two processes may end a step a little apart: what is negative by that is nothing. */
static void evaluate_shares(struct scale_run *run, const struct scale_observed *o) {
    double ns[SCALE_PARTS_N] = {0}, all = 0;
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        const struct exchange_counts *e = &o->ranks[i].exchange;
        double run_ns = (double)o->ranks[i].run_ns;
        double exchange_ns = (double)e->sum_ns + (double)e->dispatch_ns + (double)e->combine_ns +
                             (double)e->logits_ns + (double)e->wait_ns;
        ns[SCALE_COMPUTE] += above_zero(run_ns - exchange_ns);
        ns[SCALE_SUM] += (double)e->sum_ns;
        ns[SCALE_DISPATCH] += (double)e->dispatch_ns;
        ns[SCALE_COMBINE] += (double)e->combine_ns;
        ns[SCALE_LOGITS] += (double)e->logits_ns;
        ns[SCALE_WAIT] += (double)e->wait_ns;
        ns[SCALE_HOST] += above_zero(o->seconds * 1e9 - run_ns);
    }
    for (int part = 0; part < SCALE_PARTS_N; part++)
        all += ns[part];
    for (int part = 0; part < SCALE_PARTS_N; part++)
        run->shares[part] = all > 0 ? ns[part] / all : NAN;
}

static double bytes_of(const struct traffic *t) {
    return (double)t->weight_bytes + (double)t->state_bytes + (double)t->kv_bytes;
}

void scale_run_evaluate(struct scale_run *run, const struct scale_observed *o) {
    double n_tokens = (double)o->n_tokens, n_ranks = run->n_ranks;
    double bytes = 0, bytes_max = 0, sent = 0, rows = 0, rows_max = 0;
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        const struct engine_rank_report *rank = &o->ranks[i];
        double own = bytes_of(&rank->traffic), own_rows = (double)rank->traffic.expert_rows;
        bytes += own;
        bytes_max = fmax(bytes_max, own);
        rows += own_rows;
        rows_max = fmax(rows_max, own_rows);
        sent += (double)rank->exchange.node_bytes + (double)rank->exchange.return_bytes;
    }
    evaluate_shares(run, o);
    run->tokens_per_s = n_tokens / o->seconds;
    run->expert_load = rows > 0 ? rows_max * n_ranks / rows : NAN;
    run->bytes_per_token = bytes / n_tokens;
    run->sent_bytes_per_token = sent / n_tokens;
    run->read_bytes_per_s = o->read_bytes_per_s;
    run->predicted_tokens_per_s = NAN;
    if (run->test.n_prompt == 0) {
        double read_s = bytes_max * n_ranks / o->read_bytes_per_s;
        double host_s = run->shares[SCALE_HOST] * o->seconds;
        run->predicted_tokens_per_s = n_tokens / (read_s + host_s);
    }
}

uint32_t scale_group_sizes(uint32_t n_ranks, uint32_t sizes[SCALE_SIZES_MAX]) {
    uint32_t n = 0;
    for (uint32_t size = 1; size < n_ranks; size *= 2)
        sizes[n++] = size;
    sizes[n++] = n_ranks;
    return n;
}

/* ---- all rounds ---- */

static bool is_of(const struct scale_series *series, const struct scale_run *run) {
    const struct model_bench_case *a = &series->test, *b = &run->test;
    uint32_t n_seqs = series->is_weak ? a->n_seqs * run->n_ranks : a->n_seqs;
    return a->n_prompt == b->n_prompt && a->n_gen == b->n_gen && a->n_depth == b->n_depth &&
           b->n_seqs == n_seqs;
}

static const struct scale_run *find_run(const struct scale_series *series, uint32_t n_ranks,
                                        uint32_t round, const struct scale_run *runs,
                                        uint32_t n_runs) {
    for (uint32_t i = 0; i < n_runs; i++) {
        if (runs[i].n_ranks == n_ranks && runs[i].round == round && is_of(series, &runs[i]))
            return &runs[i];
    }
    return NULL;
}

/* What is collected of the rounds of one point. */
struct rounds {
    double speedups[SCALE_ROUNDS_MAX], samples[SCALE_ROUNDS_MAX], loads[SCALE_ROUNDS_MAX];
    double bytes[SCALE_ROUNDS_MAX], sent[SCALE_ROUNDS_MAX], readings[SCALE_ROUNDS_MAX];
    double predicted[SCALE_ROUNDS_MAX];
};

static void add_round(struct scale_point *p, struct rounds *r, const struct scale_run *run,
                      const struct scale_run *alone) {
    uint32_t n = p->n_rounds++;
    p->n_seqs = run->test.n_seqs;
    p->samples[n] = r->samples[n] = run->tokens_per_s;
    r->speedups[n] = run->tokens_per_s / alone->tokens_per_s;
    r->loads[n] = run->expert_load;
    r->bytes[n] = run->bytes_per_token;
    r->sent[n] = run->sent_bytes_per_token;
    r->readings[n] = run->read_bytes_per_s;
    r->predicted[n] = run->predicted_tokens_per_s;
    for (int part = 0; part < SCALE_PARTS_N; part++)
        p->shares[part] += run->shares[part];
}

static void finish_point(struct scale_point *p, struct rounds *r) {
    uint32_t n = p->n_rounds;
    p->tokens_per_s = median(r->samples, n);
    p->speedup = median(r->speedups, n);
    p->efficiency = p->speedup / p->n_ranks;
    p->expert_load = median(r->loads, n);
    p->bytes_per_token = median(r->bytes, n);
    p->sent_bytes_per_token = median(r->sent, n);
    p->read_bytes_per_s = median(r->readings, n);
    p->predicted_tokens_per_s = median(r->predicted, n);
    p->prediction_error = p->predicted_tokens_per_s / p->tokens_per_s - 1;
    for (int part = 0; part < SCALE_PARTS_N; part++)
        p->shares[part] /= n;
}

/* The next larger size of group among the runs; 0: there is none. */
static uint32_t next_size(uint32_t above, const struct scale_run *runs, uint32_t n_runs) {
    uint32_t next = 0;
    for (uint32_t i = 0; i < n_runs; i++) {
        uint32_t n = runs[i].n_ranks;
        if (n > above && (next == 0 || n < next))
            next = n;
    }
    return next;
}

void scale_series_make(struct scale_series *series, const struct scale_run *runs, uint32_t n_runs) {
    struct rounds rounds;
    uint32_t n_rounds = 0;
    for (uint32_t i = 0; i < n_runs; i++)
        n_rounds = runs[i].round >= n_rounds ? runs[i].round + 1 : n_rounds;
    series->n_points = 0;
    for (uint32_t size = next_size(0, runs, n_runs); size && series->n_points < SCALE_SIZES_MAX;
         size = next_size(size, runs, n_runs)) {
        struct scale_point *p = &series->points[series->n_points];
        *p = (struct scale_point){.n_ranks = size};
        for (uint32_t round = 0; round < n_rounds && p->n_rounds < SCALE_ROUNDS_MAX; round++) {
            const struct scale_run *alone = find_run(series, 1, round, runs, n_runs);
            const struct scale_run *run = find_run(series, size, round, runs, n_runs);
            if (alone && run)
                add_round(p, &rounds, run, alone);
        }
        if (p->n_rounds == 0)
            continue;
        finish_point(p, &rounds);
        series->n_points++;
    }
}
