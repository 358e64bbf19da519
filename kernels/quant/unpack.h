/* SPDX-License-Identifier: Apache-2.0 */
/* One block of a quantised type as integers and scales: the definition of every format.
 *
 *     value[e] = scale[s] * q[e]               s = e / sub
 *     value[e] = scale[s] * q[e] + min[s]      for the types with minima
 *
 * `q` is 8 bits with its sign; a sub-block is 16 or 32 elements. Scale times q is exact in float
 * for every type but Q8_K (whose scale is a whole float), so that the fast products, which sum the
 * integers first, multiply the very numbers that dequantisation gives.
 *
 * Pure functions; any thread. */
#ifndef SHOAL_KERNELS_QUANT_UNPACK_H
#define SHOAL_KERNELS_QUANT_UNPACK_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "tensor/blocks.h"
#include "tensor/dtype.h"

#define QUANT_SUBS_MAX 16 /* sub-blocks of a block */

struct quant_traits {
    uint8_t sub;         /* elements of a sub-block, 16 or 32; 0: not a quantised compute type */
    bool has_min;        /* Q4_1, Q5_1, Q2_K, Q4_K, Q5_K */
    int8_t q_min, q_max; /* bounds of q for any bytes */
    bool whole_scale;    /* scale may have all bits of a float (Q8_K) or its exponents (MXFP4); else
                            at most 19 bits and below 2^24 */
};

/* dtype < DTYPE_N_COMPUTE. In the header so that loops compiled for one type know its traits. */
static inline struct quant_traits quant_traits(enum dtype dtype) {
    static const struct quant_traits traits[DTYPE_N_COMPUTE] = {
        [DTYPE_Q4_0] = {32, false, -8, 7, false},
        [DTYPE_Q4_1] = {32, true, 0, 15, false},
        [DTYPE_Q5_0] = {32, false, -16, 15, false},
        [DTYPE_Q5_1] = {32, true, 0, 31, false},
        [DTYPE_Q8_0] = {32, false, -128, 127, false},
        [DTYPE_Q2_K] = {16, true, 0, 3, false},
        [DTYPE_Q3_K] = {16, false, -4, 3, false},
        [DTYPE_Q4_K] = {32, true, 0, 15, false},
        [DTYPE_Q5_K] = {32, true, 0, 31, false},
        [DTYPE_Q6_K] = {16, false, -32, 31, false},
        [DTYPE_Q8_K] = {32, false, -128, 127, true},
        [DTYPE_IQ1_S] = {32, false, -9, 9, false},
        [DTYPE_IQ1_M] = {16, false, -9, 9, false},
        [DTYPE_IQ2_XXS] = {32, false, -43, 43, false},
        [DTYPE_IQ2_XS] = {16, false, -43, 43, false},
        [DTYPE_IQ2_S] = {16, false, -43, 43, false},
        [DTYPE_IQ3_XXS] = {32, false, -62, 62, false},
        [DTYPE_IQ3_S] = {32, false, -15, 15, false},
        [DTYPE_IQ4_NL] = {32, false, -127, 113, false},
        [DTYPE_IQ4_XS] = {32, false, -127, 113, false},
        [DTYPE_MXFP4] = {32, false, -12, 12, true},
    };
    assert((unsigned)dtype < DTYPE_N_COMPUTE);
    return traits[dtype];
}

/* The block's elements and scales. min is written only if the type has minima. */
void quant_unpack_ref(enum dtype dtype, const void *block, int8_t q[BLOCK_SUPER],
                      float scale[QUANT_SUBS_MAX], float min[QUANT_SUBS_MAX]);

/* out[i] = element i of the row, as float; exact for F32, F16 and BF16. n is a multiple of the
 * dtype's block, dtype < DTYPE_N_COMPUTE; the row may have any alignment. */
void quant_dequantise_row(enum dtype dtype, const void *row, uint32_t n, float *out);

#endif
