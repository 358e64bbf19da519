/* SPDX-License-Identifier: Apache-2.0 */
/* Where the scales lie is told by tensor/blocks.h; the rest of a block needs no knowledge. */
#include "tests/kernels/support_weights.h"

#include "base/rng.h"
#include "tensor/blocks.h"
#include "tensor/f16.h"
#include "tensor/panels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

/* Uniform in +-[0.002, 0.01], of either sign. */
static float random_scale(uint64_t key, uint64_t counter) {
    double size = 0.002 + 0.008 * rng_double(key, counter);
    return (float)(rng_u64(~key, counter) & 1 ? size : -size);
}

/* Byte offsets of the half-precision scales of a block, -1 where there are fewer. */
static void half_offsets(enum dtype dtype, int at[2]) {
    at[0] = 0;
    at[1] = -1;
    switch (dtype) {
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        at[1] = 2;
        break;
    case DTYPE_Q2_K:
        at[0] = offsetof(struct block_q2_k, d);
        at[1] = offsetof(struct block_q2_k, dmin);
        break;
    case DTYPE_Q3_K:
        at[0] = offsetof(struct block_q3_k, d);
        break;
    case DTYPE_Q6_K:
        at[0] = offsetof(struct block_q6_k, d);
        break;
    case DTYPE_Q8_K:
    case DTYPE_IQ1_M:
    case DTYPE_MXFP4:
        at[0] = -1;
        break;
    default:
        break;
    }
}

static void set_scales(enum dtype dtype, unsigned char *block, uint64_t key, uint64_t counter) {
    int at[2];
    half_offsets(dtype, at);
    for (int i = 0; i < 2; i++) {
        uint16_t half = f32_to_f16(random_scale(key + (uint64_t)i, counter));
        if (at[i] >= 0)
            memcpy(block + at[i], &half, sizeof half);
    }
    if (dtype == DTYPE_Q8_K) {
        float d = random_scale(key, counter);
        memcpy(block, &d, sizeof d);
    } else if (dtype == DTYPE_IQ1_M) {
        uint16_t half = f32_to_f16(random_scale(key, counter));
        struct block_iq1_m *b = (struct block_iq1_m *)block;
        for (int i = 0; i < 4; i++)
            b->scales[i] = (uint16_t)((b->scales[i] & 0xfff) | (half >> 4 * i & 15) << 12);
    } else if (dtype == DTYPE_MXFP4) {
        block[0] = (unsigned char)(116 + rng_u64(key, counter) % 8);
    }
}

static void fill_floats(const struct matrix *w, unsigned char *data, uint64_t key) {
    for (uint64_t i = 0; i < (uint64_t)w->d_out * w->d_in; i++) {
        float x = (float)(2 * rng_double(key, i) - 1);
        uint16_t half = w->dtype == DTYPE_F16 ? f32_to_f16(x) : f32_to_bf16(x);
        if (w->dtype == DTYPE_F32)
            memcpy(data + 4 * i, &x, sizeof x);
        else
            memcpy(data + 2 * i, &half, sizeof half);
    }
}

struct matrix random_matrix(struct arena *arena, enum dtype dtype, uint32_t d_out, uint32_t d_in,
                            uint64_t key) {
    const struct dtype_info *info = dtype_info(dtype);
    uint64_t row_bytes = dtype_row_bytes(dtype, d_in);
    unsigned char *data = arena_array(arena, d_out, row_bytes);
    assert_non_null(data);
    assert_int_equal(d_in % info->block_elements, 0);
    struct matrix w = {
        .dtype = dtype, .d_out = d_out, .d_in = d_in, .row_bytes = row_bytes, .data = data};
    if (!dtype_is_quantised(dtype)) {
        fill_floats(&w, data, key);
        return w;
    }
    for (uint64_t i = 0; i < d_out * row_bytes; i++)
        data[i] = (unsigned char)rng_u64(key, i);
    for (uint64_t b = 0; b < d_out * row_bytes / info->block_bytes; b++)
        set_scales(dtype, data + b * info->block_bytes, key + 1, b);
    return w;
}

struct matrix matrix_for(const struct kernels *kernels, const struct matrix *w,
                         struct arena *arena) {
    if (kernels->exact || !dtype_is_quantised(w->dtype) || w->layout == MATRIX_PANELS)
        return *w;
    uint64_t bytes_each = panel_bytes(w->dtype, w->d_in);
    unsigned char *panels =
        arena_alloc(arena, panel_count(w->d_out) * bytes_each + PANEL_ALIGNMENT);
    assert_non_null(panels);
    panels += (uintptr_t) - (uintptr_t)panels % PANEL_ALIGNMENT;
    for (uint32_t p = 0; p < panel_count(w->d_out); p++) {
        uint32_t first = p * PANEL_ROWS, left = w->d_out - first;
        struct panel_rows shape = {.dtype = w->dtype,
                                   .d_in = w->d_in,
                                   .n_rows = left < PANEL_ROWS ? left : PANEL_ROWS,
                                   .row_bytes = w->row_bytes};
        panel_pack(&shape, (const unsigned char *)w->data + first * w->row_bytes,
                   panels + p * bytes_each);
    }
    struct matrix packed = *w;
    packed.layout = MATRIX_PANELS;
    packed.data = panels;
    return packed;
}

void matrix_fill_bytes(const struct matrix *w, unsigned char byte, uint64_t key) {
    const struct dtype_info *info = dtype_info(w->dtype);
    unsigned char *data = (unsigned char *)w->data;
    memset(data, byte, w->d_out * w->row_bytes);
    for (uint64_t b = 0; b < w->d_out * w->row_bytes / info->block_bytes; b++)
        set_scales(w->dtype, data + b * info->block_bytes, key, b);
}

void quantise_block_by_definition(const float x[ACT_BLOCK], struct act_block *block) {
    float amax = 0;
    bool finite = true;
    for (int i = 0; i < ACT_BLOCK; i++) {
        finite = finite && isfinite(x[i]);
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    }
    memset(block, 0, sizeof *block);
    if (!finite) {
        block->scale = NAN;
        return;
    }
    float inverse = 127.0f / amax;
    if (isinf(inverse))
        return;
    block->scale = amax / 127.0f;
    for (int i = 0; i < ACT_BLOCK; i++) {
        block->q[i] = (int8_t)nearbyintf(x[i] * inverse);
        block->half_sum[i / 16] = (int16_t)(block->half_sum[i / 16] + block->q[i]);
    }
    for (int h = 0; h < 2; h++)
        block->scaled_half_sum[h] = block->scale * (float)block->half_sum[h];
    block->scaled_sum = block->scale * (float)(block->half_sum[0] + block->half_sum[1]);
}

struct activation activation_of(struct arena *arena, const float *x, uint32_t n_tokens,
                                uint32_t d) {
    struct activation a = {.x = x, .n_tokens = n_tokens, .d = d};
    a.blocks = arena_array(arena, (size_t)n_tokens * (d / ACT_BLOCK) + 1, sizeof *a.blocks);
    assert_non_null(a.blocks);
    return a;
}
