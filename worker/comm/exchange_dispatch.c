/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens travel to their experts.
 *
 *     home rows -> carried rows in the window -> other nodes' gateways -> rows of own experts
 *
 * Each rank of an attention group carries an even part of the group's rows, so that the copying
 * and the messages are shared. The rank of another node that receives them has the same place
 * there: as many gateways as ranks are at work. */
#include "worker/comm/exchange_experts.h"

#include "kernels/device/parallel.h"

#include <assert.h>
#include <string.h>

/* ---- carrying ---- */

struct carry_job {
    const struct exchange *ex;
    const struct exchange_home *home;
    struct index_range rows; /* of home */
    unsigned char *message;
};

static void carry_share(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct carry_job *job = arg;
    const struct exchange *ex = job->ex;
    const struct exchange_row *layout = &ex->limits.row;
    uint64_t d = ex->options.d_model, top_k = ex->options.top_k, begin, end;
    thread_range(job->rows.end - job->rows.begin, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        uint64_t from = job->rows.begin + i;
        unsigned char *row = job->message + sizeof(struct exchange_header) + i * layout->bytes;
        memcpy(row, job->home->x->blocks + from * (d / ACT_BLOCK),
               d / ACT_BLOCK * sizeof(struct act_block));
        if (ex->options.whole_rows)
            memcpy(row + layout->x, job->home->x->x + from * d, d * sizeof(float));
        memcpy(row + layout->ids, job->home->ids + from * top_k, top_k * sizeof(uint32_t));
        memcpy(row + layout->weights, job->home->weights + from * top_k, top_k * sizeof(float));
    }
}

static void write_header(const struct exchange *ex, unsigned char *message, uint32_t n_rows) {
    *(struct exchange_header *)(void *)message = (struct exchange_header){
        .n_dispatches = ex->n_dispatches, .n_rows = n_rows, .row_bytes = ex->limits.row.bytes};
}

static void carry(struct exchange *ex, const struct exchange_home *home) {
    struct carry_job job = {.ex = ex,
                            .home = home,
                            .rows = exchange_carried(ex, ex->own->tp_idx),
                            .message = exchange_own_place(ex, ex->limits.places.rows)};
    uint32_t n_rows = job.rows.end - job.rows.begin;
    struct kernel_ctx ctx = {.pool = ex->options.pool};
    write_header(ex, job.message, n_rows);
    parallel_run(&ctx, carry_share, &job, (uint64_t)n_rows * ex->limits.row.bytes / sizeof(float));
}

/* ---- between nodes ---- */

/* The carried rows that have an expert on the node, behind each other. */
static unsigned char *pack(struct exchange *ex, const unsigned char *carried, uint32_t node) {
    unsigned char *message = ex->packed + node * ex->limits.message_bytes;
    unsigned char *to = message + sizeof(struct exchange_header);
    struct index_range rows = exchange_carried(ex, ex->own->tp_idx);
    uint32_t n_rows = 0;
    for (uint32_t i = 0; i < rows.end - rows.begin; i++) {
        const unsigned char *row = exchange_row(ex, carried, i);
        if (exchange_count_roots(ex, exchange_row_ids(ex, row), ex->node_buckets[node]) == 0)
            continue;
        memcpy(to, row, ex->limits.row.bytes);
        to += ex->limits.row.bytes;
        n_rows++;
    }
    write_header(ex, message, n_rows);
    return message;
}

static enum status send_rows(struct exchange *ex, struct error *err) {
    const struct shard_plan *plan = ex->options.plan;
    unsigned char *carried = exchange_own_place(ex, ex->limits.places.rows);
    for (uint32_t node = 0; node < plan->n_nodes; node++) {
        if (node == ex->own->node)
            continue;
        const unsigned char *message =
            ex->options.strategy == EXCHANGE_ALLTOALL ? pack(ex, carried, node) : carried;
        uint32_t n_rows = ((const struct exchange_header *)(const void *)message)->n_rows;
        uint64_t rows_bytes = (uint64_t)n_rows * ex->limits.row.bytes;
        uint64_t bytes = sizeof(struct exchange_header) + rows_bytes;
        TRY(exchange_send(ex, exchange_gateway(plan, ex->options.group->rank_idx, node),
                          EXCHANGE_TAG_ROWS, message, bytes, err));
        ex->counts.node_rows += n_rows;
        ex->counts.node_bytes += bytes;
        ex->counts.header_bytes += sizeof(struct exchange_header);
    }
    return OK;
}

/* Ids from outside become indices of tables: they must be experts, and rise. */
static bool has_good_ids(const struct exchange *ex, const unsigned char *message, uint32_t n_rows) {
    for (uint32_t i = 0; i < n_rows; i++) {
        const uint32_t *ids = exchange_row_ids(ex, exchange_row(ex, message, i));
        for (uint32_t s = 0; s < ex->options.top_k; s++) {
            if (ids[s] >= ex->options.n_experts || (s > 0 && ids[s] <= ids[s - 1]))
                return false;
        }
    }
    return true;
}

static enum status check_message(const struct exchange *ex, const unsigned char *message,
                                 uint64_t bytes, uint32_t from, struct error *err) {
    struct exchange_header header = {0};
    if (bytes >= sizeof header)
        memcpy(&header, message, sizeof header);
    if (bytes < sizeof header || header.row_bytes != ex->limits.row.bytes ||
        bytes != sizeof header + (uint64_t)header.n_rows * header.row_bytes)
        return error_set(
            err, ERR_COMM, "rank %u sent %llu bytes for %u rows of %u bytes; a row has %u here",
            from, (unsigned long long)bytes, header.n_rows, header.row_bytes, ex->limits.row.bytes);
    if (header.n_dispatches != ex->n_dispatches)
        return error_set(err, ERR_COMM, "rank %u is at exchange %llu, this rank at %llu", from,
                         (unsigned long long)header.n_dispatches,
                         (unsigned long long)ex->n_dispatches);
    if (!has_good_ids(ex, message, header.n_rows))
        return error_set(err, ERR_COMM, "rank %u sent a row whose experts are not rising ids of %u",
                         from, ex->options.n_experts);
    return OK;
}

static enum status cross_nodes(struct exchange *ex, struct error *err) {
    unsigned char *received = exchange_own_place(ex, ex->limits.places.received);
    for (uint32_t i = 0; i < ex->n_senders; i++)
        TRY(exchange_receive(ex, ex->senders[i], EXCHANGE_TAG_ROWS,
                             received + i * ex->limits.message_bytes, ex->limits.message_bytes,
                             err));
    TRY(send_rows(ex, err));
    TRY(exchange_wait(ex, err));
    for (uint32_t i = 0; i < ex->n_senders; i++)
        TRY(check_message(ex, received + i * ex->limits.message_bytes, ex->got[i], ex->senders[i],
                          err));
    return OK;
}

/* ---- rows of own experts ---- */

/* Counts the rows of the node. Everybody sees the same headers, and the same error. */
static enum status find_sources(struct exchange *ex, struct error *err) {
    uint32_t n_rows = 0;
    for (uint32_t i = 0; i < ex->n_sources; i++) {
        struct exchange_source *source = &ex->sources[i];
        source->row_begin = n_rows;
        source->n_rows = ((const struct exchange_header *)(const void *)source->message)->n_rows;
        if (source->n_rows > ex->options.n_step_tokens - n_rows)
            return error_set(err, ERR_COMM, "more than %u rows in an exchange",
                             ex->options.n_step_tokens);
        n_rows += source->n_rows;
    }
    return OK;
}

/* Which rows this rank works on, and where in its results those of each begin. */
static uint32_t find_work(struct exchange *ex) {
    uint32_t *result_begin =
        exchange_own_place(ex, ex->limits.places.result_begin[ex->results_turn]);
    uint32_t n_work = 0, n_results = 0;
    for (uint32_t i = 0; i < ex->n_sources; i++) {
        const struct exchange_source *source = &ex->sources[i];
        for (uint32_t j = 0; j < source->n_rows; j++) {
            const unsigned char *row = exchange_row(ex, source->message, j);
            uint32_t n = exchange_count_roots(ex, exchange_row_ids(ex, row), ex->own->buckets);
            result_begin[source->row_begin + j] = n_results;
            n_results += n;
            if (n > 0)
                ex->work_rows[n_work++] = row;
        }
    }
    return n_work;
}

struct fetch_job {
    const struct exchange *ex;
    uint32_t n_rows;
};

static void fetch_share(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct fetch_job *job = arg;
    const struct exchange *ex = job->ex;
    const struct exchange_row *layout = &ex->limits.row;
    uint64_t d = ex->options.d_model, top_k = ex->options.top_k, begin, end;
    thread_range(job->n_rows, thread_idx, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        const unsigned char *row = ex->work_rows[i];
        memcpy(ex->work_blocks + i * (d / ACT_BLOCK), row,
               d / ACT_BLOCK * sizeof(struct act_block));
        if (ex->options.whole_rows)
            memcpy(ex->work_x + i * d, row + layout->x, d * sizeof(float));
        memcpy(ex->work_ids + i * top_k, row + layout->ids, top_k * sizeof(uint32_t));
        memcpy(ex->work_weights + i * top_k, row + layout->weights, top_k * sizeof(float));
    }
}

static enum status travel(struct exchange *ex, const struct exchange_home *home,
                          struct exchange_work *work, struct error *err) {
    ex->n_dispatches++;
    carry(ex, home);
    if (ex->options.plan->n_nodes > 1)
        TRY(cross_nodes(ex, err));
    TRY(exchange_meet_node(ex, err));
    TRY(find_sources(ex, err));
    struct fetch_job job = {.ex = ex, .n_rows = find_work(ex)};
    struct kernel_ctx ctx = {.pool = ex->options.pool};
    parallel_run(&ctx, fetch_share, &job,
                 (uint64_t)job.n_rows * ex->limits.row.bytes / sizeof(float));
    *work = (struct exchange_work){.x = {.x = ex->work_x,
                                         .blocks = ex->work_blocks,
                                         .n_tokens = job.n_rows,
                                         .d = ex->options.d_model},
                                   .ids = ex->work_ids,
                                   .weights = ex->work_weights};
    return OK;
}

/* All rows are here; what is left to say is where the results of each will be. */
static void stay(struct exchange *ex, const struct exchange_home *home,
                 struct exchange_work *work) {
    uint32_t *result_begin =
        exchange_own_place(ex, ex->limits.places.result_begin[ex->results_turn]);
    uint32_t n_results = 0;
    for (uint32_t row = 0; row < ex->n_home_rows; row++) {
        result_begin[row] = n_results;
        n_results += exchange_count_roots(ex, home->ids + (uint64_t)row * ex->options.top_k,
                                          ex->own->buckets);
    }
    *work = (struct exchange_work){.x = *home->x, .ids = home->ids, .weights = home->weights};
}

enum status exchange_dispatch(struct exchange *ex, const struct exchange_home *home,
                              struct exchange_work *work, struct error *err) {
    assert(ex->options.n_experts > 0 && home->x->n_tokens <= ex->options.n_step_tokens);
    uint64_t begin = exchange_enter(ex);
    enum status status = OK;
    ex->home_ids = home->ids;
    ex->n_home_rows = home->x->n_tokens;
    if (exchange_is_replicated(ex))
        stay(ex, home, work);
    else
        status = travel(ex, home, work, err);
    return exchange_leave(ex, status, begin, &ex->counts.dispatch_ns);
}
