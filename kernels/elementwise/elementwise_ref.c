/* SPDX-License-Identifier: Apache-2.0 */
/* The definitions of elementwise.h. Sums of floats are the float sums the contract names; the
 * exponentials are taken in double. */
#include "kernels/elementwise/elementwise.h"

#include <math.h>

void swiglu_ref(struct kernel_ctx *k, const struct swiglu_args *a) {
    (void)k;
    for (uint64_t row = 0; row < a->n_rows; row++) {
        for (uint64_t i = row * a->stride; i < row * a->stride + a->n; i++) {
            double gate = (double)a->gate[i];
            a->out[i] = (float)(gate / (1 + exp(-gate)) * a->up[i]);
        }
    }
}

void add_ref(struct kernel_ctx *k, const struct add_args *a) {
    (void)k;
    for (uint64_t i = 0; i < a->n; i++)
        a->x[i] += a->y[i];
}

void add_shared_ref(struct kernel_ctx *k, const struct add_shared_args *a) {
    (void)k;
    for (uint32_t t = 0; t < a->n_tokens; t++) {
        float gate = (float)(1 / (1 + exp((double)-a->gate[t])));
        for (uint64_t i = (uint64_t)t * a->d; i < (uint64_t)(t + 1) * a->d; i++) {
            float shared = gate * a->shared[i];
            float both = a->routed[i] + shared;
            a->x[i] += both;
        }
    }
}
