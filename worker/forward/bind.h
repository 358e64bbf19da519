/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of binding share. */
#ifndef SHOAL_WORKER_FORWARD_BIND_H
#define SHOAL_WORKER_FORWARD_BIND_H

#include "worker/forward/forward.h"

/* Runs of an FFN width are whole super-blocks of the K-quants. */
#define FFN_RUN 256

struct binder {
    const struct hparams *hp;
    struct arena *arena;
    struct error *err;
    const struct rank_share *own; /* NULL: alone */
    uint32_t n_tp, tp_idx;        /* of the attention group; 1, 0 alone */
    /* [n_tp], of each rank of the attention group: */
    const struct leaf_range *attention, *gdn, *ffn;
    const struct index_range *router, *vocab, *experts;
    struct index_range kv_heads; /* what this rank's query heads read, in any layer */
};

/* Whether this rank holds only a part of what its attention group shares. */
static inline bool bind_is_cut(const struct binder *b) {
    return b->n_tp > 1;
}

/* A matrix with one sum over all its columns. ERR_UNSUPPORTED: rows that no kernel takes. */
enum status bind_whole(const struct binder *b, struct linear *linear, const struct tensor *tensor,
                       const char *what);
/* Only n_runs runs of its rows, copied to the arena, if anything is cut. */
enum status bind_keep_rows(const struct binder *b, struct linear *linear, const struct krun *runs,
                           uint32_t n_runs);
/* A matrix with eight parts of whole units, of which this rank keeps parts[tp_idx]. */
enum status bind_parts(const struct binder *b, struct row_parallel *product,
                       const struct tensor *tensor, struct ksplit_units units,
                       const struct leaf_range *parts, const char *what);
/* A matrix a kernel can read. */
enum status bind_check_row(const struct binder *b, const struct matrix *w, const char *what);

enum status bind_attention(const struct binder *b, struct bound_attention *out,
                           const struct attention_weights *w, uint32_t kv_layer_idx);
/* The query heads of this rank: parts of the output projection, whose type may join heads. */
enum status bind_attention_heads(const struct binder *b, const struct attention_weights *w,
                                 struct index_range *heads);
enum status bind_gdn(const struct binder *b, struct bound_gdn *out, const struct gdn_weights *w,
                     uint32_t state_layer_idx);
enum status bind_ffn(const struct binder *b, struct bound_ffn *out, const struct ffn_weights *w);

#endif
