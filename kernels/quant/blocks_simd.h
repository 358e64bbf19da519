/* SPDX-License-Identifier: Apache-2.0 */
/* The readers (columns.h) by dtype. Every function is inlined with a dtype that the compiler
 * knows, so that of each switch one case is left. */
#ifndef SHOAL_KERNELS_QUANT_BLOCKS_SIMD_H
#define SHOAL_KERNELS_QUANT_BLOCKS_SIMD_H

#include <assert.h>

#include "kernels/quant/i_scales_simd.h"
#include "kernels/quant/k_quants_simd.h"
#include "kernels/quant/small_quants_simd.h"

#if SIMD_AVX512
#include "kernels/quant/iq1_avx512.h"
#include "kernels/quant/iq2_avx512.h"
#include "kernels/quant/iq3_avx512.h"
#endif

/* How a block falls into units, and how memory is asked for its words. */
struct block_units {
    unsigned n;      /* of a block */
    unsigned n_runs; /* of 32 columns, in a unit */
    enum ahead_cache ahead;
};

#define UNIT_RUNS_MAX 4

static ALWAYS_INLINE struct block_units block_units(enum dtype dtype) {
    switch (dtype) {
    case DTYPE_Q2_K:
    case DTYPE_Q3_K:
    case DTYPE_Q6_K:
        return (struct block_units){.n = 2, .n_runs = 4, .ahead = AHEAD_SECOND_CACHE};
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        return (struct block_units){.n = 4, .n_runs = 2, .ahead = AHEAD_SECOND_CACHE};
    case DTYPE_Q8_K:
    case DTYPE_IQ4_XS:
        return (struct block_units){.n = 8, .n_runs = 1, .ahead = AHEAD_SECOND_CACHE};
    case DTYPE_IQ1_S:
    case DTYPE_IQ1_M:
    case DTYPE_IQ2_XXS:
    case DTYPE_IQ2_XS:
    case DTYPE_IQ2_S:
    case DTYPE_IQ3_XXS:
        return (struct block_units){.n = 8, .n_runs = 1, .ahead = AHEAD_FIRST_CACHE};
    case DTYPE_IQ3_S:
        return (struct block_units){.n = 2, .n_runs = 4, .ahead = AHEAD_FIRST_CACHE};
    default:
        return (struct block_units){.n = 1, .n_runs = 1, .ahead = AHEAD_SECOND_CACHE};
    }
}

/* Whether the four columns of a group lie apart or side by side. */
static ALWAYS_INLINE bool block_columns_apart(enum dtype dtype) {
    return dtype == DTYPE_IQ3_XXS || dtype == DTYPE_IQ3_S;
}

static ALWAYS_INLINE void block_scales(enum dtype dtype, const uint8_t *words, const uint8_t *heads,
                                       float (*scale)[16], float (*min)[16]) {
    switch (dtype) {
    case DTYPE_Q2_K:
        q2_k_panel_scales(words, scale, min);
        break;
    case DTYPE_Q3_K:
        q3_k_panel_scales(words, heads, scale);
        break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        q4_k_panel_scales(words, scale, min);
        break;
    case DTYPE_Q6_K:
        q6_k_panel_scales(words, heads, scale);
        break;
    case DTYPE_Q8_K:
        q8_k_panel_scales(words, scale);
        break;
    case DTYPE_IQ4_XS:
        iq4_xs_panel_scales(words, scale);
        break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
        d_and_m_panel_scales(words, scale, min);
        break;
    case DTYPE_MXFP4:
        mxfp4_panel_scales(heads, scale);
        break;
    case DTYPE_IQ1_S:
        iq1_s_panel_scales(words, heads, scale);
        break;
    case DTYPE_IQ1_M:
        iq1_m_panel_scales(words, scale);
        break;
    case DTYPE_IQ2_XXS:
        iq2_xxs_panel_scales(words, heads, scale);
        break;
    case DTYPE_IQ2_XS:
        iq2_panel_scales(words, 16, heads, scale);
        break;
    case DTYPE_IQ2_S:
        iq2_panel_scales(words, 18, heads, scale);
        break;
    case DTYPE_IQ3_XXS:
        iq3_xxs_panel_scales(words, heads, scale);
        break;
    case DTYPE_IQ3_S:
        iq3_s_panel_scales(words, heads, scale);
        break;
    default: /* Q4_0, Q5_0, Q8_0, IQ4_NL */
        head_panel_scales(heads, scale);
    }
}

static ALWAYS_INLINE void block_columns(enum dtype dtype, const uint8_t *words, unsigned unit,
                                        column_put *put, void *to) {
    switch (dtype) {
    case DTYPE_Q4_0:
        nibble_columns(words, 0, put, to);
        break;
    case DTYPE_Q4_1:
        nibble_columns(words, 1, put, to);
        break;
    case DTYPE_Q5_0:
        five_bits_columns(words, 0, put, to);
        break;
    case DTYPE_Q5_1:
        five_bits_columns(words, 1, put, to);
        break;
    case DTYPE_Q8_0:
        q8_0_columns(words, put, to);
        break;
    case DTYPE_Q2_K:
        q2_k_columns(words, unit, put, to);
        break;
    case DTYPE_Q3_K:
        q3_k_columns(words, unit, put, to);
        break;
    case DTYPE_Q4_K:
        q4_k_columns(words, unit, put, to);
        break;
    case DTYPE_Q5_K:
        q5_k_columns(words, unit, put, to);
        break;
    case DTYPE_Q6_K:
        q6_k_columns(words, unit, put, to);
        break;
    case DTYPE_Q8_K:
        q8_k_columns(words, unit, put, to);
        break;
    case DTYPE_IQ4_NL:
        iq4_columns(words, 0, put, to);
        break;
    case DTYPE_IQ4_XS:
        iq4_columns(words, 2 + 4 * unit, put, to);
        break;
    case DTYPE_MXFP4:
        mxfp4_columns(words, put, to);
        break;
#if SIMD_AVX512
    case DTYPE_IQ1_S:
        iq1_s_columns(words, unit, put, to);
        break;
    case DTYPE_IQ1_M:
        iq1_m_columns(words, unit, put, to);
        break;
    case DTYPE_IQ2_XXS:
        iq2_xxs_columns(words, unit, put, to);
        break;
    case DTYPE_IQ2_XS:
        iq2_xs_columns(words, unit, put, to);
        break;
    case DTYPE_IQ2_S:
        iq2_s_columns(words, unit, put, to);
        break;
    case DTYPE_IQ3_XXS:
        iq3_xxs_columns(words, unit, put, to);
        break;
    case DTYPE_IQ3_S:
        iq3_s_columns(words, unit, put, to);
        break;
#endif
    default:
        assert(!"a type whose columns are read 16 rows at a time");
    }
}

/* Calls `call` with a dtype that its code knows: one copy of it per type, chosen here, in the one
 * list of those that are read 16 rows at a time. False if `dtype` is none of them. */
typedef void dtype_call(enum dtype dtype, const void *args);

static ALWAYS_INLINE bool with_known_dtype(enum dtype dtype, dtype_call *call, const void *args) {
    switch (dtype) {
    case DTYPE_Q4_0:
        call(DTYPE_Q4_0, args);
        return true;
    case DTYPE_Q4_1:
        call(DTYPE_Q4_1, args);
        return true;
    case DTYPE_Q5_0:
        call(DTYPE_Q5_0, args);
        return true;
    case DTYPE_Q5_1:
        call(DTYPE_Q5_1, args);
        return true;
    case DTYPE_Q8_0:
        call(DTYPE_Q8_0, args);
        return true;
    case DTYPE_Q2_K:
        call(DTYPE_Q2_K, args);
        return true;
    case DTYPE_Q3_K:
        call(DTYPE_Q3_K, args);
        return true;
    case DTYPE_Q4_K:
        call(DTYPE_Q4_K, args);
        return true;
    case DTYPE_Q5_K:
        call(DTYPE_Q5_K, args);
        return true;
    case DTYPE_Q6_K:
        call(DTYPE_Q6_K, args);
        return true;
    case DTYPE_Q8_K:
        call(DTYPE_Q8_K, args);
        return true;
    case DTYPE_IQ4_NL:
        call(DTYPE_IQ4_NL, args);
        return true;
    case DTYPE_IQ4_XS:
        call(DTYPE_IQ4_XS, args);
        return true;
    case DTYPE_MXFP4:
        call(DTYPE_MXFP4, args);
        return true;
#if SIMD_AVX512 /* AVX2 reads codebooks row by row (codebook_avx2.h) */
    case DTYPE_IQ1_S:
        call(DTYPE_IQ1_S, args);
        return true;
    case DTYPE_IQ1_M:
        call(DTYPE_IQ1_M, args);
        return true;
    case DTYPE_IQ2_XXS:
        call(DTYPE_IQ2_XXS, args);
        return true;
    case DTYPE_IQ2_XS:
        call(DTYPE_IQ2_XS, args);
        return true;
    case DTYPE_IQ2_S:
        call(DTYPE_IQ2_S, args);
        return true;
    case DTYPE_IQ3_XXS:
        call(DTYPE_IQ3_XXS, args);
        return true;
    case DTYPE_IQ3_S:
        call(DTYPE_IQ3_S, args);
        return true;
#endif
    default:
        return false;
    }
}

#endif
