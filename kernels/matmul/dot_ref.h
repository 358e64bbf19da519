/* SPDX-License-Identifier: Apache-2.0 */
/* One row of weights times one row of activations: the definition that all products approximate.
 * Shared by the references of the dense and of the expert products. */
#ifndef SHOAL_KERNELS_MATMUL_DOT_REF_H
#define SHOAL_KERNELS_MATMUL_DOT_REF_H

#include "tensor/ksplit.h"

/* w, x: [d_in]. Each part is summed in double in the order of its columns and rounded to float;
 * parts are added by the tree. */
static inline float dot_ref(const float *w, const float *x, const struct ksplit *split) {
    float parts[KSPLIT_PARTS] = {0};
    for (uint32_t p = 0; p < split->n_parts; p++) {
        double sum = 0;
        for (uint32_t r = split->part_begin[p]; r < split->part_begin[p + 1]; r++) {
            for (uint32_t i = split->runs[r].begin; i < split->runs[r].end; i++)
                sum += (double)w[i] * (double)x[i];
        }
        parts[p] = (float)sum;
    }
    return ksplit_combine(split, parts);
}

#endif
