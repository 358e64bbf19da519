/* SPDX-License-Identifier: Apache-2.0 */
/* The loop over passes and parts of a panel, and matmul over all panels. */
#ifndef SHOAL_KERNELS_MATMUL_MATMUL_SIMD_H
#define SHOAL_KERNELS_MATMUL_MATMUL_SIMD_H

#include <assert.h>

#include "base/size.h"
#include "kernels/device/parallel.h"
#include "kernels/matmul/floats_simd.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/quantised_simd.h"

_Static_assert(sizeof(struct panel_scratch) <= KERNEL_SCRATCH_BYTES, "scratch of a panel");

/* Adds the parts of a panel by the tree (ksplit.h), 16 rows of all tokens at a time; NULL marks an
 * empty part. Returns where the sums are. */
static float (*panel_combine(float (*parts)[PANEL_TOKENS][PANEL_ROWS], const struct ksplit *split,
                             uint32_t n_tokens))[PANEL_ROWS] {
    float(*sum[KSPLIT_PARTS])[PANEL_ROWS] = {0};
    for (uint32_t p = 0; p < split->n_parts; p++)
        sum[p] = ksplit_part_empty(split, p) ? NULL : parts[p];
    for (uint32_t n = split->n_parts / 2; n >= 1; n /= 2) {
        for (uint32_t p = 0; p < n; p++) {
            float(*left)[PANEL_ROWS] = sum[2 * p], (*right)[PANEL_ROWS] = sum[2 * p + 1];
            for (uint32_t t = 0; left && right && t < n_tokens; t++)
                f32x16_store(left[t], f32x16_add(f32x16_load(left[t]), f32x16_load(right[t])));
            sum[p] = left ? left : right;
        }
    }
    return sum[0];
}

static inline uint32_t panel_y_row(const struct panel_args *a, uint32_t i) {
    return a->rows ? a->rows[i] : i;
}

/* One part of n_panels panels for the n tokens of scratch->x. */
static void panels_part(const struct panel_args *a, uint32_t part, uint32_t panel,
                        uint32_t n_panels, uint32_t n, struct panel_scratch *scratch) {
    if (dtype_is_quantised(a->w.dtype)) {
        quantised_part(&a->w, a->split, part, panel, n_panels, n, scratch);
        return;
    }
    for (uint32_t i = 0; i < n_panels; i++)
        float_part(&a->w, a->split, part, panel + i, scratch->x, n, scratch->parts[i][part]);
}

/* The rows first .. first + n - 1 of the list, n at most PANEL_TOKENS, and at most PANELS_TOGETHER
 * panels. */
static void panels_pass(const struct panel_args *a, uint32_t panel, uint32_t n_panels,
                        uint32_t first, uint32_t n, struct panel_scratch *scratch) {
    bool quantised = dtype_is_quantised(a->w.dtype);
    uint64_t d = a->w.d_in;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t token = panel_y_row(a, first + i) / a->rows_per_token;
        if (quantised)
            scratch->x[i] = a->x->blocks + token * (d / ACT_BLOCK);
        else
            scratch->x[i] = a->x->x + token * d;
    }
    for (uint32_t p = 0; p < a->split->n_parts; p++) {
        if (!ksplit_part_empty(a->split, p))
            panels_part(a, p, panel, n_panels, n, scratch);
    }
    for (uint32_t j = 0; j < n_panels; j++) {
        float(*sum)[PANEL_ROWS] = panel_combine(scratch->parts[j], a->split, n);
        uint32_t row = (panel + j) * PANEL_ROWS;
        uint32_t left = a->w.d_out - row;
        uint32_t n_rows = left < PANEL_ROWS ? left : PANEL_ROWS;
        for (uint32_t i = 0; i < n; i++) {
            float *y = a->y + panel_y_row(a, first + i) * a->y_stride + row;
            memcpy(y, sum[i], n_rows * sizeof *y);
        }
    }
}

/* Passes outside, panels inside: the activations of a pass stay in the second-level cache while
 * the weights stream by. */
static void matmul_panels_simd(const struct panel_args *a, uint32_t panel, uint32_t n_panels,
                               struct panel_scratch *scratch) {
    for (uint32_t first = 0; first < a->n_rows; first += PANEL_TOKENS) {
        uint32_t left = a->n_rows - first, n = left < PANEL_TOKENS ? left : PANEL_TOKENS;
        for (uint32_t i = 0; i < n_panels; i += PANELS_TOGETHER) {
            uint32_t together = n_panels - i < PANELS_TOGETHER ? n_panels - i : PANELS_TOGETHER;
            panels_pass(a, panel + i, together, first, n, scratch);
        }
    }
}

struct matmul_job {
    struct kernel_ctx *k;
    const struct matmul_args *products;
    uint32_t n;
    uint64_t cost_each[MATMUL_PRODUCTS_MAX]; /* of a panel */
    uint64_t cost_least;                     /* of a turn */
    struct work_list costs;
};

/* What a panel takes, in any unit: a few tokens wait for its bytes, many for its products, of which
 * a float one takes as long as four of bytes. */
static uint64_t panel_cost(const struct matmul_args *a) {
    if (a->x->n_tokens <= 8)
        return PANEL_ROWS * a->w->row_bytes;
    return (uint64_t)PANEL_ROWS * a->w->d_in * (dtype_is_quantised(a->w->dtype) ? 1 : 4);
}

/* How many: none where a rank lacks rows of the step or of the matrix. */
static uint64_t product_panels(const struct matmul_args *a) {
    return a->x->n_tokens > 0 ? panel_count(a->w->d_out) : 0;
}

/* The product's panels whose place in the list of all costs lies in begin .. end - 1; `first` is
 * the place of its panel 0. */
static void matmul_panels(const struct matmul_args *a, uint64_t first, uint64_t each,
                          uint64_t begin, uint64_t end, struct panel_scratch *scratch) {
    const struct panel_args panels = panels_of(a);
    uint64_t n = product_panels(a);
    uint64_t panel_begin = begin > first ? div_up(begin - first, each) : 0;
    uint64_t panel_end = end > first ? div_up(end - first, each) : 0;
    panel_end = panel_end < n ? panel_end : n;
    if (panel_begin < panel_end)
        matmul_panels_simd(&panels, (uint32_t)panel_begin, (uint32_t)(panel_end - panel_begin),
                           scratch);
}

static void matmul_share(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct matmul_job *job = arg;
    uint64_t begin, end;
    while (work_take(&job->costs, n_threads, job->cost_least, &begin, &end)) {
        uint64_t first = 0;
        for (uint32_t i = 0; i < job->n; i++) {
            const struct matmul_args *a = &job->products[i];
            if (product_panels(a) == 0)
                continue;
            matmul_panels(a, first, job->cost_each[i], begin, end,
                          kernel_scratch(job->k, thread_idx));
            first += job->cost_each[i] * product_panels(a);
        }
    }
}

static void matmul_simd(struct kernel_ctx *k, const struct matmul_args *products, uint32_t n) {
    struct matmul_job job = {.k = k, .products = products, .n = n};
    uint64_t n_elements = 0;
    assert(n <= MATMUL_PRODUCTS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        const struct matmul_args *a = &products[i];
        assert(a->x->d == a->w->d_in && a->y_stride >= a->w->d_out);
        assert(!dtype_is_quantised(a->w->dtype) ||
               (a->w->layout == MATRIX_PANELS && a->w->d_in % ACT_BLOCK == 0));
        if (product_panels(a) == 0)
            continue;
        assert(a->split->part_begin[0] < a->split->part_begin[a->split->n_parts]);
        job.cost_each[i] = panel_cost(a);
        job.costs.n += job.cost_each[i] * product_panels(a);
        if (job.cost_least < PANELS_TOGETHER * job.cost_each[i])
            job.cost_least = PANELS_TOGETHER * job.cost_each[i];
        n_elements += (uint64_t)a->w->d_out * a->w->d_in;
    }
    if (n_elements == 0)
        return;
    parallel_run(k, matmul_share, &job, n_elements);
}

#endif
