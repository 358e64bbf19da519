/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of an engine without text: reading prompts, generating tokens, both.
 *
 *     pp512            one prompt of 512 random tokens (per sequence)
 *     tg128 @ d8192    128 tokens generated after 8192 that are already cached
 *     pp512+tg128      both, timed together
 *
 * Random token ids from a fixed seed; tokenizing and sampling are not timed (the next token of a
 * generation is random too, but the logits are computed). Engine thread only. */
#ifndef SHOAL_BENCH_MODEL_BENCH_H
#define SHOAL_BENCH_MODEL_BENCH_H

#include <stdint.h>

#include "base/error.h"
#include "bench/read_bandwidth.h"
#include "worker/engine.h"

#define MODEL_BENCH_REPETITIONS_MAX 1000u

struct model_bench_case {
    uint32_t n_prompt, n_gen; /* one of them may be 0 */
    uint32_t n_depth;         /* tokens cached before the clock starts */
    uint32_t n_seqs;          /* sequences at once, each with its own tokens */
    uint32_t chunk_tokens;    /* of one prompt per step; 0: as many as fit */
};

/* "pp512", "tg128 @ d8192": without the sequences. */
void model_bench_name(const struct model_bench_case *what, char *out, size_t room);

struct model_bench_result {
    uint32_t n_samples;
    double seconds[MODEL_BENCH_REPETITIONS_MAX]; /* of each repetition */
    uint64_t n_tokens;      /* of one repetition, all sequences: prompt + generated */
    double bytes_per_token; /* read per token of one repetition: weights really touched, states
                               twice, keys and values */
    uint32_t n_readings;    /* n_samples + 1, or 0 without a reader */
    double read_bytes_per_s[MODEL_BENCH_REPETITIONS_MAX + 1]; /* before each repetition, and after
                                                                 the last */
    uint32_t n_ranks;                                         /* 1: alone */
    struct engine_rank_report ranks[PLAN_RANKS_MAX];          /* of all repetitions together */
};

/* ERR_LIMIT: the case does not fit the engine's context or sequences; others as engine_step. A
 * warm-up run of everything but the depth comes first unless `warmup` is 0. `random_ids_below`: the
 * tokens are drawn from 0..below-1. */
struct model_bench_options {
    struct model_bench_case what;
    uint32_t n_repetitions;
    int warmup;
    uint32_t random_ids_below;
    struct read_bandwidth *reader; /* on the engine's threads; NULL: measures no bandwidth */
    void (*progress)(void *user, uint32_t n_done, uint32_t n_all); /* NULL: none */
    void *user;
};
enum status model_bench_run(struct engine *engine, const struct model_bench_options *options,
                            struct model_bench_result *result, struct error *err);

#endif
