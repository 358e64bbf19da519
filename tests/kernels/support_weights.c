/* SPDX-License-Identifier: Apache-2.0 */
/* The contents are those that bench/ measures with; a failure fails the test. */
#include "tests/kernels/support_weights.h"

#include "bench/kernel_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

struct matrix random_matrix(struct arena *arena, enum dtype dtype, uint32_t d_out, uint32_t d_in,
                            uint64_t key) {
    assert_int_equal(d_in % dtype_info(dtype)->block_elements, 0);
    struct matrix w = {
        .dtype = dtype, .d_out = d_out, .d_in = d_in, .row_bytes = dtype_row_bytes(dtype, d_in)};
    void *data = arena_array(arena, d_out, w.row_bytes);
    assert_non_null(data);
    random_rows(&w, data, key);
    w.data = data;
    return w;
}

struct matrix matrix_for(const struct kernels *kernels, const struct matrix *w,
                         struct arena *arena) {
    if (kernels->exact || !dtype_is_quantised(w->dtype) || w->layout == MATRIX_PANELS)
        return *w;
    struct matrix packed = *w;
    void *panels = arena_alloc(arena, matrix_bytes(w, MATRIX_PANELS)); /* aligned as panels are */
    assert_non_null(panels);
    matrix_to_panels(w, panels);
    packed.layout = MATRIX_PANELS;
    packed.data = panels;
    return packed;
}

void matrix_fill_bytes(const struct matrix *w, unsigned char byte, uint64_t key) {
    memset((void *)(uintptr_t)w->data, byte, w->d_out * w->row_bytes);
    random_scales(w, (void *)(uintptr_t)w->data, key);
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
