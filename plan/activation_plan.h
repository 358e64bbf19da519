/* SPDX-License-Identifier: Apache-2.0 */
/* Where each intermediate result of a step lies in the one block of memory the forward pass owns.
 *
 *     | always | mixer: attention or delta net | feed forward: experts or dense | head |
 *
 * A layer uses either mixer's part, never both, so those overlap; the feed-forward part overlaps
 * the mixers' too. Offsets are in bytes, multiples of 64; sizes follow from the hyperparameters
 * and the largest step, so the plan and the engine cannot disagree. T tokens, R rows of logits. */
#ifndef SHOAL_PLAN_ACTIVATION_PLAN_H
#define SHOAL_PLAN_ACTIVATION_PLAN_H

#include <stdint.h>

#include "model/hparams.h"

#define ACTIVATION_BLOCK_BYTES 52 /* of struct act_block, for 32 elements (asserted in worker/) */

struct activation_plan {
    /* always */
    uint64_t x;       /* [T, d_model] the residual stream */
    uint64_t h;       /* [T, d_model] normed input of a half layer */
    uint64_t mix;     /* [T, d_model] output of a half layer */
    uint64_t final;   /* [T, d_model] after the last norm; kept until the next step */
    uint64_t blocks;  /* [T, widest input / 32] quantised input of a product */
    uint64_t cos_sin; /* [T, n_rot] */
    uint64_t ids;     /* [T] int32 */
    /* attention */
    uint64_t qg;       /* [T, n_heads * d_head * (gate ? 2 : 1)] */
    uint64_t k, v;     /* [T, n_kv_heads * d_head] */
    uint64_t q_rot;    /* [T, n_heads * d_head] */
    uint64_t k_rot;    /* [T, n_kv_heads * d_head] */
    uint64_t attn_out; /* [T, n_heads * d_head] */
    /* delta net */
    uint64_t qkv;     /* [T, conv_dim] */
    uint64_t z;       /* [T, n_v_heads * d_v] */
    uint64_t conv;    /* [T, conv_dim] */
    uint64_t ba;      /* [T, 2 * n_v_heads] */
    uint64_t gdn_out; /* [T, n_v_heads * d_v] */
    uint64_t qkvz;    /* [T, conv_dim + n_v_heads * d_v], qwen3next only */
    /* experts */
    uint64_t router_logits;          /* [T, n_experts] */
    uint64_t router_own;             /* [T, n_experts] at most: this rank's columns, in a group */
    uint64_t expert_ids;             /* [T, top_k] uint32 */
    uint64_t expert_weights;         /* [T, top_k] */
    uint64_t gate_out, up_out;       /* [T * top_k, d_ff_expert] or [T, d_ff] */
    uint64_t hidden_blocks;          /* [T * top_k, d_ff_expert / 32] */
    uint64_t down_out;               /* [T * top_k, d_model] */
    uint64_t order;                  /* [T * (top_k + 1) + 2 * n_experts + 1] uint32 */
    uint64_t shared_gate, shared_up; /* [T, d_ff_shared] */
    uint64_t shared_blocks;          /* [T, d_ff_shared / 32] */
    uint64_t shared_out;             /* [T, d_model] */
    uint64_t shared_logit;           /* [T] */
    /* head */
    uint64_t head_in;     /* [R, d_model] */
    uint64_t head_blocks; /* [R, d_model / 32] */
    uint64_t logits;      /* [R, n_vocab] */
    uint64_t own_logits;  /* [R, n_vocab] at most: this rank's columns, in a group */
    uint64_t all_logits;  /* [R, n_vocab] of all attention groups, in a group */
    /* MTP block */
    uint64_t mtp_in; /* [T, 2 * d_model] */
    uint64_t bytes;  /* of all */
};

/* Flags. */
#define ACTIVATION_WITH_MTP 1u
#define ACTIVATION_IN_GROUP 2u

void activation_plan_compute(struct activation_plan *plan, const struct hparams *hp,
                             uint32_t n_step_tokens, uint32_t n_logit_rows, unsigned flags);

#endif
