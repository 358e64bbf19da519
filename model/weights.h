/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of a model by their place in the network, found in the file, with every shape and
 * type checked. Matrices are views into the mapped file: they die with the gguf. Vectors (norms,
 * conv taps, ssm_a, dt_bias, the shared expert's gate) are copied to the arena, as F32.
 *
 * Any matrix may be of any supported dtype; a vector is F32, F16 or BF16. A struct tensor with
 * n_dims 0 is absent. */
#ifndef SHOAL_MODEL_WEIGHTS_H
#define SHOAL_MODEL_WEIGHTS_H

#include "base/arena.h"
#include "base/error.h"
#include "model/gguf.h"
#include "model/hparams.h"
#include "tensor/tensor.h"

struct attention_weights {
    struct tensor q;              /* [n_heads * d_head * (gate ? 2 : 1), d_model] */
    struct tensor k, v;           /* [n_kv_heads * d_head, d_model] */
    struct tensor output;         /* [d_model, n_heads * d_head] */
    const float *q_norm, *k_norm; /* [d_head] */
};

struct gdn_weights {
    /* Either qkv and z, or (old qwen3next files) qkvz grouped per key head:
     * [q d_k | k d_k | v r*d_v | z r*d_v]. */
    struct tensor qkv;  /* [conv_dim, d_model] */
    struct tensor z;    /* [n_v_heads * d_v, d_model] */
    struct tensor qkvz; /* [conv_dim + n_v_heads * d_v, d_model] */
    /* Either alpha and beta, or ba grouped per key head: [b r | a r]. */
    struct tensor alpha, beta; /* [n_v_heads, d_model] */
    struct tensor ba;          /* [2 * n_v_heads, d_model] */
    struct tensor out;         /* [d_model, n_v_heads * d_v] */
    const float *conv;         /* [conv_dim, 4] */
    const float *a;            /* [n_v_heads], -exp(A_log) */
    const float *dt_bias;      /* [n_v_heads] */
    const float *norm;         /* [d_v] */
};

struct ffn_weights {
    /* dense */
    struct tensor gate, up; /* [d_ff, d_model] */
    struct tensor down;     /* [d_model, d_ff] */
    /* mixture of experts */
    struct tensor router;             /* [n_experts, d_model] */
    struct tensor gate_exps, up_exps; /* [n_experts, d_ff_expert, d_model] */
    struct tensor gate_up_exps; /* or merged: [n_experts, 2 * d_ff_expert, d_model], gate first */
    struct tensor down_exps;    /* [n_experts, d_model, d_ff_expert] */
    struct tensor gate_shared, up_shared; /* [d_ff_shared, d_model] */
    struct tensor down_shared;            /* [d_model, d_ff_shared] */
    const float *shared_gate;             /* [d_model]; NULL: no shared expert */
};

struct layer_weights {
    enum mixer mixer;
    const float *attn_norm, *ffn_norm;  /* [d_model] */
    struct attention_weights attention; /* if mixer is MIXER_ATTENTION */
    struct gdn_weights gdn;             /* if mixer is MIXER_GDN */
    struct ffn_weights ffn;
};

/* The multi-token prediction block: one attention layer between norms (docs: model, MTP). */
struct mtp_weights {
    struct tensor eh_proj;      /* [d_model, 2 * d_model]: embedding half first */
    const float *enorm, *hnorm; /* [d_model] */
    const float *head_norm;     /* [d_model]; the trunk's output norm if the file has none */
    struct layer_weights layer;
};

struct weights {
    const struct gguf *gguf;      /* borrowed: whose data these are views of */
    struct tensor token_embd;     /* [n_vocab, d_model] */
    struct tensor output;         /* [n_vocab, d_model]; token_embd if tied */
    const float *output_norm;     /* [d_model] */
    struct layer_weights *layers; /* [hp.n_layers] */
    struct mtp_weights *mtp;      /* NULL if the file has no MTP block or it was not asked for */
    uint64_t bytes;               /* of all tensors that are bound, once each */
    const uint8_t *is_bound;      /* [gguf->n_tensors] 1: the tensor has a place here */
};

/* ERR_INPUT: a tensor is missing or of the wrong shape; ERR_UNSUPPORTED: a dtype without kernels.
 * The text names tensor, found and expected. `with_mtp` false: the MTP block is left unbound. */
enum status weights_bind(struct weights *w, const struct gguf *gguf, const struct hparams *hp,
                         bool with_mtp, struct arena *arena, struct error *err);

/* A tensor of two dimensions as a kernel's matrix. */
struct matrix tensor_matrix(const struct tensor *tensor);

#endif
