/* SPDX-License-Identifier: Apache-2.0 */
/* Where the scales lie is told by tensor/blocks.h; the rest of a block needs no knowledge. */
#include "bench/kernel_data.h"

#include "base/rng.h"
#include "tensor/blocks.h"
#include "tensor/f16.h"
#include "tensor/panels.h"

#include <math.h>
#include <string.h>

void random_fill(float *x, size_t n, uint64_t key, float size) {
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(2 * rng_double(key, i) - 1) * size;
}

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

void random_scales(const struct matrix *w, void *data, uint64_t key) {
    const struct dtype_info *info = dtype_info(w->dtype);
    uint64_t n_blocks = w->d_out * w->row_bytes / info->block_bytes;
    for (uint64_t b = 0; b < n_blocks; b++)
        set_scales(w->dtype, (unsigned char *)data + b * info->block_bytes, key, b);
}

void random_rows(const struct matrix *w, void *data, uint64_t key) {
    if (!dtype_is_quantised(w->dtype)) {
        fill_floats(w, data, key);
        return;
    }
    uint64_t n_bytes = w->d_out * w->row_bytes;
    for (uint64_t i = 0; i < n_bytes; i += sizeof(uint64_t)) {
        uint64_t bits = rng_u64(key, i / sizeof bits), left = n_bytes - i;
        memcpy((unsigned char *)data + i, &bits, left < sizeof bits ? left : sizeof bits);
    }
    random_scales(w, data, key + 1);
}

uint64_t matrix_bytes(const struct matrix *w, enum matrix_layout layout) {
    return layout == MATRIX_PANELS ? panel_count(w->d_out) * panel_bytes(w->dtype, w->d_in)
                                   : w->d_out * w->row_bytes;
}

void matrix_to_panels(const struct matrix *rows, void *panels) {
    for (uint32_t p = 0; p < panel_count(rows->d_out); p++) {
        uint32_t first = p * PANEL_ROWS, left = rows->d_out - first;
        struct panel_rows shape = {.dtype = rows->dtype,
                                   .d_in = rows->d_in,
                                   .n_rows = left < PANEL_ROWS ? left : PANEL_ROWS,
                                   .row_bytes = rows->row_bytes};
        panel_pack(&shape, (const unsigned char *)rows->data + first * rows->row_bytes,
                   (unsigned char *)panels + p * panel_bytes(rows->dtype, rows->d_in));
    }
}

double relative_error(const float *got, const float *want, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - want[i];
        difference += d * d;
        size += (double)want[i] * want[i];
    }
    if (difference == 0)
        return 0;
    double relative = sqrt(difference / size);
    return isnan(relative) ? INFINITY : relative;
}
