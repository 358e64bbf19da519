/* SPDX-License-Identifier: Apache-2.0 */
/* Results of experts travel back and are added.
 *
 *     roots of a rank's buckets -> roots of a node's buckets -> sums of the home rows
 *
 * Each arrow is a fold of the same tree (tensor/tree.h), so that it does not matter which of them
 * somebody makes. Within a node nothing travels: whoever adds reads where the experts wrote. */
#include "worker/comm/exchange_experts.h"

#include "worker/comm/row_sum.h"

#include <assert.h>

/* ---- adding ---- */

/* Terms of one row's sum, with their leaves for the fold. */
struct terms {
    struct row_sum *sum;
    struct tree_term leaves[ROW_SUM_TERMS_MAX];
};

/* Roots that lie behind each other from `first` on. */
static void add_terms(struct terms *terms, const struct tree_term *roots, uint32_t n,
                      const float *first, uint64_t d) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t term = terms->sum->n_terms++;
        terms->sum->terms[term] = first + i * d;
        terms->leaves[term] = (struct tree_term){.leaf = roots[i].leaf, .term = term};
    }
}

static void fold_terms(struct terms *terms, struct leaf_range own) {
    struct row_sum *sum = terms->sum;
    sum->n_roots = tree_fold(EXPERT_BUCKETS, own, terms->leaves, sum->n_terms, sum->adds);
    sum->n_adds = sum->n_terms - sum->n_roots;
    for (uint32_t i = 0; i < sum->n_roots; i++)
        sum->roots[i] = terms->leaves[i].term;
}

/* What a rank of this node made of a row of the node. */
static const float *results_of(const struct exchange *ex, uint32_t rank, uint32_t node_row) {
    const struct exchange_places *places = &ex->limits.places;
    const uint32_t *begin = exchange_place(ex, rank, places->result_begin[ex->results_turn]);
    const float *results = exchange_place(ex, rank, places->results[ex->results_turn]);
    return results + (uint64_t)begin[node_row] * ex->options.d_model;
}

/* The choices of a row that ranks of this node hold, from *choice on: their roots are terms. */
static void add_rank(const struct exchange *ex, const uint32_t *ids, uint32_t node_row,
                     uint32_t *choice, struct terms *terms) {
    struct tree_term roots[EXPERT_TOP_K_MAX];
    uint32_t rank = ex->owner_of[ex->bucket_of[ids[*choice]]];
    uint32_t n = exchange_row_roots(ex, ids, ex->options.plan->ranks[rank].buckets, choice, roots);
    add_terms(terms, roots, n, results_of(ex, rank, node_row), ex->options.d_model);
}

/* ---- from a node to another ---- */

struct gateway_job {
    const struct exchange *ex;
    const struct exchange_source *source;
    const uint32_t *begin; /* [n_rows] first root of each row in `out` */
    float *out;
};

static float *list_gateway_row(const void *user, uint32_t row, struct row_sum *sum) {
    const struct gateway_job *job = user;
    const struct exchange *ex = job->ex;
    const uint32_t *ids = exchange_row_ids(ex, exchange_row(ex, job->source->message, row));
    struct leaf_range here = ex->node_buckets[ex->own->node];
    struct terms terms = {.sum = sum};
    sum->n_terms = 0;
    uint32_t choice = 0;
    while (choice < ex->options.top_k && ex->bucket_of[ids[choice]] < here.begin)
        choice++;
    while (choice < ex->options.top_k && ex->bucket_of[ids[choice]] < here.end)
        add_rank(ex, ids, job->source->row_begin + row, &choice, &terms);
    fold_terms(&terms, here);
    return job->out + (uint64_t)job->begin[row] * ex->options.d_model;
}

/* The node's roots of the rows that one sender sent here, on their way back to it. */
static enum status return_roots(struct exchange *ex, uint32_t sender_idx, struct error *err) {
    const struct exchange_source *source = &ex->sources[ex->own_source_begin + sender_idx];
    uint32_t *begin = ex->sent_begin;
    uint32_t n_roots = 0;
    for (uint32_t row = 0; row < source->n_rows; row++) {
        begin[row] = n_roots;
        n_roots +=
            exchange_count_roots(ex, exchange_row_ids(ex, exchange_row(ex, source->message, row)),
                                 ex->node_buckets[ex->own->node]);
    }
    if (n_roots == 0)
        return OK;
    struct gateway_job job = {
        .ex = ex,
        .source = source,
        .begin = begin,
        .out = (float *)(void *)(ex->sent_roots + sender_idx * ex->limits.returned_bytes)};
    row_sums_run(ex->options.pool, &(struct row_sums){.list = list_gateway_row,
                                                      .user = &job,
                                                      .row_begin = 0,
                                                      .row_end = source->n_rows,
                                                      .d = ex->options.d_model,
                                                      .n_terms = ex->options.top_k});
    uint64_t bytes = (uint64_t)n_roots * ex->options.d_model * sizeof(float);
    ex->counts.return_rows += source->n_rows;
    ex->counts.return_bytes += bytes;
    return exchange_send(ex, ex->senders[sender_idx], EXCHANGE_TAG_ROOTS, job.out, bytes, err);
}

/* Roots that will come from a node for the rows carried here, and where those of each row lie. */
static enum status expect_roots(struct exchange *ex, uint32_t node, struct error *err) {
    const struct exchange_places *places = &ex->limits.places;
    struct index_range carried = exchange_carried(ex, ex->own->tp_idx);
    uint32_t *begin = (uint32_t *)exchange_own_place(ex, places->returned_begin) +
                      (uint64_t)node * ex->limits.n_carried;
    unsigned char *returned = exchange_own_place(ex, places->returned);
    uint32_t n_roots = 0;
    for (uint32_t row = carried.begin; row < carried.end; row++) {
        begin[row - carried.begin] = n_roots;
        n_roots += exchange_count_roots(ex, ex->home_ids + (uint64_t)row * ex->options.top_k,
                                        ex->node_buckets[node]);
    }
    if (n_roots == 0)
        return OK;
    return exchange_receive(ex,
                            exchange_gateway(ex->options.plan, ex->options.group->rank_idx, node),
                            EXCHANGE_TAG_ROOTS, returned + node * ex->limits.returned_bytes,
                            (uint64_t)n_roots * ex->options.d_model * sizeof(float), err);
}

static enum status cross_back(struct exchange *ex, struct error *err) {
    for (uint32_t node = 0; node < ex->options.plan->n_nodes; node++) {
        if (node != ex->own->node)
            TRY(expect_roots(ex, node, err));
    }
    for (uint32_t i = 0; i < ex->n_senders; i++)
        TRY(return_roots(ex, i, err));
    TRY(exchange_wait(ex, err));
    return exchange_meet_node(ex, err);
}

/* ---- home rows ---- */

struct home_job {
    const struct exchange *ex;
    float *out;
};

/* Who carries a home row: the inverse of exchange_carried. */
static uint32_t carrier_of(const struct exchange *ex, uint32_t row) {
    return (uint32_t)((((uint64_t)row + 1) * ex->n_tp - 1) / ex->n_home_rows);
}

/* A home row's number among the rows of the node. */
static uint32_t node_row_of(const struct exchange *ex, uint32_t row) {
    if (exchange_is_replicated(ex))
        return row;
    uint32_t carrier = carrier_of(ex, row);
    uint32_t rank = ex->group_ranks.begin + carrier;
    return ex->sources[rank - ex->node_ranks.begin].row_begin + row -
           exchange_carried(ex, carrier).begin;
}

/* What came back from a node for a home row. */
static const float *returned_for(const struct exchange *ex, uint32_t node, uint32_t row) {
    const struct exchange_places *places = &ex->limits.places;
    uint32_t carrier = carrier_of(ex, row);
    uint32_t rank = ex->group_ranks.begin + carrier;
    const uint32_t *begin = (const uint32_t *)exchange_place(ex, rank, places->returned_begin) +
                            (uint64_t)node * ex->limits.n_carried;
    const float *returned =
        exchange_place(ex, rank, places->returned + node * ex->limits.returned_bytes);
    return returned +
           (uint64_t)begin[row - exchange_carried(ex, carrier).begin] * ex->options.d_model;
}

static float *list_home_row(const void *user, uint32_t row, struct row_sum *sum) {
    const struct home_job *job = user;
    const struct exchange *ex = job->ex;
    const uint32_t *ids = ex->home_ids + (uint64_t)row * ex->options.top_k;
    uint32_t node_row = node_row_of(ex, row);
    struct terms terms = {.sum = sum};
    sum->n_terms = 0;
    for (uint32_t choice = 0; choice < ex->options.top_k;) {
        uint32_t node = ex->options.plan->ranks[ex->owner_of[ex->bucket_of[ids[choice]]]].node;
        if (node == ex->own->node) {
            add_rank(ex, ids, node_row, &choice, &terms);
            continue;
        }
        struct tree_term roots[EXPERT_TOP_K_MAX];
        uint32_t n = exchange_row_roots(ex, ids, ex->node_buckets[node], &choice, roots);
        add_terms(&terms, roots, n, returned_for(ex, node, row), ex->options.d_model);
    }
    fold_terms(&terms, (struct leaf_range){0, EXPERT_BUCKETS});
    assert(sum->n_roots == 1);
    return job->out + (uint64_t)row * ex->options.d_model;
}

static void add_home(struct exchange *ex, float *out) {
    struct home_job job = {.ex = ex, .out = out};
    struct index_range slice = exchange_slice(ex, ex->n_home_rows);
    row_sums_run(ex->options.pool, &(struct row_sums){.list = list_home_row,
                                                      .user = &job,
                                                      .row_begin = slice.begin,
                                                      .row_end = slice.end,
                                                      .d = ex->options.d_model,
                                                      .n_terms = ex->options.top_k});
}

float *exchange_expert_roots(struct exchange *ex) {
    return exchange_own_place(ex, ex->limits.places.results[ex->results_turn]);
}

static enum status combine(struct exchange *ex, const struct exchange_combine_args *a,
                           struct error *err) {
    TRY(exchange_meet_node(ex, err));
    if (!exchange_is_replicated(ex) && ex->options.plan->n_nodes > 1)
        TRY(cross_back(ex, err));
    add_home(ex, a->out);
    if (a->shared)
        exchange_add_roots(ex, a->shared, a->n_rows, a->shared_out);
    if (exchange_is_replicated(ex))
        ex->results_turn ^= 1;
    return OK;
}

enum status exchange_combine(struct exchange *ex, const struct exchange_combine_args *a,
                             struct error *err) {
    assert(a->n_rows == ex->n_home_rows);
    uint64_t begin = exchange_enter(ex);
    enum status status = combine(ex, a, err);
    return exchange_leave(ex, status, begin, &ex->counts.combine_ns);
}
