/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of rmsnorm.h: one row after the other, sums in double. */
#include "kernels/rmsnorm/rmsnorm.h"

#include <math.h>

void rmsnorm_ref(struct kernel_ctx *k, const struct rmsnorm_args *a) {
    (void)k;
    for (uint32_t t = 0; t < a->n_tokens; t++) {
        const float *x = a->x + (uint64_t)t * a->d;
        float *out = a->out + (uint64_t)t * a->d;
        double sum = 0;
        for (uint32_t i = 0; i < a->d; i++)
            sum += (double)x[i] * x[i];
        double scale = 1 / sqrt(sum / a->d + a->eps);
        for (uint32_t i = 0; i < a->d; i++)
            out[i] = (float)(a->w[i] * (x[i] * scale));
    }
}
