/* SPDX-License-Identifier: Apache-2.0 */
/* Which type each tensor gets: the rules by which published files are quantised, by the place of a
 * tensor in the network. */
#ifndef SHOAL_CLI_SYNTH_RECIPE_H
#define SHOAL_CLI_SYNTH_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "tensor/dtype.h"

/* What a tensor is to a recipe. */
enum tensor_class {
    CLASS_F32, /* norms, router, taps: never quantised */
    CLASS_EMBEDDING,
    CLASS_OUTPUT,
    CLASS_ATTN,      /* attn_q, attn_k, attn_gate */
    CLASS_ATTN_V,    /* attn_v and attn_qkv: exactly one of them in every block */
    CLASS_ATTN_OUT,  /* attn_output */
    CLASS_SSM_OUT,   /* ssm_out */
    CLASS_SSM_GATES, /* ssm_alpha, ssm_beta, ssm_ba */
    CLASS_EXPERTS,   /* gate and up of the routed experts */
    CLASS_EXPERTS_DOWN,
    CLASS_FFN, /* gate and up of a dense FFN or the shared expert */
    CLASS_FFN_DOWN,
    CLASS_OTHER, /* eh_proj */
};

struct synth_recipe; /* a row of a table */

/* NULL if there is none of that name (in any case). */
const struct synth_recipe *synth_recipe_find(const char *name);
void synth_recipe_names(struct text *out); /* appends "q4_k_m, ..." */
const char *synth_recipe_name(const struct synth_recipe *recipe);
uint32_t synth_recipe_file_type(const struct synth_recipe *recipe); /* general.file_type */

/* What the rules of a recipe count. */
struct recipe_place {
    enum tensor_class class;
    uint32_t block_idx, n_blocks; /* of the file, the MTP block included */
    uint32_t down_idx;            /* number of "down" tensors before this one in the file */
    uint64_t row;                 /* elements of a row */
};
enum dtype synth_recipe_dtype(const struct synth_recipe *recipe, const struct recipe_place *place);

#endif
