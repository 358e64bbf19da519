/* SPDX-License-Identifier: Apache-2.0 */
/* The composed result shares no loop with the kernels: every pair is multiplied alone, and the
 * tree is walked from its root. */
#include "tests/kernels/check_experts.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

static struct expert_matrices random_experts(struct arena *arena, enum dtype dtype, uint32_t n,
                                             uint32_t d_out, uint32_t d_in, uint64_t key) {
    const void **data = arena_array(arena, n, sizeof *data);
    assert_non_null(data);
    struct matrix w = {0};
    for (uint32_t e = 0; e < n; e++) {
        w = random_matrix(arena, dtype, d_out, d_in, key + 10 * e);
        data[e] = w.data;
    }
    return (struct expert_matrices){.dtype = dtype,
                                    .n_experts = n,
                                    .d_out = d_out,
                                    .d_in = d_in,
                                    .row_bytes = w.row_bytes,
                                    .data = data};
}

/* The chosen experts of a token: top_k different ids, rising. */
static void choose(const struct experts_case *c, uint32_t token, uint32_t *ids) {
    uint32_t n = 0, left = c->top_k;
    uint64_t key = c->routing == ROUTING_SAME ? 3 : 100 + token;
    uint32_t start = (uint32_t)(rng_u64(key, 0) % (c->n_experts - c->top_k + 1));
    for (uint32_t e = 0; e < c->n_experts && left > 0; e++) {
        bool taken = c->routing == ROUTING_NEIGHBOURS
                         ? e >= start
                         : rng_u64(key, e + 1) % (c->n_experts - e) < left;
        if (taken) {
            ids[n++] = e;
            left--;
        }
    }
    assert_int_equal(left, 0);
}

struct experts_data experts_case_data(const struct experts_case *c, struct arena *arena) {
    float *x = random_floats(arena, (size_t)c->n_tokens * c->d_model, 11, 1.0f);
    size_t n_pairs = (size_t)c->n_tokens * c->top_k;
    struct experts_data data = {
        .gate = random_experts(arena, c->dtype, c->n_experts, c->d_ff, c->d_model, 1000),
        .up = random_experts(arena, c->dtype, c->n_experts, c->d_ff, c->d_model, 2000),
        .down = random_experts(arena, c->down_dtype, c->n_experts, c->d_model, c->d_ff, 3000),
        .x = activation_of(arena, x, c->n_tokens, c->d_model),
        .whole = split_of(SPLIT_WHOLE, c->d_model, c->dtype, arena),
        .down_split = split_of(SPLIT_RUNS, c->d_ff, c->down_dtype, arena),
        .ids = arena_array(arena, n_pairs, sizeof(uint32_t)),
        .weights = floats(arena, n_pairs),
        .top_k = c->top_k,
        .n_experts_all = c->n_experts,
        .buckets = {0, EXPERT_BUCKETS}};
    assert_non_null(data.ids);
    for (uint32_t t = 0; t < c->n_tokens; t++) {
        choose(c, t, data.ids + (size_t)t * c->top_k);
        for (uint32_t s = 0; s < c->top_k; s++)
            data.weights[(size_t)t * c->top_k + s] =
                (float)(0.1 + rng_double(t, s)) / (float)c->top_k;
    }
    for (size_t b = 0; b < (size_t)c->n_tokens * (c->d_model / ACT_BLOCK); b++)
        quantise_block_by_definition(x + b * ACT_BLOCK, &data.x.blocks[b]);
    return data;
}

/* First expert of a bucket, by trying. */
static uint32_t bucket_begin(const struct experts_data *data, uint32_t bucket) {
    uint32_t e = 0;
    while (e < data->n_experts_all && e * 64 / data->n_experts_all < bucket)
        e++;
    return e;
}

struct experts_data experts_data_share(const struct experts_data *data, struct leaf_range buckets) {
    struct experts_data share = *data;
    uint32_t begin = bucket_begin(data, buckets.begin), end = bucket_begin(data, buckets.end);
    share.first_expert = begin;
    share.buckets = buckets;
    struct expert_matrices *lists[] = {&share.gate, &share.up, &share.down};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        lists[i]->n_experts = end - begin;
        lists[i]->data += begin;
    }
    return share;
}

struct experts_args experts_data_args(const struct experts_data *data, struct arena *arena) {
    uint32_t d_ff = data->gate.d_out, d_model = data->gate.d_in;
    size_t n_pairs = (size_t)data->x.n_tokens * data->top_k;
    struct experts_args a = {
        .y = floats(arena, experts_data_rows(data) * d_model + 1),
        .x = &data->x,
        .ids = data->ids,
        .weights = data->weights,
        .top_k = data->top_k,
        .n_experts_all = data->n_experts_all,
        .first_expert = data->first_expert,
        .buckets = data->buckets,
        .gate = &data->gate,
        .up = &data->up,
        .down = &data->down,
        .whole = &data->whole,
        .down_split = &data->down_split,
        .beside = data->beside,
        .n_beside = data->n_beside,
        .gate_out = floats(arena, n_pairs * d_ff + 1),
        .up_out = floats(arena, n_pairs * d_ff + 1),
        .hidden_blocks =
            arena_array(arena, n_pairs * (d_ff / ACT_BLOCK) + 1, sizeof(struct act_block)),
        .down_out = floats(arena, n_pairs * d_model + 1),
        .order =
            arena_array(arena, n_pairs + data->x.n_tokens + 2 * (size_t)data->gate.n_experts + 1,
                        sizeof(uint32_t)),
    };
    assert_non_null(a.hidden_blocks);
    assert_non_null(a.order);
    for (size_t i = 0; i < experts_data_rows(data) * d_model; i++)
        a.y[i] = EXPERTS_UNTOUCHED;
    /* NaNs: rows of pairs that nobody multiplied must not be added. */
    memset(a.down_out, 0xff, n_pairs * d_model * sizeof(float));
    return a;
}

static struct expert_matrices experts_for(const struct kernels *kernels,
                                          const struct expert_matrices *w, struct arena *arena) {
    struct expert_matrices packed = *w;
    const void **data = arena_array(arena, (size_t)w->n_experts + 1, sizeof *data);
    assert_non_null(data);
    for (uint32_t e = 0; e < w->n_experts; e++) {
        struct matrix rows = expert_matrix(w, e), panels = matrix_for(kernels, &rows, arena);
        packed.layout = panels.layout;
        data[e] = panels.data;
    }
    packed.data = data;
    return packed;
}

float *experts_data_run(const struct experts_data *data, const struct kernels *kernels,
                        struct kernel_ctx *k, struct arena *arena) {
    struct experts_args a = experts_data_args(data, arena);
    struct expert_matrices gate = experts_for(kernels, a.gate, arena);
    struct expert_matrices up = experts_for(kernels, a.up, arena);
    struct expert_matrices down = experts_for(kernels, a.down, arena);
    a.gate = &gate;
    a.up = &up;
    a.down = &down;
    kernels->experts(k, &a);
    return a.y;
}

static float *multiply(const struct kernels *kernels, struct kernel_ctx *k, struct matrix w,
                       const struct activation *x, const struct ksplit *split,
                       struct arena *arena) {
    struct matmul_data data = {.w = w, .x = *x, .split = *split};
    return matmul_data_run(&data, kernels, k, arena);
}

/* The result of one own expert for one token, [d_model]. */
static float *expert_result(const struct experts_data *data, const struct kernels *kernels,
                            struct kernel_ctx *k, uint32_t token, uint32_t expert,
                            struct arena *arena) {
    uint32_t d_ff = data->gate.d_out, d_model = data->gate.d_in;
    struct activation x = {.x = data->x.x + (size_t)token * d_model,
                           .blocks = data->x.blocks + (size_t)token * (d_model / ACT_BLOCK),
                           .n_tokens = 1,
                           .d = d_model};
    float *gate = multiply(kernels, k, expert_matrix(&data->gate, expert), &x, &data->whole, arena);
    float *up = multiply(kernels, k, expert_matrix(&data->up, expert), &x, &data->whole, arena);
    float *hidden = floats(arena, d_ff);
    kernels->swiglu(
        k, &(struct swiglu_args){.out = hidden, .gate = gate, .up = up, .n = d_ff, .n_rows = 1});
    struct activation h = activation_of(arena, hidden, 1, d_ff);
    kernels->activation_quantise(k, &h);
    return multiply(kernels, k, expert_matrix(&data->down, expert), &h, &data->down_split, arena);
}

/* One token on its way through the tree. */
struct walk {
    const struct experts_data *data;
    uint32_t token;
    const float *results[EXPERT_TOP_K_MAX]; /* [d_model] each; NULL: of another rank's expert */
    float *y;                               /* the next row */
    uint32_t *leaves;                       /* of the next row, or NULL */
    uint32_t n_rows;
};

/* The sum of the buckets first .. first + n - 1 of one column; false if they are all empty. */
static bool tree_sum(const struct walk *w, uint32_t column, uint32_t first, uint32_t n,
                     float *sum) {
    const struct experts_data *data = w->data;
    if (n > 1) {
        float left, right;
        bool has_left = tree_sum(w, column, first, n / 2, &left);
        bool has_right = tree_sum(w, column, first + n / 2, n / 2, &right);
        *sum = has_left && has_right ? left + right : has_left ? left : right;
        return has_left || has_right;
    }
    bool any = false;
    *sum = 0;
    for (uint32_t s = 0; s < data->top_k; s++) {
        size_t pair = (size_t)w->token * data->top_k + s;
        if (data->ids[pair] * 64 / data->n_experts_all != first)
            continue;
        float product = data->weights[pair] * w->results[s][column];
        *sum = any ? *sum + product : product;
        any = true;
    }
    return any;
}

/* The rows of the largest own subtrees within the buckets first .. first + n - 1. */
static void walk_roots(struct walk *w, uint32_t first, uint32_t n) {
    const struct leaf_range own = w->data->buckets;
    if (first >= own.end || first + n <= own.begin)
        return;
    if (first < own.begin || first + n > own.end) {
        walk_roots(w, first, n / 2);
        walk_roots(w, first + n / 2, n / 2);
        return;
    }
    uint32_t d_model = w->data->gate.d_in;
    bool any = false;
    for (uint32_t i = 0; i < d_model; i++) {
        float sum;
        any = tree_sum(w, i, first, n, &sum);
        if (any)
            w->y[i] = sum;
    }
    if (!any)
        return;
    w->y += d_model;
    w->n_rows++;
    if (w->leaves)
        *w->leaves++ = first;
}

float *experts_data_compose(const struct experts_data *data, const struct kernels *kernels,
                            struct kernel_ctx *k, uint32_t *leaves, uint32_t *n_rows,
                            struct arena *arena) {
    size_t n = experts_data_rows(data) * data->gate.d_in;
    float *y = floats(arena, n + 1);
    for (size_t i = 0; i < n; i++)
        y[i] = EXPERTS_UNTOUCHED;
    struct walk w = {.data = data, .y = y, .leaves = leaves};
    for (w.token = 0; w.token < data->x.n_tokens; w.token++) {
        for (uint32_t s = 0; s < data->top_k; s++) {
            uint32_t id = data->ids[(size_t)w.token * data->top_k + s] - data->first_expert;
            w.results[s] = NULL;
            if (id < data->gate.n_experts)
                w.results[s] = expert_result(data, kernels, k, w.token, id, arena);
        }
        uint32_t before = w.n_rows;
        walk_roots(&w, 0, 64);
        if (n_rows)
            n_rows[w.token] = w.n_rows - before;
    }
    return y;
}
