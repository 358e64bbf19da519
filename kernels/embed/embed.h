/* SPDX-License-Identifier: Apache-2.0 */
/* out[t] = row ids[t] of the table, as float. Exact: every variant gives the same bits, and the
 * table may lie in rows or in panels. */
#ifndef SHOAL_KERNELS_EMBED_EMBED_H
#define SHOAL_KERNELS_EMBED_EMBED_H

#include "kernels/device/context.h"
#include "tensor/tensor.h"

struct embed_args {
    float *out;                 /* [n_tokens, table->d_in] */
    const struct matrix *table; /* [vocabulary, d] */
    const int32_t *ids;         /* [n_tokens], each within the table */
    uint32_t n_tokens;
};
typedef void embed_fn(struct kernel_ctx *k, const struct embed_args *a);
embed_fn embed_ref;

#endif
