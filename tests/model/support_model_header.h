/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of tiny models of every architecture, with single keys or tensors changed: what the tests
 * of model/ feed to the readers. Data is all zero; no value is that of a real model. */
#ifndef SHOAL_TESTS_MODEL_SUPPORT_MODEL_HEADER_H
#define SHOAL_TESTS_MODEL_SUPPORT_MODEL_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "model/gguf_writer.h"
#include "model/hparams.h"

/* The tiny model's numbers. */
enum {
    TINY_LAYERS = 4,
    TINY_D_MODEL = 64,
    TINY_VOCAB = 96,
    TINY_HEADS = 4,
    TINY_KV_HEADS = 2,
    TINY_D_HEAD = 32,
    TINY_K_HEADS = 2,
    TINY_V_HEADS = 4,
    TINY_D_GDN = 16,
    TINY_CONV_DIM = 2 * TINY_K_HEADS * TINY_D_GDN + TINY_V_HEADS * TINY_D_GDN,
    TINY_EXPERTS = 4,
    TINY_TOP_K = 2,
    TINY_D_FF = 96,
    TINY_D_FF_EXPERT = 64,
    TINY_D_FF_SHARED = 32,
};

enum edit_kind {
    EDIT_END,
    EDIT_DROP, /* a key or a tensor */
    EDIT_U32,  /* keys: another value, or a key that was not there */
    EDIT_F32,
    EDIT_BOOL,
    EDIT_STRING,
    EDIT_I32S,  /* up to 8 values */
    EDIT_DTYPE, /* tensors */
    EDIT_SHAPE,
    EDIT_RENAME, /* of tensors, to `string` */
    EDIT_TENSOR, /* one that was not there: shape and dtype */
};

struct edit {
    enum edit_kind kind;
    const char *name; /* a key without "<arch>." in front, a full key, or a tensor */
    uint32_t u32;
    float f32;
    const char *string;
    int32_t i32s[8];
    uint32_t n; /* of i32s, or dimensions of shape */
    uint64_t shape[4];
    enum dtype dtype;
};

struct model_header {
    enum arch arch;
    bool with_mtp;
    bool tied;                /* no output.weight */
    bool fused;               /* ssm_in, ssm_ba, ffn_gate_up_exps */
    const struct edit *edits; /* until EDIT_END; NULL: none */
};

/* Describes the model; the caller has called gguf_writer_init. */
void model_header_describe(struct gguf_writer *w, const struct model_header *header);

/* Header and data of a whole file. */
void model_header_bytes(struct text *out, const struct model_header *header);

#endif
