/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices of any type with random contents: every bit of a block is random except its half
 * precision scales, which are given sizes that occur in models (a random half may be NaN). */
#ifndef SHOAL_TESTS_KERNELS_SUPPORT_WEIGHTS_H
#define SHOAL_TESTS_KERNELS_SUPPORT_WEIGHTS_H

#include "base/arena.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

/* dtype < DTYPE_N_COMPUTE; d_in a multiple of its block. A failure fails the test. */
struct matrix random_matrix(struct arena *arena, enum dtype dtype, uint32_t d_out, uint32_t d_in,
                            uint64_t key);

/* The matrix as these kernels read it: quantised ones in panels for the fast variants, all others
 * as they are. */
struct matrix matrix_for(const struct kernels *kernels, const struct matrix *w,
                         struct arena *arena);

/* Sets every byte of the blocks but the scales. */
void matrix_fill_bytes(const struct matrix *w, unsigned char byte, uint64_t key);

/* What activation.h promises for one block, in plain steps. */
void quantise_block_by_definition(const float x[ACT_BLOCK], struct act_block *block);

/* Room for the blocks of n_tokens rows of x. */
struct activation activation_of(struct arena *arena, const float *x, uint32_t n_tokens, uint32_t d);

#endif
