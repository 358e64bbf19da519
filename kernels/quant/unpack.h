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

/* dtype < DTYPE_N_COMPUTE. */
struct quant_traits quant_traits(enum dtype dtype);

/* The block's elements and scales. min is written only if the type has minima. */
void quant_unpack_ref(enum dtype dtype, const void *block, int8_t q[BLOCK_SUPER],
                      float scale[QUANT_SUBS_MAX], float min[QUANT_SUBS_MAX]);

/* out[i] = element i of the row, as float; exact for F32, F16 and BF16. n is a multiple of the
 * dtype's block, dtype < DTYPE_N_COMPUTE; the row may have any alignment. */
void quant_dequantise_row(enum dtype dtype, const void *row, uint32_t n, float *out);

#endif
