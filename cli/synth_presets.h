/* SPDX-License-Identifier: Apache-2.0 */
/* The published sizes of the family, as numbers. */
#ifndef SHOAL_CLI_SYNTH_PRESETS_H
#define SHOAL_CLI_SYNTH_PRESETS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "model/hparams.h"

/* 0 where an architecture has no such number. */
struct synth_preset {
    const char *name;
    enum arch arch;
    uint32_t n_vocab, n_vocab_padding; /* rows of the embedding; those at the end without a token */
    uint32_t n_layers, d_model, n_ctx_train;
    uint32_t n_heads, n_kv_heads, d_head, n_rot;
    double rope_base;
    uint32_t n_k_heads, n_v_heads, d_gdn;
    uint32_t d_ff, n_experts, top_k, d_ff_expert, d_ff_shared;
    bool tied;
};

/* NULL if there is none of that name. If `arch` is not NULL, the row of that architecture is
 * preferred among those of the name. */
const struct synth_preset *synth_preset_find(const char *name, const enum arch *arch);

/* Appends "tiny, 0.8b, ...". */
void synth_preset_names(struct text *out);

#endif
