/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank's share of a model amounts to: heads, widths, and bytes of weights by purpose.
 *
 *     cut along K         output and down matrices: the columns of its parts
 *     what leads to them  query, key, gate, up, ...: the rows that make those columns
 *     cut by rows         head, router: its rows
 *     whole               its experts, and on every rank the shared one
 *     on every rank       embedding, norms: a step reads a row of the one, and all of the others
 *
 * A part of K holds whole units, and units that share a block of the matrix's dtype count as one
 * (tensor/ksplit.h): so a rank may have other heads in a layer of another dtype. Bytes are those of
 * the file; panels in memory may be a little more. Plain arithmetic over shapes, no weight is read;
 * any thread. */
#ifndef SHOAL_PLAN_SHARE_SIZE_H
#define SHOAL_PLAN_SHARE_SIZE_H

#include <stdint.h>

#include "base/error.h"
#include "model/hparams.h"
#include "model/weights.h"
#include "plan/shard_plan.h"

struct share_size {
    /* In the layer in which the rank has most. */
    uint32_t n_heads, n_k_heads;
    uint32_t d_ff; /* columns of the dense feed forward, or of the shared expert, which is whole */
    struct index_range kv_heads; /* those that its heads read in any layer; kept in all layers */
    uint64_t attention_bytes;
    uint64_t gdn_bytes;
    uint64_t ffn_bytes; /* dense or shared */
    uint64_t router_bytes;
    uint64_t experts_bytes;
    uint64_t head_bytes;
    uint64_t mtp_bytes;       /* the MTP block's own projection; its layer counts with the others */
    uint64_t embedding_bytes; /* read from the mapped file, whose pages the ranks of a node share */
    uint64_t vectors_bytes;   /* norms and others of each rank */
    uint64_t bytes;           /* of all */
};

/* Of one rank of a plan that was made for this model. A head that is the embedding too counts once
 * where a rank holds all of it. ERR_NOMEM. */
enum status share_size_init(struct share_size *size, const struct hparams *hp,
                            const struct weights *weights, const struct rank_share *share,
                            struct error *err);

#endif
