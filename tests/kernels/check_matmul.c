/* SPDX-License-Identifier: Apache-2.0 */
/* The definition walks one row and one token at a time, with integers that cannot overflow and
 * one call of fmaf for every fused step that matmul.h writes. */
#include "tests/kernels/check_matmul.h"

#include "kernels/quant/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ksplit split_of(enum split_kind kind, uint32_t d_in, enum dtype dtype, struct arena *arena) {
    struct ksplit split;
    struct error err;
    enum status status;
    struct ksplit_units units = {.d_in = d_in, .block = dtype_info(dtype)->block_elements};
    if (kind == SPLIT_WHOLE) {
        status = ksplit_init_whole(&split, d_in, arena, &err);
    } else if (kind == SPLIT_RUNS) {
        units.width = 256;
        units.n_units = (d_in + 255) / 256;
        units.n_repeats = 1;
        status = ksplit_init_units(&split, &units, arena, &err);
    } else {
        units.width = 128;
        units.n_units = d_in / 256;
        units.n_repeats = 2;
        units.stride = units.n_units * 128;
        status = ksplit_init_units(&split, &units, arena, &err);
    }
    assert_int_equal(status, OK);
    return split;
}

struct ksplit split_parts(const struct ksplit *split, struct leaf_range own) {
    struct ksplit some = *split;
    for (uint32_t p = 0; p < split->n_parts; p++) {
        if (p < own.begin)
            some.part_begin[p] = split->part_begin[own.begin];
        if (p >= own.end)
            some.part_begin[p + 1] = split->part_begin[own.end];
    }
    return some;
}

struct matmul_data matmul_case_data(const struct matmul_case *c, struct arena *arena) {
    uint64_t key = (uint64_t)c->dtype * 1000003 + c->d_out * 1009 + c->d_in + c->n_tokens;
    float *x = random_floats(arena, (size_t)c->n_tokens * c->d_in + 1, key, 1.0f);
    struct matmul_data data = {.w = random_matrix(arena, c->dtype, c->d_out, c->d_in, key + 1),
                               .x = activation_of(arena, x, c->n_tokens, c->d_in),
                               .split = split_of(c->split, c->d_in, c->dtype, arena)};
    size_t n_blocks = (size_t)c->n_tokens * (c->d_in / ACT_BLOCK);
    for (size_t b = 0; b < n_blocks && dtype_is_quantised(c->dtype); b++)
        quantise_block_by_definition(x + b * ACT_BLOCK, &data.x.blocks[b]);
    return data;
}

float *matmul_data_run(const struct matmul_data *data, const struct kernels *kernels,
                       struct kernel_ctx *k, struct arena *arena) {
    float *y = floats(arena, (size_t)data->x.n_tokens * data->w.d_out + 1);
    struct matrix w = matrix_for(kernels, &data->w, arena);
    kernels->matmul(k,
                    &(struct matmul_args){
                        .y = y, .y_stride = w.d_out, .x = &data->x, .w = &w, .split = &data->split},
                    1);
    return y;
}

/* A quantised row, unpacked. */
struct row {
    struct quant_traits traits;
    int8_t *q;          /* [d_in] */
    float *scale, *min; /* [d_in / sub] */
};

static void row_unpack(const struct matrix *w, uint32_t o, struct row *row) {
    const struct dtype_info *info = dtype_info(w->dtype);
    const unsigned char *block = (const unsigned char *)w->data + o * w->row_bytes;
    for (uint32_t i = 0; i < w->d_in; i += info->block_elements, block += info->block_bytes) {
        uint32_t s = i / row->traits.sub;
        quant_unpack_ref(w->dtype, block, row->q + i, row->scale + s, row->min + s);
    }
}

static int32_t sum_of_products(const int8_t *w, const int8_t *x, uint32_t n) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += w[i] * x[i];
    return sum;
}

/* scale * sum in the manner of matmul.h. */
static float scaled(const struct row *row, float scale, int32_t sum) {
    if (row->traits.whole_scale)
        return scale * (float)sum;
    return fmaf(scale, 12582912.0f + (float)sum, -12582912.0f * scale);
}

static float quantised_part_by_definition(const struct row *row, const struct act_block *x,
                                          const struct ksplit *split, uint32_t part) {
    float acc = 0;
    for (uint32_t r = split->part_begin[part]; r < split->part_begin[part + 1]; r++) {
        for (uint32_t i = split->runs[r].begin; i < split->runs[r].end; i += 32) {
            const struct act_block *b = &x[i / 32];
            const float *scale = row->scale + i / row->traits.sub;
            const float *min = row->min + i / row->traits.sub;
            float u;
            if (row->traits.sub == 32) {
                u = scaled(row, scale[0], sum_of_products(row->q + i, b->q, 32));
            } else {
                u = scaled(row, scale[0], sum_of_products(row->q + i, b->q, 16));
                u = fmaf(scale[1], (float)sum_of_products(row->q + i + 16, b->q + 16, 16), u);
            }
            acc = fmaf(b->scale, u, acc);
            if (row->traits.has_min && row->traits.sub == 32)
                acc = fmaf(min[0], b->scale * (float)(b->half_sum[0] + b->half_sum[1]), acc);
            for (int h = 0; row->traits.has_min && row->traits.sub == 16 && h < 2; h++)
                acc = fmaf(min[h], b->scale * (float)b->half_sum[h], acc);
        }
    }
    return acc;
}

static float float_part_by_definition(const float *w, const float *x, const struct ksplit *split,
                                      uint32_t part) {
    float lane[16] = {0};
    for (uint32_t r = split->part_begin[part]; r < split->part_begin[part + 1]; r++) {
        struct krun run = split->runs[r];
        for (uint32_t i = run.begin; i < run.end; i++)
            lane[i % 16] = fmaf(w[i], x[i], lane[i % 16]);
        for (uint32_t i = run.end; i % 16 != 0; i++)
            lane[i % 16] = fmaf(0, 0, lane[i % 16]);
    }
    for (uint32_t n = 8; n >= 1; n /= 2) {
        for (uint32_t l = 0; l < n; l++)
            lane[l] += lane[l + n];
    }
    return lane[0];
}

float *matmul_data_define(const struct matmul_data *data, struct arena *arena) {
    const struct matrix *w = &data->w;
    bool quantised = dtype_is_quantised(w->dtype);
    float *y = floats(arena, (size_t)data->x.n_tokens * w->d_out);
    float *dequantised = floats(arena, w->d_in);
    struct row row = {.traits = quant_traits(w->dtype),
                      .q = arena_array(arena, w->d_in, 1),
                      .scale = floats(arena, w->d_in / 16 + 1),
                      .min = floats(arena, w->d_in / 16 + 1)};
    assert_non_null(row.q);
    for (uint32_t o = 0; o < w->d_out; o++) {
        if (quantised)
            row_unpack(w, o, &row);
        else
            quant_dequantise_row(w->dtype, (const char *)w->data + o * w->row_bytes, w->d_in,
                                 dequantised);
        for (uint32_t t = 0; t < data->x.n_tokens; t++) {
            const float *x = data->x.x + (size_t)t * w->d_in;
            const struct act_block *blocks = data->x.blocks + (size_t)t * (w->d_in / ACT_BLOCK);
            float parts[KSPLIT_PARTS] = {0};
            for (uint32_t p = 0; p < data->split.n_parts; p++)
                parts[p] = quantised ? quantised_part_by_definition(&row, blocks, &data->split, p)
                                     : float_part_by_definition(dequantised, x, &data->split, p);
            y[(size_t)t * w->d_out + o] = ksplit_combine(&data->split, parts);
        }
    }
    return y;
}
