/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that make a model: read from GGUF metadata, every one checked against its range and
 * against the others, so that nothing behind this header needs to doubt them. */
#ifndef SHOAL_MODEL_HPARAMS_H
#define SHOAL_MODEL_HPARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/gguf.h"

/* Limits, far above every published model and small enough that sizes computed from them fit: the
 * elements of a tensor and the bytes of a cache in 64 bits, heads times their size in 32. Experts
 * and top-k are those of the router's kernel. */
#define HPARAMS_LAYERS_MAX  512
#define HPARAMS_VOCAB_MAX   (1u << 22)
#define HPARAMS_CTX_MAX     (1u << 26)
#define HPARAMS_D_MODEL_MAX (1u << 16)
#define HPARAMS_D_FF_MAX    (1u << 20)
#define HPARAMS_EXPERTS_MAX 4096u
#define HPARAMS_TOP_K_MAX   32u
#define HPARAMS_HEADS_MAX   1024u
#define HPARAMS_D_HEAD_MAX  512u

enum arch {
    ARCH_QWEN35MOE, /* Qwen3.5, 3.6 mixture of experts */
    ARCH_QWEN35,    /* Qwen3.5, 3.6 dense */
    ARCH_QWEN3NEXT, /* Qwen3-Next */
    ARCH_QWEN3MOE,  /* Qwen3 mixture of experts: attention only, no gate, no shared expert */
    ARCH_N,
};

enum mixer { MIXER_GDN, MIXER_ATTENTION };

struct hparams {
    enum arch arch;
    uint32_t n_layers;     /* trunk layers, without the MTP block */
    uint32_t n_mtp_layers; /* 0 or 1; its block index is n_layers */
    uint32_t d_model;
    uint32_t n_vocab; /* rows of the embedding, padding included */
    uint32_t n_ctx_train;
    float norm_eps;
    uint8_t mixers[HPARAMS_LAYERS_MAX];        /* enum mixer of each trunk layer */
    uint32_t n_attention_layers, n_gdn_layers; /* of the trunk */

    /* attention */
    uint32_t n_heads, n_kv_heads, d_head;
    bool attention_gate; /* queries are packed with an output gate, per head [query | gate] */

    /* rotary embedding */
    uint32_t n_rot;
    float rope_base;
    uint32_t rope_sections[4]; /* 0 if plain */
    float yarn_factor;         /* 0: no YaRN */
    uint32_t yarn_n_ctx;       /* original context of YaRN */
    float yarn_attn_factor, yarn_beta_fast, yarn_beta_slow;

    /* Gated DeltaNet; 0 if there are no such layers */
    uint32_t n_k_heads, n_v_heads, d_k, d_v;
    uint32_t conv_dim;    /* 2 * n_k_heads * d_k + n_v_heads * d_v */
    bool v_heads_grouped; /* value heads in checkpoint order (qwen3next), not tiled */

    /* feed forward */
    uint32_t d_ff;                          /* dense width; 0 in MoE models */
    uint32_t n_experts, top_k, d_ff_expert; /* 0 in dense models */
    uint32_t d_ff_shared;                   /* 0: no shared expert */
};

/* ERR_UNSUPPORTED: an architecture we do not know, or a feature we do not compute (text names it);
 * ERR_INPUT: a key is missing, out of range, or contradicts another. */
enum status hparams_read(struct hparams *hp, const struct gguf *gguf, struct error *err);

const char *arch_name(enum arch arch); /* as in general.architecture: "qwen35moe" */
bool arch_from_name(const char *name, enum arch *out);

#endif
