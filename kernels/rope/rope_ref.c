/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of rope.h: norm in double, then the rotation of pairs (i, i + n_rot/2). */
#include "kernels/rope/rope.h"

#include <math.h>

static void rope_head(float *out, const float *x, const float *cos_sin, const struct rope_args *a) {
    double sum = 0;
    for (uint32_t i = 0; i < a->d_head; i++)
        sum += (double)x[i] * x[i];
    double scale = 1 / sqrt(sum / a->d_head + a->eps);
    uint32_t half = a->n_rot / 2;
    for (uint32_t i = 0; i < half; i++) {
        double first = a->w[i] * (x[i] * scale);
        double second = a->w[i + half] * (x[i + half] * scale);
        double cos_a = cos_sin[2 * i], sin_a = cos_sin[2 * i + 1];
        out[i] = (float)(first * cos_a - second * sin_a);
        out[i + half] = (float)(second * cos_a + first * sin_a);
    }
    for (uint32_t i = a->n_rot; i < a->d_head; i++)
        out[i] = (float)(a->w[i] * (x[i] * scale));
}

void rope_ref(struct kernel_ctx *k, const struct rope_args *a) {
    (void)k;
    for (uint32_t t = 0; t < a->n_tokens; t++) {
        const float *cos_sin = a->cos_sin + (uint64_t)t * a->n_rot;
        for (uint32_t h = 0; h < a->n_heads; h++)
            rope_head(a->out + ((uint64_t)t * a->n_heads + h) * a->d_head,
                      a->x + t * a->token_stride + h * a->head_stride, cos_sin, a);
    }
}
