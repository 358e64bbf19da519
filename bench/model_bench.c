/* SPDX-License-Identifier: Apache-2.0 */
/* The depth is read once and kept: after each repetition the sequences are read anew only if the
 * repetition has made them longer, because a recurrent state cannot be cut back. */
#include "bench/model_bench.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

struct bench_seqs {
    struct engine *engine;
    const struct model_bench_options *options;
    uint32_t *seqs; /* [n_seqs] */
    uint32_t n_open;
    struct step_rows *rows;           /* [n_seqs] */
    int32_t *tokens;                  /* [n_seqs, n_each] one random text per sequence */
    uint32_t n_each;                  /* depth + prompt + generated */
    uint32_t *position;               /* [n_seqs] tokens of it that the engine has seen */
    struct engine_rank_report *begun; /* [n_ranks] at the begin of the repetition */
};

void model_bench_name(const struct model_bench_case *what, char *out, size_t room) {
    int n = 0;
    if (what->n_prompt)
        n += snprintf(out + n, room - (size_t)n, "pp%u", what->n_prompt);
    if (what->n_gen)
        n += snprintf(out + n, room - (size_t)n, "%stg%u", n ? "+" : "", what->n_gen);
    if (what->n_depth)
        snprintf(out + n, room - (size_t)n, " @ d%u", what->n_depth);
}

static void ignore_logits(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits) {
    (void)user, (void)rows_idx, (void)token_idx, (void)logits;
}

static enum status run_step(struct bench_seqs *b, uint32_t n_rows, struct error *err) {
    struct step step = {.rows = b->rows, .n_rows = n_rows, .sink = ignore_logits};
    return engine_step(b->engine, &step, err);
}

/* Brings every sequence to `target` tokens, prompt-wise: chunks of all sequences share a step;
 * logits of the last token only if `outputs`. */
static enum status read_to(struct bench_seqs *b, uint32_t target, int outputs, struct error *err) {
    const struct model_bench_case *what = &b->options->what;
    for (;;) {
        uint32_t budget = engine_n_step_tokens(b->engine), n_rows = 0;
        for (uint32_t i = 0; i < what->n_seqs && budget > 0; i++) {
            uint32_t n = target - b->position[i];
            if (n == 0)
                continue;
            if (what->chunk_tokens && n > what->chunk_tokens)
                n = what->chunk_tokens;
            if (n > budget)
                n = budget;
            b->rows[n_rows++] =
                (struct step_rows){.seq = b->seqs[i],
                                   .tokens = b->tokens + (size_t)i * b->n_each + b->position[i],
                                   .n_tokens = n,
                                   .n_outputs = outputs && b->position[i] + n == target};
            b->position[i] += n;
            budget -= n;
        }
        if (n_rows == 0)
            return OK;
        TRY(run_step(b, n_rows, err));
    }
}

/* `n` tokens for every sequence, one per step. */
static enum status generate(struct bench_seqs *b, uint32_t n, struct error *err) {
    uint32_t n_seqs = b->options->what.n_seqs;
    for (uint32_t t = 0; t < n; t++) {
        for (uint32_t i = 0; i < n_seqs; i++)
            b->rows[i] =
                (struct step_rows){.seq = b->seqs[i],
                                   .tokens = b->tokens + (size_t)i * b->n_each + b->position[i]++,
                                   .n_tokens = 1,
                                   .n_outputs = 1};
        TRY(run_step(b, n_seqs, err));
    }
    return OK;
}

static enum status prepare_depth(struct bench_seqs *b, struct error *err) {
    for (uint32_t i = 0; i < b->options->what.n_seqs; i++) {
        engine_seq_clear(b->engine, b->seqs[i]);
        b->position[i] = 0;
    }
    return read_to(b, b->options->what.n_depth, 0, err);
}

/* to += end - begin, for what grows. */
static void add_report(struct engine_rank_report *to, const struct engine_rank_report *begin,
                       const struct engine_rank_report *end) {
    to->run_ns += end->run_ns - begin->run_ns;
    to->traffic.weight_bytes += end->traffic.weight_bytes - begin->traffic.weight_bytes;
    to->traffic.state_bytes += end->traffic.state_bytes - begin->traffic.state_bytes;
    to->traffic.kv_bytes += end->traffic.kv_bytes - begin->traffic.kv_bytes;
    to->traffic.expert_rows += end->traffic.expert_rows - begin->traffic.expert_rows;
    struct exchange_counts *sum = &to->exchange;
    const struct exchange_counts *a = &begin->exchange, *b = &end->exchange;
    sum->node_rows += b->node_rows - a->node_rows;
    sum->node_bytes += b->node_bytes - a->node_bytes;
    sum->header_bytes += b->header_bytes - a->header_bytes;
    sum->row_bytes = b->row_bytes;
    sum->return_rows += b->return_rows - a->return_rows;
    sum->return_bytes += b->return_bytes - a->return_bytes;
    sum->sum_ns += b->sum_ns - a->sum_ns;
    sum->dispatch_ns += b->dispatch_ns - a->dispatch_ns;
    sum->combine_ns += b->combine_ns - a->combine_ns;
    sum->logits_ns += b->logits_ns - a->logits_ns;
    sum->wait_ns += b->wait_ns - a->wait_ns;
}

/* The engine is parked: what it reports is of now. */
static void begin_reports(struct bench_seqs *b) {
    uint32_t n_ranks;
    const struct engine_rank_report *now = engine_rank_reports(b->engine, &n_ranks);
    memcpy(b->begun, now, n_ranks * sizeof *now);
}

static void add_reports(struct bench_seqs *b, struct model_bench_result *result) {
    const struct engine_rank_report *now = engine_rank_reports(b->engine, &result->n_ranks);
    for (uint32_t i = 0; i < result->n_ranks; i++)
        add_report(&result->ranks[i], &b->begun[i], &now[i]);
}

static double total(struct traffic t) {
    return (double)t.weight_bytes + (double)t.state_bytes + (double)t.kv_bytes;
}

static void read_memory(const struct bench_seqs *b, struct model_bench_result *result) {
    if (b->options->reader)
        result->read_bytes_per_s[result->n_readings++] = read_bandwidth_pass(b->options->reader);
}

static enum status run_repetitions(struct bench_seqs *b, struct model_bench_result *result,
                                   struct error *err) {
    const struct model_bench_options *o = b->options;
    const struct model_bench_case *what = &o->what;
    uint32_t n_all = o->n_repetitions + (o->warmup != 0);
    result->n_tokens = (uint64_t)what->n_seqs * (what->n_prompt + what->n_gen);
    for (uint32_t r = 0; r < n_all; r++) {
        int counts = !o->warmup || r > 0;
        TRY(prepare_depth(b, err));
        TRY(engine_park(b->engine, err)); /* a group tells only then what its ranks have read */
        if (counts)
            read_memory(b, result);
        double bytes = total(engine_traffic(b->engine));
        begin_reports(b);
        uint64_t begin = clock_ns();
        TRY(read_to(b, what->n_depth + what->n_prompt, 1, err));
        TRY(generate(b, what->n_gen, err));
        double seconds = clock_seconds_since(begin);
        TRY(engine_park(b->engine, err));
        if (counts) {
            result->seconds[result->n_samples++] = seconds;
            add_reports(b, result);
        }
        bytes = total(engine_traffic(b->engine)) - bytes;
        result->bytes_per_token = bytes / (double)result->n_tokens;
        if (o->progress)
            o->progress(o->user, r + 1, n_all);
    }
    read_memory(b, result);
    return OK;
}

enum status model_bench_run(struct engine *engine, const struct model_bench_options *options,
                            struct model_bench_result *result, struct error *err) {
    const struct model_bench_case *what = &options->what;
    struct arena arena = {0};
    struct bench_seqs b = {.engine = engine, .options = options};
    enum status status = OK;
    *result = (struct model_bench_result){0};
    uint64_t n_each = (uint64_t)what->n_depth + what->n_prompt + what->n_gen;
    if (n_each > engine_ctx_size(engine))
        return error_set(err, ERR_LIMIT, "%llu tokens per sequence do not fit the context of %u",
                         (unsigned long long)n_each, engine_ctx_size(engine));
    if (what->n_seqs > engine_n_step_tokens(engine))
        return error_set(err, ERR_LIMIT, "%u sequences do not fit a step of %u tokens",
                         what->n_seqs, engine_n_step_tokens(engine));
    b.n_each = (uint32_t)n_each;
    b.seqs = arena_array(&arena, what->n_seqs, sizeof *b.seqs);
    b.rows = arena_array(&arena, what->n_seqs, sizeof *b.rows);
    b.position = arena_array(&arena, what->n_seqs, sizeof *b.position);
    b.tokens = arena_array(&arena, (size_t)what->n_seqs * n_each, sizeof *b.tokens);
    b.begun = arena_array(&arena, PLAN_RANKS_MAX, sizeof *b.begun);
    if (!b.seqs || !b.rows || !b.position || !b.tokens || !b.begun) {
        status = error_set(err, ERR_NOMEM, "no memory for %u sequences", what->n_seqs);
        goto done;
    }
    for (size_t i = 0; i < (size_t)what->n_seqs * n_each; i++)
        b.tokens[i] = (int32_t)(rng_u64(1, i) % options->random_ids_below);
    for (; b.n_open < what->n_seqs; b.n_open++) {
        status = engine_seq_open(engine, &b.seqs[b.n_open], err);
        if (status != OK)
            goto done;
    }
    status = run_repetitions(&b, result, err);
done:
    for (uint32_t i = 0; i < b.n_open; i++)
        engine_seq_close(engine, b.seqs[i]);
    arena_free(&arena);
    return status;
}
