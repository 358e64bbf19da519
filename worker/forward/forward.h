/* SPDX-License-Identifier: Apache-2.0 */
/* The network of one rank, bound once and run once per step.
 *
 *     embed -> layers: { norm -> mixer -> + ; norm -> feed forward -> + } -> norm -> head
 *
 * Written against the kernel table, so the same code serves every device. forward_bind turns the
 * file's tensors into matrices with their splits of K and checks what kernels rely on; inside a
 * step only assertions remain. Binding needs no memory but the arena's: that of the activations
 * (`memory`, as large as the plan says) is given before the first run, and where weights were
 * loaded (worker/weights/) the matrices are replaced. A step allocates nothing.
 * Owned by the engine thread. */
#ifndef SHOAL_WORKER_FORWARD_FORWARD_H
#define SHOAL_WORKER_FORWARD_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "kernels/kernels.h"
#include "model/hparams.h"
#include "model/weights.h"
#include "plan/activation_plan.h"
#include "tensor/ksplit.h"
#include "worker/cache/kv_cache.h"
#include "worker/cache/state_cache.h"
#include "worker/comm/exchange.h"
#include "worker/forward/cut.h"
#include "worker/forward/observe.h"

/* What this rank of a group holds. */
struct forward_share {
    const struct shard_plan *plan; /* borrowed, outlives the network */
    uint32_t rank_idx;
};

struct bound_attention {
    struct linear q, k, v;
    struct row_parallel output;
    const float *q_norm, *k_norm;
    uint32_t n_heads;    /* of this rank */
    uint32_t first_head; /* of them, counted from the first query head of the rank's KV heads */
    uint32_t kv_layer_idx;
};

struct bound_gdn {
    bool fused_qkvz; /* one grouped projection (old qwen3next files) */
    bool fused_ba;   /* one grouped projection of beta and alpha (qwen3next) */
    struct linear qkv, z, qkvz;
    struct linear alpha, beta, ba;
    struct row_parallel out;
    const float *conv, *a, *dt_bias, *norm;
    uint32_t n_k_heads, n_v_heads, conv_dim; /* of this rank */
    uint32_t state_layer_idx;
};

struct bound_ffn {
    /* dense */
    struct linear gate, up;
    struct row_parallel down;
    /* mixture of experts */
    struct linear router;
    const struct index_range *router_ranges; /* [ranks of the attention group] rows of each */
    struct expert_matrices gate_exps, up_exps, down_exps; /* of this rank's experts */
    struct ksplit experts_whole, experts_down_split;
    bool has_shared;
    struct linear gate_shared, up_shared;
    struct row_parallel down_shared;       /* whole: divided step by step (shared_expert.h) */
    const struct leaf_range *shared_parts; /* [n_tp] how it is divided when there is much to do */
    struct linear shared_gate;
};

struct bound_layer {
    enum mixer mixer;
    uint64_t dense_bytes; /* of the matrices that every step reads whole */
    const float *attn_norm, *ffn_norm;
    struct bound_attention attention;
    struct bound_gdn gdn;
    struct bound_ffn ffn;
};

struct bound_mtp {
    struct linear eh_proj;
    const float *enorm, *hnorm, *head_norm;
    struct bound_layer layer;
};

/* The matrices of a layer that every step reads whole, in the order in which it does; those that
 * the layer lacks have no rows. Between router and shared expert come the experts. The shared
 * expert's gate is not among them: its one row is a vector of the model. */
#define LAYER_LINEARS 18
struct layer_linears {
    struct linear *all[LAYER_LINEARS];
};
struct layer_linears forward_layer_linears(struct bound_layer *layer);

/* The rows of one step, sequence by sequence. */
struct forward_seq {
    uint32_t slot;         /* of the state cache */
    const uint32_t *pages; /* of the KV cache, for all positions up to the last */
    uint32_t row_begin, n_rows;
    uint32_t pos_begin;
};

struct forward {
    const struct hparams *hp;
    const struct kernels *kernels;
    struct kernel_ctx *ctx;
    struct kv_cache *kv;
    struct state_cache *states;
    unsigned char *memory;       /* activations, laid out by plan; 64-byte aligned */
    struct activation_plan plan; /* offsets into memory */
    struct group *group;         /* NULL: alone */
    struct exchange *exchange;   /* of the group, given before the first run */
    uint32_t n_tp, tp_idx; /* ranks of the attention group; 1: nothing is summed or gathered */
    const struct index_range *tp_experts; /* [n_tp] of each of them; NULL alone */
    struct index_range kv_heads;          /* of this rank, in every layer */
    uint32_t n_k_heads_max;     /* key heads of the delta net in the layer that has most */
    struct index_range experts; /* of this rank */
    struct leaf_range buckets;
    struct matrix embedding;
    struct linear head;
    const struct index_range *head_ranges; /* [n_tp] rows of each rank of the attention group */
    const float *output_norm;
    struct bound_layer *layers; /* [hp->n_layers] */
    struct bound_mtp *mtp;      /* NULL: not loaded */
    float *rope_freq;           /* [n_rot / 2] */
    float rope_scale;           /* of cos and sin (YaRN), else 1 */
    struct kv_rows *kv_rows;    /* [n_seqs_max] of the present step */
    struct gdn_rows *gdn_rows;  /* [n_seqs_max] of the present layer */
    const struct forward_seq *seqs;
    uint32_t n_seqs, n_tokens;       /* of the present step */
    const struct observer *observer; /* of the present step; NULL: none */
    uint32_t layer_idx;              /* the layer at work, for the observer */
    struct traffic traffic;          /* of all steps */
};

struct forward_options {
    const struct hparams *hp;
    const struct weights *weights;
    const struct kernels *kernels;
    struct kernel_ctx *ctx;
    struct kv_cache *kv;
    struct state_cache *states;
    struct activation_plan plan;
    uint32_t n_seqs_max;
    struct group *group;        /* NULL: alone */
    struct forward_share share; /* in the group; plan NULL: everything */
};

/* ERR_NOMEM; ERR_UNSUPPORTED: a shape that the kernels do not take (names tensor and shape). */
enum status forward_bind(struct forward *f, const struct forward_options *options,
                         struct arena *arena, struct error *err);

/* Whether experts read the floats of their input, not only its blocks. */
bool forward_reads_floats(const struct forward *f);

/* The trunk over the tokens of `seqs` (ids in row order): the caches move on, and
 * forward_final(f) holds the final-normed state of every row. In a group the calls are collective,
 * each rank gives the sequences of its attention group (maybe none), and ERR_COMM or ERR_CANCELLED
 * say that a rank was lost; alone they cannot fail. */
enum status forward_run(struct forward *f, const struct forward_seq *seqs, uint32_t n_seqs,
                        const int32_t *ids, struct error *err);

/* The MTP block over the same rows; `next_ids[row]` follows the row's token. Reads forward_final
 * and leaves the block's own normed output at forward_mtp_out(f). */
enum status forward_run_mtp(struct forward *f, const int32_t *next_ids, struct error *err);

/* [n_tokens, d_model]; final lives until the next step, mtp_out until the next call. */
const float *forward_final(const struct forward *f);
const float *forward_mtp_out(const struct forward *f);

/* Logits of `n` rows of a [*, d_model] buffer, named by index; at most the plan's R rows. The
 * result [n, n_vocab] lives until the next call. Collective in the attention group. */
enum status forward_head(struct forward *f, const float *states, const uint32_t *rows, uint32_t n,
                         float **logits, struct error *err);

/* ---- shared by the layers' files ---- */

static inline float *forward_floats(const struct forward *f, uint64_t offset) {
    return (float *)(void *)(f->memory + offset);
}

/* x [n_tokens, d] as products read it, with blocks at an offset of the plan, which the operation
 * that makes x fills. */
struct activation forward_blocks(const struct forward *f, uint64_t blocks, const float *x,
                                 uint32_t d);
/* y = W x, to be given to forward_products with others of the same moment. */
struct matmul_args forward_product(const struct linear *linear, const struct activation *x,
                                   float *y, uint64_t y_stride);
void forward_products(struct forward *f, const struct matmul_args *products, uint32_t n);
/* One product alone. */
void forward_linear(struct forward *f, const struct linear *linear, const struct activation *x,
                    float *y, uint64_t y_stride);
/* The products of this rank for a sum over the attention group, at most KSPLIT_PARTS; their results
 * are on their way into `sum`, or where the exchange takes them. */
uint32_t forward_root_products(struct forward *f, const struct row_parallel *w,
                               const struct activation *x, float *sum,
                               struct matmul_args products[KSPLIT_PARTS]);
/* x[n_tokens, d_model] += W in, summed over the attention group. */
enum status forward_add_product(struct forward *f, const struct row_parallel *w,
                                const struct activation *in, float *x, struct error *err);
/* out = norm(x) of all rows of the step, [n_tokens, d_model]; out may be x. */
void forward_norm(struct forward *f, float *out, const float *x, const float *w);
/* norm(x) in the plan's `h`, quantised into its `blocks`: what the first products of a half layer
 * read. */
struct activation forward_normed(struct forward *f, const float *x, const float *w);
/* x += y over n elements. */
void forward_add(struct forward *f, float *x, const float *y, uint64_t n);

/* x[n_tokens, d_model] += mixer(norm(x)), += ffn(norm(x)); errors as forward_run. */
enum status forward_attention_layer(struct forward *f, const struct bound_layer *layer, float *x,
                                    struct error *err);
enum status forward_gdn_layer(struct forward *f, const struct bound_layer *layer, float *x,
                              struct error *err);
enum status forward_ffn_layer(struct forward *f, const struct bound_layer *layer, float *x,
                              struct error *err);

#endif
