/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products cut along K, and completing rows that were finished in slices. */
#include "worker/comm/exchange_state.h"

#include "base/size.h"
#include "worker/comm/row_sum.h"

#include <assert.h>

/* A second meeting must save a rank this many bytes of reading. Ranks as threads on two cores of a
 * Xeon, rows of 8 KB, fastest of 40: 4 ranks, 2 rows (saves 16 KB) 15 us with the second meeting,
 * 17 without, 4 rows (64 KB) 19 and 24, 512 rows 1.4 and 3.0 ms; 8 ranks, 8 rows 64 and 152 us.
 * Ranks with cores of their own gain less, for they read at the same time: a meeting takes them
 * about 2 us, in which a core reads some 20 KB from a cache that is not its own. */
#define EXCHANGE_SLICE_BYTES (32u * 1024u)

/* ---- layout ---- */

void exchange_sum_layout_init(struct exchange_sum_layout *layout, const struct ksplit *split,
                              const struct leaf_range *parts, uint32_t n_ranks, uint32_t tp_idx) {
    assert(split->n_parts == KSPLIT_PARTS && tp_idx < n_ranks);
    *layout = (struct exchange_sum_layout){0};
    struct tree_term all[KSPLIT_PARTS];
    for (uint32_t i = 0; i < n_ranks; i++) {
        struct tree_term roots[KSPLIT_PARTS];
        struct tree_add adds[KSPLIT_PARTS];
        uint32_t n = 0;
        for (uint32_t p = parts[i].begin; p < parts[i].end; p++) {
            if (!ksplit_part_empty(split, p))
                roots[n++] = (struct tree_term){.leaf = p, .term = p};
        }
        n = tree_fold(KSPLIT_PARTS, parts[i], roots, n, adds);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t term = layout->n_terms++;
            layout->terms[term].tp_idx = i;
            layout->terms[term].root_idx = k;
            all[term] = (struct tree_term){.leaf = roots[k].leaf, .term = term};
            if (i == tp_idx)
                layout->own[k] = (struct leaf_range){
                    .begin = roots[k].leaf, .end = k + 1 < n ? roots[k + 1].leaf : parts[i].end};
        }
        if (i == tp_idx)
            layout->n_own_roots = n;
    }
    uint32_t n = tree_fold(KSPLIT_PARTS, (struct leaf_range){0, KSPLIT_PARTS}, all, layout->n_terms,
                           layout->adds);
    assert(n == 1 && all[0].term == 0);
    layout->n_adds = layout->n_terms - n;
}

/* ---- sum ---- */

float *exchange_roots(struct exchange *ex) {
    return exchange_own_place(ex, ex->limits.places.roots[ex->roots_turn]);
}

static struct index_range slice_of(const struct exchange *ex, uint32_t n_rows, uint32_t tp_idx) {
    uint64_t begin, end;
    thread_range(n_rows, tp_idx, ex->n_tp, &begin, &end);
    return (struct index_range){.begin = (uint32_t)begin, .end = (uint32_t)end};
}

/* Without slices a rank reads n roots of every row; with them n of each row of the longest slice,
 * and then every row once. Two ranks never gain. */
static bool is_sliced(const struct exchange *ex, uint32_t n_rows) {
    uint64_t row_bytes = (uint64_t)ex->options.d_model * sizeof(float), n = ex->n_tp;
    uint64_t whole = n * n_rows, sliced = n * div_up(n_rows, n) + n_rows;
    return whole > sliced && (whole - sliced) * row_bytes >= EXCHANGE_SLICE_BYTES;
}

struct index_range exchange_slice(const struct exchange *ex, uint32_t n_rows) {
    if (!is_sliced(ex, n_rows))
        return (struct index_range){.begin = 0, .end = n_rows};
    return slice_of(ex, n_rows, ex->own->tp_idx);
}

struct sum_job {
    const struct exchange *ex;
    const struct exchange_sum_layout *layout;
    uint32_t n_rows;
    float *out;
};

static float *list_sum(const void *user, uint32_t row, struct row_sum *sum) {
    const struct sum_job *job = user;
    const struct exchange *ex = job->ex;
    const struct exchange_sum_layout *layout = job->layout;
    uint64_t d = ex->options.d_model;
    sum->n_terms = layout->n_terms;
    for (uint32_t i = 0; i < layout->n_terms; i++) {
        const float *roots = exchange_place(ex, ex->group_ranks.begin + layout->terms[i].tp_idx,
                                            ex->limits.places.roots[ex->roots_turn]);
        sum->terms[i] = roots + ((uint64_t)layout->terms[i].root_idx * job->n_rows + row) * d;
    }
    sum->n_adds = layout->n_adds;
    for (uint32_t i = 0; i < layout->n_adds; i++)
        sum->adds[i] = layout->adds[i];
    sum->n_roots = 1;
    sum->roots[0] = 0;
    return job->out + row * d;
}

void exchange_add_roots(struct exchange *ex, const struct exchange_sum_layout *layout,
                        uint32_t n_rows, float *out) {
    assert((uint64_t)layout->n_own_roots * n_rows <= ex->limits.n_root_rows);
    struct sum_job job = {.ex = ex, .layout = layout, .n_rows = n_rows, .out = out};
    struct index_range slice = exchange_slice(ex, n_rows);
    row_sums_run(ex->options.pool, &(struct row_sums){.list = list_sum,
                                                      .user = &job,
                                                      .row_begin = slice.begin,
                                                      .row_end = slice.end,
                                                      .d = ex->options.d_model,
                                                      .n_terms = layout->n_terms});
    ex->roots_turn ^= 1;
}

enum status exchange_sum(struct exchange *ex, const struct exchange_sum_layout *layout,
                         uint32_t n_rows, float *out, struct error *err) {
    assert(n_rows <= ex->options.n_step_tokens && layout->n_terms > 0);
    if (n_rows == 0)
        return OK;
    uint64_t begin = exchange_enter(ex);
    enum status status = exchange_meet_group(ex, err);
    if (status == OK)
        exchange_add_roots(ex, layout, n_rows, out);
    return exchange_leave(ex, status, begin, &ex->counts.sum_ns);
}

/* ---- share ---- */

/* The slices of all other ranks: from where they left them to where they belong. */
static uint32_t list_slices(const struct exchange *ex, float *x, uint32_t n_rows,
                            struct row_copy *copies) {
    uint64_t d = ex->options.d_model;
    uint32_t n = 0;
    for (uint32_t i = 0; i < ex->n_tp; i++) {
        struct index_range slice = slice_of(ex, n_rows, i);
        if (i != ex->own->tp_idx)
            copies[n++] = (struct row_copy){
                .to = x + slice.begin * d,
                .from = exchange_place(ex, ex->group_ranks.begin + i, ex->limits.places.share),
                .bytes = (slice.end - slice.begin) * d * sizeof(float)};
    }
    return n;
}

enum status exchange_share(struct exchange *ex, float *x, uint32_t n_rows, struct error *err) {
    if (!is_sliced(ex, n_rows))
        return OK;
    uint64_t begin = exchange_enter(ex), d = ex->options.d_model;
    struct index_range slice = slice_of(ex, n_rows, ex->own->tp_idx);
    struct row_copy own = {.to = exchange_own_place(ex, ex->limits.places.share),
                           .from = x + slice.begin * d,
                           .bytes = (slice.end - slice.begin) * d * sizeof(float)};
    row_copies_run(ex->options.pool, &own, 1);
    enum status status = exchange_meet_group(ex, err);
    if (status == OK) {
        struct row_copy others[WINDOW_RANKS_MAX];
        row_copies_run(ex->options.pool, others, list_slices(ex, x, n_rows, others));
    }
    return exchange_leave(ex, status, begin, &ex->counts.sum_ns);
}
