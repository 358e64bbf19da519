/* SPDX-License-Identifier: Apache-2.0 */
/* Views of tensors: what files and kernels agree on. No arithmetic, no ownership.
 *
 * Shapes are row-major, outermost first, the last dimension contiguous; a weight is
 * [d_out, d_in], an expert tensor [n_experts, d_out, d_in]. */
#ifndef SHOAL_TENSOR_TENSOR_H
#define SHOAL_TENSOR_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

#define TENSOR_DIMS_MAX 4

struct tensor {
    enum dtype dtype;
    uint32_t n_dims;                 /* 1..TENSOR_DIMS_MAX; 0: there is no such tensor */
    uint64_t shape[TENSOR_DIMS_MAX]; /* outermost first; unused entries are 1 */
    const void *data;                /* view into the mapped file */
    uint64_t bytes;
};

/* How the bytes of a matrix lie in memory. */
enum matrix_layout {
    MATRIX_ROWS,   /* as in the file: rows follow each other at row_bytes */
    MATRIX_PANELS, /* rearranged for the fast kernels (tensor/panels.h), quantised types only */
};

/* y = W x: a matrix as a kernel sees it. */
struct matrix {
    enum dtype dtype;
    enum matrix_layout layout;
    uint32_t d_out, d_in; /* rows, columns */
    uint64_t row_bytes;   /* of a row in the file, in either layout */
    const void *data;     /* row 0, or panel 0 */
};

/* The experts' matrices of one layer and one projection, all of one shape and type. The pointers
 * are all a kernel sees: where experts lie, and that they lie together, is not its business. */
struct expert_matrices {
    enum dtype dtype;
    enum matrix_layout layout;
    uint32_t n_experts;
    uint32_t d_out, d_in;
    uint64_t row_bytes;
    const void *const *data; /* [n_experts], row 0 or panel 0 of each */
};

/* The matrix of one expert. */
static inline struct matrix expert_matrix(const struct expert_matrices *experts, uint32_t expert) {
    return (struct matrix){.dtype = experts->dtype,
                           .layout = experts->layout,
                           .d_out = experts->d_out,
                           .d_in = experts->d_in,
                           .row_bytes = experts->row_bytes,
                           .data = experts->data[expert]};
}

#endif
