/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: the rules of llama.cpp's quantiser as its files show them; the "ud" rows follow tensor
 * listings of published dynamic files, whose exact choices differ from upload to upload. */
#include "cli/synth_recipe.h"

#include <assert.h>
#include <stddef.h>
#include <strings.h>

/* Which blocks get the better type. */
enum better {
    BETTER_NEVER,
    BETTER_MORE_BITS,    /* the first and the last eighth, and every third between */
    BETTER_FIRST_2,      /* blocks */
    BETTER_FIRST_4,      /* blocks */
    BETTER_FIRST_EIGHTH, /* of the blocks */
    BETTER_FIRST_SIXTEENTH,
    BETTER_FIRST_DOWNS, /* as many "down" tensors as an eighth of the blocks, in file order */
};

/* Type names; NULL: as base, and for the classes after `experts` as their first column says. */
struct synth_recipe {
    const char *name;
    uint32_t file_type;
    const char *base;
    const char *output, *embedding;
    const char *attn_v, *attn_v_better; /* where attn_v_rule says */
    enum better attn_v_rule;
    const char *attn_out, *ssm_out, *ssm_gates;
    const char *experts;                    /* gate and up */
    const char *experts_down, *down_better; /* experts_down NULL: as ffn_down */
    const char *ffn_down;
    enum better down_rule;
};

/* One recipe is a paragraph, a plain type a line: */
/* clang-format off */
static const struct synth_recipe recipes[] = {
    {.name = "q4_k_m", .file_type = 15, .base = "Q4_K", .output = "Q6_K",
     .attn_v_better = "Q6_K", .attn_v_rule = BETTER_MORE_BITS,
     .down_better = "Q6_K", .down_rule = BETTER_MORE_BITS},
    {.name = "q4_k_s", .file_type = 14, .base = "Q4_K", .output = "Q6_K",
     .attn_v_better = "Q5_K", .attn_v_rule = BETTER_FIRST_4,
     .down_better = "Q5_K", .down_rule = BETTER_FIRST_EIGHTH},
    {.name = "q5_k_m", .file_type = 17, .base = "Q5_K", .output = "Q6_K",
     .attn_v_better = "Q6_K", .attn_v_rule = BETTER_MORE_BITS,
     .down_better = "Q6_K", .down_rule = BETTER_MORE_BITS},
    {.name = "q3_k_m", .file_type = 12, .base = "Q3_K", .output = "Q6_K", .attn_out = "Q4_K",
     .attn_v = "Q4_K", .attn_v_better = "Q5_K", .attn_v_rule = BETTER_FIRST_2,
     .ffn_down = "Q4_K", .down_better = "Q5_K", .down_rule = BETTER_FIRST_SIXTEENTH},
    {.name = "q2_k", .file_type = 10, .base = "Q2_K", .output = "Q6_K", .attn_out = "Q3_K",
     .attn_v = "Q4_K", .ffn_down = "Q3_K"},
    {.name = "iq4_xs", .file_type = 30, .base = "IQ4_XS", .output = "Q6_K", .attn_v = "Q5_K",
     .down_better = "Q5_K", .down_rule = BETTER_FIRST_EIGHTH},
    {.name = "iq2_xxs", .file_type = 19, .base = "IQ2_XXS", .output = "Q5_K", .embedding = "Q2_K",
     .attn_v = "Q4_K", .down_better = "Q2_K", .down_rule = BETTER_FIRST_DOWNS},
    {.name = "mxfp4", .file_type = 38, .base = "Q8_0", .experts = "MXFP4",
     .experts_down = "MXFP4"},

    {.name = "ud-q6_k_xl", .file_type = 18, .base = "Q8_0", .ssm_gates = "F16", .ssm_out = "F16",
     .experts = "Q6_K", .experts_down = "Q6_K"},
    {.name = "ud-q4_k_xl", .file_type = 15, .base = "Q5_K", .output = "Q6_K", .embedding = "Q4_K",
     .attn_v_better = "Q6_K", .attn_v_rule = BETTER_MORE_BITS,
     .ssm_gates = "F16", .ssm_out = "Q8_0",
     .experts = "Q4_K", .experts_down = "Q5_K", .down_better = "Q6_K",
     .down_rule = BETTER_FIRST_EIGHTH},
    {.name = "ud-q2_k_xl", .file_type = 10, .base = "Q5_K", .output = "Q6_K", .embedding = "Q4_K",
     .ssm_gates = "Q8_0", .ssm_out = "Q6_K",
     .experts = "Q2_K", .experts_down = "Q3_K", .down_better = "Q4_K",
     .down_rule = BETTER_FIRST_EIGHTH},
    {.name = "ud-iq2_xxs", .file_type = 19, .base = "Q5_K", .output = "Q6_K", .embedding = "Q4_K",
     .ssm_gates = "Q8_0", .ssm_out = "Q6_K",
     .experts = "IQ2_XXS", .experts_down = "IQ2_S", .down_better = "IQ3_XXS",
     .down_rule = BETTER_FIRST_EIGHTH},
    {.name = "ud-iq1_m", .file_type = 31, .base = "Q5_K", .output = "Q6_K", .embedding = "Q4_K",
     .ssm_gates = "Q8_0", .ssm_out = "Q6_K",
     .experts = "IQ1_M", .experts_down = "IQ2_XXS", .down_better = "IQ3_XXS",
     .down_rule = BETTER_FIRST_EIGHTH},

    {.name = "f32", .file_type = 0, .base = "F32"},
    {.name = "f16", .file_type = 1, .base = "F16"},
    {.name = "bf16", .file_type = 32, .base = "BF16"},
    {.name = "q8_0", .file_type = 7, .base = "Q8_0"},
    {.name = "q6_k", .file_type = 18, .base = "Q6_K"},
    {.name = "q5_k", .file_type = 16, .base = "Q5_K"},
    {.name = "q4_k", .file_type = 14, .base = "Q4_K"},
    {.name = "q3_k", .file_type = 11, .base = "Q3_K"},
    {.name = "q4_0", .file_type = 2, .base = "Q4_0"},
    {.name = "q4_1", .file_type = 3, .base = "Q4_1"},
    {.name = "q5_0", .file_type = 8, .base = "Q5_0"},
    {.name = "q5_1", .file_type = 9, .base = "Q5_1"},
    {.name = "iq4_nl", .file_type = 25, .base = "IQ4_NL"},
    {.name = "iq3_s", .file_type = 26, .base = "IQ3_S"},
    {.name = "iq3_xxs", .file_type = 23, .base = "IQ3_XXS"},
    {.name = "iq2_s", .file_type = 28, .base = "IQ2_S"},
    {.name = "iq2_xs", .file_type = 20, .base = "IQ2_XS"},
    {.name = "iq1_m", .file_type = 31, .base = "IQ1_M"},
    {.name = "iq1_s", .file_type = 24, .base = "IQ1_S"},
};
/* clang-format on */

#define N_RECIPES (sizeof recipes / sizeof recipes[0])

const struct synth_recipe *synth_recipe_find(const char *name) {
    for (size_t i = 0; i < N_RECIPES; i++) {
        if (strcasecmp(recipes[i].name, name) == 0)
            return &recipes[i];
    }
    return NULL;
}

void synth_recipe_names(struct text *out) {
    for (size_t i = 0; i < N_RECIPES; i++) {
        text_add_str(out, i > 0 ? ", " : "");
        text_add_str(out, recipes[i].name);
    }
}

const char *synth_recipe_name(const struct synth_recipe *recipe) {
    return recipe->name;
}

uint32_t synth_recipe_file_type(const struct synth_recipe *recipe) {
    return recipe->file_type;
}

static bool is_better(enum better rule, const struct recipe_place *place) {
    uint32_t i = place->block_idx, n = place->n_blocks;
    switch (rule) {
    case BETTER_NEVER:
        return false;
    case BETTER_MORE_BITS:
        return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case BETTER_FIRST_2:
        return i < 2;
    case BETTER_FIRST_4:
        return i < 4;
    case BETTER_FIRST_EIGHTH:
        return i < n / 8;
    case BETTER_FIRST_SIXTEENTH:
        return i < n / 16;
    case BETTER_FIRST_DOWNS:
        return place->down_idx < n / 8;
    }
    return false;
}

/* The column of the class, NULL for the base type. */
static const char *column(const struct synth_recipe *r, const struct recipe_place *place) {
    bool down_better = is_better(r->down_rule, place);
    switch (place->class) {
    case CLASS_EMBEDDING:
        return r->embedding;
    case CLASS_OUTPUT:
        return r->output;
    case CLASS_ATTN_V:
        return is_better(r->attn_v_rule, place) ? r->attn_v_better : r->attn_v;
    case CLASS_ATTN_OUT:
        return r->attn_out;
    case CLASS_SSM_OUT:
        return r->ssm_out;
    case CLASS_SSM_GATES:
        return r->ssm_gates;
    case CLASS_EXPERTS:
        return r->experts;
    case CLASS_EXPERTS_DOWN:
        if (down_better)
            return r->down_better;
        return r->experts_down ? r->experts_down : r->ffn_down;
    case CLASS_FFN_DOWN:
        /* Recipes with a column for the experts choose their downs, not the shared expert's. */
        return down_better && !r->experts_down ? r->down_better : r->ffn_down;
    default:
        return NULL;
    }
}

/* Rows that are no whole number of blocks get the next type whose blocks are smaller. */
static enum dtype fit_row(enum dtype dtype, uint64_t row) {
    if (row % dtype_info(dtype)->block_elements == 0)
        return dtype;
    if (row % 32 != 0)
        return DTYPE_F16;
    switch (dtype) {
    case DTYPE_Q4_K:
        return DTYPE_Q5_0;
    case DTYPE_Q5_K:
        return DTYPE_Q5_1;
    case DTYPE_Q6_K:
        return DTYPE_Q8_0;
    case DTYPE_Q2_K:
    case DTYPE_Q3_K:
        return DTYPE_Q4_0;
    default:
        return DTYPE_IQ4_NL;
    }
}

enum dtype synth_recipe_dtype(const struct synth_recipe *recipe, const struct recipe_place *place) {
    if (place->class == CLASS_F32)
        return DTYPE_F32;
    const char *name = column(recipe, place);
    enum dtype dtype = DTYPE_F16;
    bool known = dtype_from_name(name ? name : recipe->base, &dtype);
    assert(known);
    (void)known;
    return fit_row(dtype, place->row);
}
