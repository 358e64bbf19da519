/* SPDX-License-Identifier: Apache-2.0 */
/* Opening is a list of parts, each with its memory from the plan; a step is: check everything,
 * take pages, run the trunk, hand out logits. After the checks a step cannot fail but by NaN. */
#include "worker/engine.h"

#include "base/arena.h"
#include "base/size.h"
#include "worker/cache/mapping.h"
#include "worker/forward/forward.h"
#include "worker/memory_probe.h"
#include "worker/weights/weights_load.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

_Static_assert(ENGINE_PAGE_TOKENS == KV_PAGE_TOKENS, "pages as the attention kernels read them");

struct sequence {
    bool open;
    uint32_t n_tokens;
    uint32_t *pages; /* [ctx_size / KV_PAGE_TOKENS] */
    uint32_t n_pages;
    uint32_t step_mark; /* the last step it stood in: finds duplicates */
};

/* A row of logits: token `token_idx` of `rows[rows_idx]` of the step. */
struct output {
    uint32_t rows_idx, token_idx;
};

struct engine {
    struct engine_options options; /* with the defaults filled in */
    struct arena arena;
    struct memory_plan memory;
    struct thread_pool *pool;
    struct kernel_ctx ctx;
    struct kernels kernels;
    struct kv_cache kv;
    struct state_cache states;
    void *activations;
    size_t activations_bytes;
    struct forward forward;
    struct weights_load weights; /* empty if the kernels read the file */
    struct sequence *seqs;       /* [n_seqs] */
    uint32_t n_open;             /* of them */
    struct forward_seq *in_step; /* [n_seqs] rows of the last step */
    uint32_t n_in_step, n_step_rows;
    uint32_t *output_rows;  /* [n_logit_rows] of the step, to be turned into logits */
    struct output *outputs; /* [n_logit_rows] whose they are */
    uint32_t step_counter;
};

static enum status check_options(struct engine_options *o, struct error *err) {
    if (o->n_threads == 0)
        o->n_threads = cpu_count();
    if (o->n_seqs == 0)
        o->n_seqs = 1;
    if (o->n_step_tokens == 0)
        o->n_step_tokens = ENGINE_STEP_TOKENS_DEFAULT;
    if (o->n_logit_rows == 0)
        o->n_logit_rows = ENGINE_LOGIT_ROWS_DEFAULT;
    if (o->n_seqs > ENGINE_SEQS_MAX)
        return error_set(err, ERR_LIMIT, "%u sequences at once; at most %u are possible", o->n_seqs,
                         ENGINE_SEQS_MAX);
    if (o->n_step_tokens > ENGINE_STEP_TOKENS_MAX)
        return error_set(err, ERR_LIMIT, "%u tokens per step; at most %u are possible",
                         o->n_step_tokens, ENGINE_STEP_TOKENS_MAX);
    if (o->ctx_size > o->hp->n_ctx_train)
        return error_set(err, ERR_LIMIT, "context of %u tokens: this model allows at most %u",
                         o->ctx_size, o->hp->n_ctx_train);
    return OK;
}

/* What is known before any memory is taken: options, kernels, the network. */
static enum status prepare(struct engine *e, struct error *err) {
    struct engine_options *o = &e->options;
    TRY(check_options(o, err));
    TRY(kernels_init(&e->kernels, o->kernels, err));
    if (o->kv_dtype_auto)
        o->kv_dtype = e->kernels.exact ? DTYPE_F32 : DTYPE_F16;
    struct forward_options forward = {.hp = o->hp,
                                      .weights = o->weights,
                                      .kernels = &e->kernels,
                                      .ctx = &e->ctx,
                                      .kv = &e->kv,
                                      .states = &e->states,
                                      .n_seqs_max = o->n_seqs};
    activation_plan_compute(&forward.plan, o->hp, o->n_step_tokens, o->n_logit_rows,
                            o->weights->mtp != NULL);
    return forward_bind(&e->forward, &forward, &e->arena, err);
}

/* Fast kernels read panels of our own; what else is bound stays in the mapped file, and with the
 * reference that is all. */
static uint64_t weights_bytes(struct engine *e) {
    uint64_t bytes = e->options.weights->bytes;
    if (e->kernels.exact)
        return bytes;
    struct weights_load_size size = weights_load_size(&e->forward);
    return bytes - size.file_bytes + size.memory_bytes;
}

static void compute_plan(struct engine *e, uint32_t ctx_size) {
    const struct engine_options *o = &e->options;
    memory_plan_compute(&e->memory,
                        &(struct memory_plan_input){.hp = o->hp,
                                                    .weights_bytes = weights_bytes(e),
                                                    .tables_bytes = o->tables_bytes,
                                                    .ctx_size = ctx_size,
                                                    .n_seqs = o->n_seqs,
                                                    .n_kv_pages = o->n_kv_pages,
                                                    .n_step_tokens = o->n_step_tokens,
                                                    .n_logit_rows = o->n_logit_rows,
                                                    .n_threads = o->n_threads,
                                                    .kv_dtype = o->kv_dtype,
                                                    .with_mtp = o->weights->mtp != NULL});
}

enum status engine_plan(const struct engine_options *options, struct memory_plan *plan,
                        struct error *err) {
    struct engine e = {.options = *options};
    enum status status = prepare(&e, err);
    if (status == OK) {
        compute_plan(&e, options->ctx_size ? options->ctx_size : options->hp->n_ctx_train);
        *plan = e.memory;
    }
    arena_free(&e.arena);
    return status;
}

/* An asked-for context must fit the machine; the default one shrinks until it does. */
static enum status fit_context(struct engine *e, struct error *err) {
    uint64_t available = memory_available_bytes();
    uint32_t ctx = e->options.ctx_size ? e->options.ctx_size : e->options.hp->n_ctx_train;
    compute_plan(e, ctx);
    while (!e->options.ctx_size && e->memory.total_bytes > available && ctx > 2 * KV_PAGE_TOKENS) {
        ctx = (uint32_t)align_up(ctx / 2, KV_PAGE_TOKENS);
        compute_plan(e, ctx);
    }
    if (e->memory.total_bytes > available)
        return error_set(
            err, ERR_LIMIT,
            "%.2f GiB are needed (weights %.2f, kv cache %.2f, states %.2f, buffers "
            "%.2f) for %u sequences of %u tokens, %.2f GiB are free; try a smaller "
            "--ctx-size, --parallel or model file",
            (double)e->memory.total_bytes / 0x1p30, (double)e->memory.weights_bytes / 0x1p30,
            (double)e->memory.kv_bytes / 0x1p30, (double)e->memory.state_bytes / 0x1p30,
            (double)e->memory.buffers_bytes / 0x1p30, e->options.n_seqs, ctx,
            (double)available / 0x1p30);
    e->options.ctx_size = ctx;
    return OK;
}

static enum status open_caches(struct engine *e, struct error *err) {
    const struct hparams *hp = e->options.hp;
    struct kv_cache_options kv = {.n_pages = e->memory.n_kv_pages,
                                  .n_layers = hp->n_attention_layers +
                                              (e->options.weights->mtp ? hp->n_mtp_layers : 0),
                                  .n_kv_heads = hp->n_kv_heads,
                                  .d_head = hp->d_head,
                                  .dtype = e->options.kv_dtype};
    TRY(kv_cache_init(&e->kv, &kv, &e->arena, err));
    assert(e->kv.page_bytes == e->memory.kv_page_bytes);
    struct state_cache_options states = {.n_slots = e->options.n_seqs,
                                         .n_layers = hp->n_gdn_layers,
                                         .conv_dim = hp->conv_dim,
                                         .state_floats =
                                             (uint64_t)hp->n_v_heads * hp->d_k * hp->d_v};
    TRY(state_cache_init(&e->states, &states, err));
    assert(e->states.slot_bytes == e->memory.seq_state_bytes);
    return OK;
}

static enum status open_sequences(struct engine *e, struct error *err) {
    uint32_t n = e->options.n_seqs;
    size_t pages_each = div_up(e->options.ctx_size, KV_PAGE_TOKENS);
    e->seqs = arena_array(&e->arena, n, sizeof *e->seqs);
    e->in_step = arena_array(&e->arena, n, sizeof *e->in_step);
    e->output_rows = arena_array(&e->arena, e->options.n_logit_rows, sizeof *e->output_rows);
    e->outputs = arena_array(&e->arena, e->options.n_logit_rows, sizeof *e->outputs);
    uint32_t *pages = arena_array(&e->arena, n * pages_each, sizeof *pages);
    if (!e->seqs || !e->in_step || !e->output_rows || !e->outputs || !pages)
        return error_set(err, ERR_NOMEM, "no memory for %u sequences", n);
    for (uint32_t i = 0; i < n; i++)
        e->seqs[i].pages = pages + i * pages_each;
    return OK;
}

static enum status load_weights(struct engine *e, struct error *err) {
    struct weights_load_options options = {.pool = e->pool,
                                           .gguf = e->options.weights->gguf,
                                           .progress = e->options.progress,
                                           .user = e->options.progress_user};
    if (e->kernels.exact)
        return OK;
    return weights_load(&e->weights, &e->forward, &options, err);
}

static enum status open_parts(struct engine *e, struct error *err) {
    struct engine_options *o = &e->options;
    TRY(prepare(e, err));
    TRY(fit_context(e, err));
    struct thread_pool_options threads = {.n_threads = o->n_threads, .pin = 0};
    TRY(thread_pool_open(&e->pool, &threads, err));
    void *scratch = arena_alloc(&e->arena, (size_t)o->n_threads * KERNEL_SCRATCH_BYTES);
    if (!scratch)
        return error_set(err, ERR_NOMEM, "no memory for the scratch of %u threads", o->n_threads);
    e->ctx = (struct kernel_ctx){.pool = e->pool, .scratch = scratch};
    TRY(open_caches(e, err));
    TRY(open_sequences(e, err));
    e->activations_bytes = e->memory.activations_bytes;
    TRY(mapping_take_huge(&e->activations, e->activations_bytes, "activations", err));
    e->forward.memory = e->activations;
    return load_weights(e, err);
}

enum status engine_open(struct engine **out, const struct engine_options *options,
                        struct error *err) {
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(err, ERR_NOMEM, "no memory for the engine");
    e->options = *options;
    enum status status = open_parts(e, err);
    if (status != OK) {
        engine_close(e);
        return status;
    }
    *out = e;
    return OK;
}

void engine_close(struct engine *e) {
    if (!e)
        return;
    thread_pool_close(e->pool);
    kv_cache_free(&e->kv);
    state_cache_free(&e->states);
    mapping_give_back(e->activations, e->activations_bytes);
    weights_load_free(&e->weights);
    arena_free(&e->arena);
    free(e);
}

const char *engine_kernels(const struct engine *e) {
    return e->kernels.name;
}

uint32_t engine_n_threads(const struct engine *e) {
    return e->options.n_threads;
}

uint32_t engine_ctx_size(const struct engine *e) {
    return e->options.ctx_size;
}

uint32_t engine_n_step_tokens(const struct engine *e) {
    return e->options.n_step_tokens;
}

enum dtype engine_kv_dtype(const struct engine *e) {
    return e->options.kv_dtype;
}

struct traffic engine_traffic(const struct engine *e) {
    return e->forward.traffic;
}

struct thread_pool *engine_pool(struct engine *e) {
    return e->pool;
}

uint32_t engine_n_groups(const struct engine *e) {
    (void)e;
    return 1;
}

struct engine_room engine_room(const struct engine *e, uint32_t group) {
    assert(group < engine_n_groups(e));
    return (struct engine_room){.n_seqs = e->options.n_seqs,
                                .n_seqs_free = e->options.n_seqs - e->n_open,
                                .n_pages = e->memory.n_kv_pages,
                                .n_pages_free = e->kv.n_free};
}

enum status engine_seq_open_in(struct engine *e, uint32_t group, uint32_t *seq, struct error *err) {
    assert(group < engine_n_groups(e));
    for (uint32_t i = 0; i < e->options.n_seqs; i++) {
        if (!e->seqs[i].open) {
            e->seqs[i].open = true;
            e->n_open++;
            state_cache_clear(&e->states, i);
            *seq = i;
            return OK;
        }
    }
    return error_set(err, ERR_LIMIT, "all %u sequences are in use", e->options.n_seqs);
}

enum status engine_seq_open(struct engine *e, uint32_t *seq, struct error *err) {
    return engine_seq_open_in(e, 0, seq, err);
}

/* The sequence's tokens are gone; its state still holds them. */
static void drop_tokens(struct engine *e, uint32_t seq) {
    struct sequence *s = &e->seqs[seq];
    assert(seq < e->options.n_seqs && s->open);
    while (s->n_pages > 0)
        kv_cache_release(&e->kv, s->pages[--s->n_pages]);
    s->n_tokens = 0;
}

void engine_seq_clear(struct engine *e, uint32_t seq) {
    bool used = engine_seq_length(e, seq) > 0;
    drop_tokens(e, seq);
    if (used)
        state_cache_clear(&e->states, seq);
}

void engine_seq_close(struct engine *e, uint32_t seq) {
    drop_tokens(e, seq);
    e->seqs[seq].open = false;
    e->n_open--;
}

uint32_t engine_seq_length(const struct engine *e, uint32_t seq) {
    assert(seq < e->options.n_seqs && e->seqs[seq].open);
    return e->seqs[seq].n_tokens;
}

/* Everything that can be wrong with a step, before anything is touched. */
static enum status check_step(struct engine *e, const struct step *step, struct error *err) {
    uint64_t n_tokens = 0, n_pages = 0;
    e->step_counter++;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        assert(rows->seq < e->options.n_seqs && e->seqs[rows->seq].open && rows->n_tokens > 0 &&
               rows->n_outputs <= rows->n_tokens);
        struct sequence *s = &e->seqs[rows->seq];
        assert(s->step_mark != e->step_counter);
        s->step_mark = e->step_counter;
        n_tokens += rows->n_tokens;
        if ((uint64_t)s->n_tokens + rows->n_tokens > e->options.ctx_size)
            return error_set(err, ERR_LIMIT,
                             "the context is full: %u tokens are there, %u more do not fit %u",
                             s->n_tokens, rows->n_tokens, e->options.ctx_size);
        n_pages += div_up(s->n_tokens + rows->n_tokens, KV_PAGE_TOKENS) - s->n_pages;
        for (uint32_t t = 0; t < rows->n_tokens; t++) {
            if (rows->tokens[t] < 0 || (uint32_t)rows->tokens[t] >= e->options.hp->n_vocab)
                return error_set(err, ERR_INPUT,
                                 "token %" PRId32 " is outside the vocabulary of %u",
                                 rows->tokens[t], e->options.hp->n_vocab);
        }
    }
    if (n_tokens == 0 || n_tokens > e->options.n_step_tokens)
        return error_set(err, ERR_LIMIT, "%" PRIu64 " tokens in a step; 1 to %u are possible",
                         n_tokens, e->options.n_step_tokens);
    if (e->memory.n_kv_pages > 0 && n_pages > e->kv.n_free)
        return error_set(err, ERR_LIMIT,
                         "the step needs %" PRIu64 " more pages of %u tokens, %u of %u are free",
                         n_pages, KV_PAGE_TOKENS, e->kv.n_free, e->memory.n_kv_pages);
    return OK;
}

/* Token ids in row order, into the place the plan gives them. */
static int32_t *gather_ids(struct engine *e, const struct step *step) {
    int32_t *ids = (int32_t *)(void *)(e->forward.memory + e->forward.plan.ids);
    uint32_t row = 0;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        for (uint32_t t = 0; t < step->rows[i].n_tokens; t++)
            ids[row++] = step->rows[i].tokens[t];
    }
    return ids;
}

/* Pages for the new tokens: check_step has found them free. */
static void place_rows(struct engine *e, const struct step *step) {
    uint32_t row = 0;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        struct sequence *s = &e->seqs[rows->seq];
        e->in_step[i] = (struct forward_seq){.slot = rows->seq,
                                             .pages = s->pages,
                                             .row_begin = row,
                                             .n_rows = rows->n_tokens,
                                             .pos_begin = s->n_tokens};
        s->n_tokens += rows->n_tokens;
        while (s->n_pages * KV_PAGE_TOKENS < s->n_tokens && e->memory.n_kv_pages > 0)
            s->pages[s->n_pages++] = kv_cache_acquire(&e->kv);
        row += rows->n_tokens;
    }
    e->n_in_step = step->n_rows;
    e->n_step_rows = row;
}

static bool all_finite(const float *x, size_t n) {
    /* An exponent of all ones is NaN or infinity; one pass, no branches. */
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= !isfinite(x[i]);
    return bad == 0;
}

/* The states that logits are made of, and at least the last of each sequence, are numbers. */
static enum status check_states(const struct engine *e, const struct step *step,
                                const float *states, struct error *err) {
    uint32_t d = e->options.hp->d_model;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        uint32_t n = rows->n_outputs > 0 ? rows->n_outputs : 1;
        uint32_t first = e->in_step[i].row_begin + rows->n_tokens - n;
        if (!all_finite(states + (size_t)first * d, (size_t)n * d))
            return error_set(err, ERR_DEVICE,
                             "sequence %u, positions up to %u: the network gave NaN or infinity",
                             rows->seq, e->in_step[i].pos_begin + rows->n_tokens - 1);
    }
    return OK;
}

/* The head over the first n rows of `outputs`, and their logits to the sink. */
static void hand_out_rows(struct engine *e, const struct step *step, const float *states,
                          uint32_t n) {
    uint32_t n_vocab = e->options.hp->n_vocab;
    float *logits = forward_head(&e->forward, states, e->output_rows, n);
    for (uint32_t r = 0; r < n; r++) {
        float *row = logits + (size_t)r * n_vocab;
        for (uint32_t id = 0; e->options.unused_ids && id < n_vocab; id++) {
            if (e->options.unused_ids[id])
                row[id] = -INFINITY;
        }
        step->sink(step->user, e->outputs[r].rows_idx, e->outputs[r].token_idx, row);
    }
}

/* Logits of the wanted rows to the sink, a few at a time and those of several sequences together:
 * the head is the largest matrix of a step and is read once for all of them. */
static enum status hand_out(struct engine *e, const struct step *step, const float *states,
                            struct error *err) {
    uint32_t n = 0;
    TRY(check_states(e, step, states, err));
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct step_rows *rows = &step->rows[i];
        for (uint32_t t = rows->n_tokens - rows->n_outputs; t < rows->n_tokens; t++) {
            e->output_rows[n] = e->in_step[i].row_begin + t;
            e->outputs[n++] = (struct output){.rows_idx = i, .token_idx = t};
            if (n == e->options.n_logit_rows) {
                hand_out_rows(e, step, states, n);
                n = 0;
            }
        }
    }
    if (n > 0)
        hand_out_rows(e, step, states, n);
    return OK;
}

enum status engine_step(struct engine *e, const struct step *step, struct error *err) {
    TRY(check_step(e, step, err));
    const int32_t *ids = gather_ids(e, step);
    place_rows(e, step);
    e->forward.observer = step->observer;
    forward_run(&e->forward, e->in_step, e->n_in_step, ids);
    return hand_out(e, step, forward_final(&e->forward), err);
}

enum status engine_mtp_step(struct engine *e, const struct step *step, struct error *err) {
    if (!e->forward.mtp)
        return error_set(err, ERR_UNSUPPORTED, "the multi-token block is not loaded");
    assert(step->n_rows == e->n_in_step);
    const int32_t *ids = gather_ids(e, step);
    for (uint32_t row = 0; row < e->n_step_rows; row++) {
        if (ids[row] < 0 || (uint32_t)ids[row] >= e->options.hp->n_vocab)
            return error_set(err, ERR_INPUT, "token %" PRId32 " is outside the vocabulary of %u",
                             ids[row], e->options.hp->n_vocab);
    }
    e->forward.observer = step->observer;
    forward_run_mtp(&e->forward, ids);
    return hand_out(e, step, forward_mtp_out(&e->forward), err);
}
