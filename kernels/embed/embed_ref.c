/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the table, dequantised; threads share the tokens. A row that lies in a panel is first put
 * together again: a few kilobytes per token, beside a step that reads megabytes. */
#include "kernels/embed/embed.h"

#include "kernels/quant/unpack.h"
#include "tensor/panels.h"

#include <assert.h>

struct embed_run {
    const struct kernel_ctx *k;
    const struct embed_args *a;
};

/* The row as the file has it: where it lies, or in `scratch`. */
static const void *table_row(const struct matrix *table, uint32_t id, void *scratch) {
    const unsigned char *data = table->data;
    if (table->layout == MATRIX_ROWS)
        return data + id * table->row_bytes;
    struct panel_rows rows = {.dtype = table->dtype,
                              .d_in = table->d_in,
                              .n_rows = PANEL_ROWS,
                              .row_bytes = table->row_bytes};
    assert(table->row_bytes <= KERNEL_SCRATCH_BYTES);
    panel_unpack_row(&rows, data + id / PANEL_ROWS * panel_bytes(table->dtype, table->d_in),
                     id % PANEL_ROWS, scratch);
    return scratch;
}

static void embed_tokens(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    const struct embed_run *run = arg;
    const struct embed_args *a = run->a;
    void *scratch = kernel_scratch(run->k, thread_idx);
    uint64_t begin, end;
    thread_range(a->n_tokens, thread_idx, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        assert(a->ids[t] >= 0 && (uint32_t)a->ids[t] < a->table->d_out);
        const void *row = table_row(a->table, (uint32_t)a->ids[t], scratch);
        quant_dequantise_row(a->table->dtype, row, a->table->d_in, a->out + t * a->table->d_in);
    }
}

void embed_ref(struct kernel_ctx *k, const struct embed_args *a) {
    struct embed_run run = {.k = k, .a = a};
    thread_pool_run(k->pool, embed_tokens, &run);
}
