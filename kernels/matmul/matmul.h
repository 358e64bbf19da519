/* SPDX-License-Identifier: Apache-2.0 */
/* y[t][o] = sum_i w[o][i] x[t][i], the sum over i cut as `split` says.
 *
 * Reference: the weight as the format defines it, times the float activation, each part summed in
 * double in order of columns, rounded to float, parts added by the tree.
 *
 * Fast variants, quantised weights. For output o and token t, per part, over its blocks of 32
 * columns in order (ws, wm: scale and minimum of a sub-block; i: integer sum of products, exact;
 * dx, sx: scale of the activation block, sum of its q):
 *     sub-blocks of 32:   u = ws * i
 *     sub-blocks of 16:   u = fma(ws1, (float)i1, ws0 * i0)
 *     acc = fma(dx, u, acc)
 *     minima (Q4_1, Q5_1, Q2_K, Q4_K, Q5_K), with m = dx * (float)sx of the sub-block:
 *     sub-blocks of 32:   acc = fma(wm, m, acc)
 *     sub-blocks of 16:   acc = fma(wm1, m1, fma(wm0, m0, acc))
 * The products ws * i, rounded once, are computed as fma(ws, 12582912 + i, -12582912 * ws): a scale
 * that is not finite gives NaN, a product of zero is +0 (tile_dot.h says why; Q8_K and MXFP4, whose
 * scales do not allow it, multiply ws * (float)i).
 *
 * Fast variants, F32, F16 and BF16 weights: per part, lane l of 16 sums the columns with
 * i mod 16 = l:  acc[l] = fma(w, x, acc[l]) in order; then the lanes are added by the tree
 * ((0+8)+(4+12)) + ... (simd.h, f32x16_sum). A remainder of fewer than 16 columns adds zeros.
 *
 * Tolerance of the fast variants against the reference: relative L2 1e-2 for random activations,
 * 2e-6 for float weights. The order of every sum depends only on the shape of the matrix. */
#ifndef SHOAL_KERNELS_MATMUL_MATMUL_H
#define SHOAL_KERNELS_MATMUL_MATMUL_H

#include "kernels/device/context.h"
#include "kernels/quant/activation.h"
#include "tensor/ksplit.h"
#include "tensor/tensor.h"

/* A rank that owns some parts of K leaves the others empty in the split, and gets the sum of its
 * own by the same tree; columns that are in no part are not read into it. A product without tokens
 * or rows does nothing. */
struct matmul_args {
    float *y;                   /* [n_tokens, y_stride]; columns 0..d_out-1 are written */
    uint64_t y_stride;          /* in floats, at least d_out */
    const struct activation *x; /* x->d = w->d_in; must not overlap y */
    const struct matrix *w;     /* d_in a multiple of the dtype's block, and of 32 if quantised;
                                   quantised ones in panels for the fast variants, else in rows */
    const struct ksplit *split; /* of columns of w; at least one part is not empty */
};
/* n independent products, 0..MATMUL_PRODUCTS_MAX: those of one input share one meeting of the
 * threads, and the small ones (a delta net's gates, a router) fill no thread's share alone. No y
 * may overlap another product's x or y. */
#define MATMUL_PRODUCTS_MAX 8
typedef void matmul_fn(struct kernel_ctx *k, const struct matmul_args *products, uint32_t n);
matmul_fn matmul_ref, matmul_avx2, matmul_avx512;

#endif
