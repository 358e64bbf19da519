/* SPDX-License-Identifier: Apache-2.0 */
/* Activations as the matrix products read them: the floats, and beside them 8-bit blocks.
 *
 * A row of d elements (d a multiple of 32) is cut into blocks of 32 at absolute positions. For
 * each block:
 *     amax = max |x|;  scale = amax / 127;  q[i] = round_to_nearest_even(x[i] / scale)
 *     half_sum[h] = sum of q over the 16 elements of half h      (exact, for offsets)
 *     scaled_half_sum[h] = scale * half_sum[h];  scaled_sum = scale * (both)  (for minima)
 * The division is by multiplication with 127 / amax (one rounding in the quotient, one in the
 * product): the same bits in every variant. Where that quotient is infinite (amax below 3.8e-37)
 * the block has scale 0 and q 0. A block with a NaN or infinity gets scale (and with it the scaled
 * sums) NaN and q 0, so that the result shows it.
 *
 * The reference products ignore the blocks; its activation_quantise does nothing. */
#ifndef SHOAL_KERNELS_QUANT_ACTIVATION_H
#define SHOAL_KERNELS_QUANT_ACTIVATION_H

#include <stdint.h>

#include "kernels/device/context.h"

#define ACT_BLOCK 32

struct act_block {
    int8_t q[ACT_BLOCK];
    float scale;
    int16_t half_sum[2]; /* each within +-16*127 */
    float scaled_half_sum[2];
    float scaled_sum;
};

struct activation {
    const float *x;           /* [n_tokens, d] */
    struct act_block *blocks; /* [n_tokens, d / 32]; filled by activation_quantise */
    uint32_t n_tokens, d;
};

/* Fills a->blocks from a->x. */
typedef void activation_quantise_fn(struct kernel_ctx *k, const struct activation *a);
activation_quantise_fn activation_quantise_ref, activation_quantise_avx2,
    activation_quantise_avx512;

#endif
