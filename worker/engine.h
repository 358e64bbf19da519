/* SPDX-License-Identifier: Apache-2.0 */
/* One rank at work: the weights, the memory of the live sequences, and the step; alone, or together
 * with the other ranks of a group.
 *
 *     engine_open -> engine_seq_open -> engine_step ... engine_step -> engine_seq_close
 *
 * A step runs the network once over some tokens of some sequences (prefill chunks and single
 * tokens alike) and hands out the logits that were asked for. All memory is taken in open, by the
 * memory plan, and the weights are loaded into it; a step allocates nothing. The logits of a
 * sequence do not depend on what else is in the step, on how its tokens were cut into steps, or on
 * the number of threads.
 *
 * In a group every rank opens its engine with the same options, and opening and closing are
 * collective. The leader (rank 0) uses it as if it were alone; the others follow:
 *
 *     leader   engine_step ... engine_step -> engine_park      -> engine_step ...
 *     others   engine_follow ............... -> (returns, waits outside) -> engine_follow ...
 *
 * The logits do not depend on the number of ranks either. ERR_COMM and ERR_CANCELLED say that a
 * rank was lost or the group aborted: then nothing is left to do but close.
 *
 * Owned by one thread, the engine thread, which is also thread 0 of the pool. */
#ifndef SHOAL_WORKER_ENGINE_H
#define SHOAL_WORKER_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "model/hparams.h"
#include "model/weights.h"
#include "plan/memory_plan.h"
#include "plan/shard_plan.h"
#include "tensor/dtype.h"
#include "worker/comm/exchange.h"
#include "worker/comm/group.h"
#include "worker/forward/observe.h"
#include "worker/weights/weights_load.h"

#define ENGINE_SEQS_MAX        4096
#define ENGINE_STEP_TOKENS_MAX 16384

/* What 0 means in the options. 512 tokens are enough for each expert of the family to see several
 * of them; 8 rows of logits keep even a vocabulary of 248,320 below 8 MB. */
#define ENGINE_STEP_TOKENS_DEFAULT 512
#define ENGINE_LOGIT_ROWS_DEFAULT  8

#define ENGINE_PAGE_TOKENS 32 /* a sequence takes a page for every so many tokens */

struct engine; /* opaque: owns threads and memory */

/* The leader is about to broadcast: parked ranks must come back. */
typedef enum status engine_resume(void *user, struct error *err);

struct engine_options {
    const struct hparams *hp;      /* borrowed, outlives the engine */
    const struct weights *weights; /* borrowed, outlives the engine */
    const uint8_t *unused_ids;     /* [hp->n_vocab], their logits are -infinity; NULL: none */
    const char *kernels;           /* "auto", "ref", "avx2", "avx512" */
    uint32_t n_threads;            /* 0: one per core */
    uint32_t ctx_size;             /* tokens per sequence; 0: the model's */
    uint32_t n_seqs;               /* sequences at once, divided among the attention groups (each
                                      gets at least one); 0: 1 */
    uint32_t n_kv_pages;           /* of ENGINE_PAGE_TOKENS tokens each, shared by the sequences,
                                      divided likewise; 0, or more than that: full contexts */
    uint32_t n_step_tokens;        /* tokens per step at most; 0: the default */
    uint32_t n_logit_rows;         /* rows of logits held at once; 0: the default */
    bool kv_dtype_auto;            /* F32 for the reference kernels, F16 otherwise */
    enum dtype kv_dtype;           /* F32, F16 or BF16, unless auto */
    uint64_t tables_bytes;         /* tokenizer and the like, for the plan */
    load_progress *progress;       /* of loading the weights; NULL: nobody is told */
    void *progress_user;
    /* In a group; all borrowed, outlive the engine. */
    struct group *group;             /* NULL: alone, and the rest is not read */
    const struct shard_plan *shard;  /* of all its ranks */
    enum exchange_strategy strategy; /* the same on all ranks */
    engine_resume *resume; /* leader: makes parked ranks call engine_follow; may be NULL */
    void *resume_user;
};

/* The memory that an engine with these options would take, without opening one: with the context
 * that was asked for, or else the model's, whatever this machine has. Errors as of open. */
enum status engine_plan(const struct engine_options *options, struct memory_plan *plan,
                        struct error *err);

/* ERR_LIMIT: the plan does not fit the machine (text says what is needed and what is there), or
 * an option is out of range; ERR_UNSUPPORTED: no such kernels here, or a shape that they do not
 * take; ERR_NOMEM; ERR_IO: the weights cannot be read; ERR_CANCELLED: progress said so. */
enum status engine_open(struct engine **out, const struct engine_options *options,
                        struct error *err);
void engine_close(struct engine *engine); /* NULL is fine */

const char *engine_kernels(const struct engine *engine); /* "avx512" */
uint32_t engine_n_threads(const struct engine *engine);
uint32_t engine_ctx_size(const struct engine *engine);
uint32_t engine_n_step_tokens(const struct engine *engine);
enum dtype engine_kv_dtype(const struct engine *engine);

/* What the steps have read since open; in a group that of all ranks, at the last engine_park. */
struct traffic engine_traffic(struct engine *engine);

/* Where the ranks' time has gone since open. */
struct engine_rank_report {
    struct traffic traffic;
    struct exchange_counts exchange;
    uint64_t run_ns; /* in steps, the exchange and its waits included */
};

/* Of all ranks, at the last engine_park; alone of this one, now. [*n_ranks], a view that dies with
 * the next step. */
const struct engine_rank_report *engine_rank_reports(struct engine *engine, uint32_t *n_ranks);

/* The threads of the engine, for measurements between steps. */
struct thread_pool *engine_pool(struct engine *engine);

/* What an attention group has for sequences and what of it is free. n_pages is 0 if the model
 * has no attention: then no sequence needs any. */
struct engine_room {
    uint32_t n_seqs, n_seqs_free;
    uint32_t n_pages, n_pages_free;
};
uint32_t engine_n_groups(const struct engine *engine);
struct engine_room engine_room(const struct engine *engine, uint32_t group);

/* A new, empty sequence in an attention group. ERR_LIMIT: its n_seqs are open already. */
enum status engine_seq_open_in(struct engine *engine, uint32_t group, uint32_t *seq,
                               struct error *err);
/* The same in the group with most room. */
enum status engine_seq_open(struct engine *engine, uint32_t *seq, struct error *err);
void engine_seq_close(struct engine *engine, uint32_t seq);
/* Forgets all tokens; the sequence stays open. */
void engine_seq_clear(struct engine *engine, uint32_t seq);
/* Tokens this sequence holds. */
uint32_t engine_seq_length(const struct engine *engine, uint32_t seq);

/* Consecutive new tokens of one sequence; a sequence stands at most once in a step. */
struct step_rows {
    uint32_t seq;
    const int32_t *tokens;
    uint32_t n_tokens;  /* at least 1 */
    uint32_t n_outputs; /* logits are wanted for the last n_outputs of them */
};

/* One row of logits: of token `token_idx` of `rows[rows_idx]`. A view for the call only. */
typedef void logits_sink(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits);

struct step {
    const struct step_rows *rows;
    uint32_t n_rows;
    logits_sink *sink; /* may be NULL if no outputs are wanted */
    void *user;
    const struct observer *observer; /* NULL: none */
};

/* ERR_LIMIT: more tokens than n_step_tokens, a sequence would pass ctx_size, or there are not pages
 *   enough (nothing was run);
 * ERR_INPUT: a token outside the vocabulary (nothing was run);
 * ERR_DEVICE: the network gave NaN or infinity (the sequences of the step are spoiled);
 * ERR_COMM, ERR_CANCELLED: the ranks of the group are no longer in step, no further call can work.
 */
enum status engine_step(struct engine *engine, const struct step *step, struct error *err);

/* Runs the MTP block over the rows of the last step, with `rows[i].tokens` now the tokens that
 * follow each of them (x_{t+1}); logits predict x_{t+2}. Must be called for every step of a
 * sequence or for none. ERR_UNSUPPORTED: the block is not loaded. */
enum status engine_mtp_step(struct engine *engine, const struct step *step, struct error *err);

/* Leader of a group: no step follows soon, the other ranks return from engine_follow. The next step
 * calls them back (options.resume). Alone, or parked already: nothing. */
enum status engine_park(struct engine *engine, struct error *err);

/* The other ranks: runs the leader's steps until it parks. */
enum status engine_follow(struct engine *engine, struct error *err);

#endif
