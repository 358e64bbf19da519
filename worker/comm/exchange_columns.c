/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of products cut by rows (router, head), within the attention group, and logits on their
 * way to the leader. */
#include "worker/comm/exchange_state.h"

#include "kernels/device/parallel.h"
#include "worker/comm/row_sum.h"

#include <assert.h>
#include <string.h>

/* ---- columns ---- */

static uint64_t width_of(struct index_range range) {
    return range.end - range.begin;
}

struct columns_job {
    const struct exchange *ex;
    const struct exchange_columns_args *a;
    uint32_t row_begin, n_rows; /* of this piece */
};

/* Rows are shared among the threads; each is put together from all ranks. */
static void columns_share(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct columns_job *job = arg;
    const struct exchange *ex = job->ex;
    const struct exchange_columns_args *a = job->a;
    uint64_t begin, end;
    thread_range(job->n_rows, thread_idx, n_threads, &begin, &end);
    for (uint32_t i = 0; i < ex->n_tp; i++) {
        uint64_t width = width_of(a->ranges[i]);
        const float *from = exchange_place(ex, ex->group_ranks.begin + i,
                                           ex->limits.places.columns[ex->columns_turn]);
        for (uint64_t row = begin; row < end && width > 0; row++)
            memcpy(a->out + (job->row_begin + row) * a->n_columns + a->ranges[i].begin,
                   from + row * width, width * sizeof *from);
    }
}

static enum status columns_piece(struct exchange *ex, struct columns_job *job, struct error *err) {
    const struct exchange_columns_args *a = job->a;
    uint64_t width = width_of(a->ranges[ex->own->tp_idx]);
    struct row_copy own = {.to =
                               exchange_own_place(ex, ex->limits.places.columns[ex->columns_turn]),
                           .from = a->own + job->row_begin * width,
                           .bytes = job->n_rows * width * sizeof(float)};
    row_copies_run(ex->options.pool, &own, 1);
    TRY(exchange_meet_group(ex, err));
    struct kernel_ctx ctx = {.pool = ex->options.pool};
    parallel_run(&ctx, columns_share, job, (uint64_t)job->n_rows * a->n_columns);
    ex->columns_turn ^= 1;
    return OK;
}

enum status exchange_columns(struct exchange *ex, const struct exchange_columns_args *a,
                             struct error *err) {
    uint64_t widest = 1;
    for (uint32_t i = 0; i < ex->n_tp; i++)
        widest = width_of(a->ranges[i]) > widest ? width_of(a->ranges[i]) : widest;
    assert(widest <= ex->limits.n_column_floats);
    uint64_t rows_at_once = ex->limits.n_column_floats / widest;
    uint64_t begin = exchange_enter(ex);
    enum status status = OK;
    for (uint32_t row = 0; row < a->n_rows && status == OK;) {
        uint64_t n = a->n_rows - row < rows_at_once ? a->n_rows - row : rows_at_once;
        struct columns_job job = {.ex = ex, .a = a, .row_begin = row, .n_rows = (uint32_t)n};
        status = columns_piece(ex, &job, err);
        row += (uint32_t)n;
    }
    return exchange_leave(ex, status, begin, &ex->counts.sum_ns);
}

/* ---- logits ---- */

static uint64_t logits_of(const struct exchange_logits_args *a, uint32_t group) {
    return (uint64_t)a->n_rows[group] * a->n_columns;
}

/* Where the rows of a group begin in the leader's `out`, in floats. */
static uint64_t logits_begin(const struct exchange_logits_args *a, uint32_t group) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < group; i++)
        n += logits_of(a, i);
    return n;
}

/* Floats of a group in the piece that begins at `begin`. */
static uint64_t logits_in_piece(const struct exchange_logits_args *a, uint32_t group,
                                uint64_t begin) {
    uint64_t n = logits_of(a, group);
    n = n > begin ? n - begin : 0;
    return n < EXCHANGE_LOGITS_PIECE ? n : EXCHANGE_LOGITS_PIECE;
}

/* The other groups of the leader's node leave their logits piece by piece. One meeting is before
 * each piece is taken, and pieces take turns in two areas. */
static enum status logits_in_node(struct exchange *ex, const struct exchange_logits_args *a,
                                  struct error *err) {
    const struct shard_plan *plan = ex->options.plan;
    struct index_range groups = {.begin = 1, .end = plan->nodes[0].groups.end};
    uint64_t n_most = 0;
    for (uint32_t g = groups.begin; g < groups.end; g++)
        n_most = logits_of(a, g) > n_most ? logits_of(a, g) : n_most;
    for (uint64_t begin = 0; begin < n_most; begin += EXCHANGE_LOGITS_PIECE) {
        uint64_t place = ex->limits.places.logits[ex->logits_turn];
        uint64_t n_own = logits_in_piece(a, ex->own->group, begin);
        if (ex->own->group > 0 && ex->own->tp_idx == 0 && n_own > 0)
            memcpy(exchange_own_place(ex, place), a->own + begin, n_own * sizeof(float));
        TRY(exchange_meet_node(ex, err));
        for (uint32_t g = groups.begin; ex->options.group->rank_idx == 0 && g < groups.end; g++) {
            uint64_t n = logits_in_piece(a, g, begin);
            if (n > 0)
                memcpy(a->out + logits_begin(a, g) + begin,
                       exchange_place(ex, plan->groups[g].ranks.begin, place), n * sizeof(float));
        }
        ex->logits_turn ^= 1;
    }
    return OK;
}

/* Groups of other nodes send theirs whole. */
static enum status logits_from_nodes(struct exchange *ex, const struct exchange_logits_args *a,
                                     struct error *err) {
    const struct shard_plan *plan = ex->options.plan;
    for (uint32_t g = plan->nodes[0].groups.end; g < plan->n_groups; g++) {
        if (logits_of(a, g) > 0)
            TRY(exchange_receive(ex, plan->groups[g].ranks.begin, EXCHANGE_TAG_LOGITS,
                                 a->out + logits_begin(a, g), logits_of(a, g) * sizeof(float),
                                 err));
    }
    return OK;
}

static enum status logits(struct exchange *ex, const struct exchange_logits_args *a,
                          struct error *err) {
    uint64_t n_own = logits_of(a, ex->own->group);
    if (ex->options.group->rank_idx == 0) {
        TRY(logits_from_nodes(ex, a, err));
        if (a->out != a->own && n_own > 0)
            memcpy(a->out, a->own, n_own * sizeof(float));
    } else if (ex->own->node > 0 && ex->own->tp_idx == 0 && n_own > 0) {
        TRY(exchange_send(ex, 0, EXCHANGE_TAG_LOGITS, a->own, n_own * sizeof(float), err));
    }
    if (ex->own->node == 0)
        TRY(logits_in_node(ex, a, err));
    return exchange_wait(ex, err);
}

enum status exchange_logits(struct exchange *ex, const struct exchange_logits_args *a,
                            struct error *err) {
    uint64_t begin = exchange_enter(ex);
    enum status status = logits(ex, a, err);
    return exchange_leave(ex, status, begin, &ex->counts.logits_ns);
}
