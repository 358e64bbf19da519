/* SPDX-License-Identifier: Apache-2.0 */
/* What kernels are measured and tested on: random contents that are a function of a key alone, so
 * that any case can be made again anywhere. Every bit of a quantised block is random except its
 * half precision scales, which have sizes that occur in models (a random half may be NaN); floats
 * are uniform. Memory is the caller's. */
#ifndef SHOAL_BENCH_KERNEL_DATA_H
#define SHOAL_BENCH_KERNEL_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/tensor.h"

/* Uniform in [-size, size). */
void random_fill(float *x, size_t n, uint64_t key, float size);

/* Rows at `data`, d_out * row_bytes of them; dtype < DTYPE_N_COMPUTE. The second leaves all but the
 * scales as it finds it. */
void random_rows(const struct matrix *w, void *data, uint64_t key);
void random_scales(const struct matrix *w, void *data, uint64_t key);

/* Bytes of a matrix in a layout, and its rows rearranged to panels at a 64-byte boundary. */
uint64_t matrix_bytes(const struct matrix *w, enum matrix_layout layout);
void matrix_to_panels(const struct matrix *rows, void *panels);

/* |got - want| / |want| in the Euclidean norm; 0 if both are zero. Infinite if got has a NaN. */
double relative_error(const float *got, const float *want, size_t n);

#endif
