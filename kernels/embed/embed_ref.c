/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the table, dequantised; threads share the tokens. */
#include "kernels/embed/embed.h"

#include <assert.h>

#include "kernels/quant/unpack.h"

static void embed_tokens(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct embed_args *a = arg;
    const struct matrix *table = a->table;
    const unsigned char *data = table->data;
    uint64_t begin, end;
    thread_range(a->n_tokens, thread_idx, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        assert(a->ids[t] >= 0 && (uint32_t)a->ids[t] < table->d_out);
        quant_dequantise_row(table->dtype, data + (uint64_t)a->ids[t] * table->row_bytes,
                             table->d_in, a->out + t * table->d_in);
    }
}

void embed_ref(struct kernel_ctx *k, const struct embed_args *a) {
    struct embed_args copy = *a;
    thread_pool_run(k->pool, embed_tokens, &copy);
}
