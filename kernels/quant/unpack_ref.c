/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of the reader by dtype; the readers themselves stand with their families. */
#include "kernels/quant/unpack.h"

#include <assert.h>
#include <string.h>

#include "kernels/quant/i_quants.h"
#include "kernels/quant/k_quants.h"
#include "kernels/quant/small_quants.h"

void quant_unpack_ref(enum dtype dtype, const void *block, int8_t q[BLOCK_SUPER],
                      float scale[QUANT_SUBS_MAX], float min[QUANT_SUBS_MAX]) {
    switch (dtype) {
    case DTYPE_Q4_0:
        q4_0_read(block, q, scale);
        break;
    case DTYPE_Q4_1:
        q4_1_read(block, q, scale, min);
        break;
    case DTYPE_Q5_0:
        q5_0_read(block, q, scale);
        break;
    case DTYPE_Q5_1:
        q5_1_read(block, q, scale, min);
        break;
    case DTYPE_Q8_0:
        q8_0_read(block, q, scale);
        break;
    case DTYPE_Q2_K:
        q2_k_read(block, q, scale, min);
        break;
    case DTYPE_Q3_K:
        q3_k_read(block, q, scale);
        break;
    case DTYPE_Q4_K:
        q4_k_read(block, q, scale, min);
        break;
    case DTYPE_Q5_K:
        q5_k_read(block, q, scale, min);
        break;
    case DTYPE_Q6_K:
        q6_k_read(block, q, scale);
        break;
    case DTYPE_Q8_K:
        q8_k_read(block, q, scale);
        break;
    case DTYPE_IQ1_S:
        iq1_s_read(block, q, scale);
        break;
    case DTYPE_IQ1_M:
        iq1_m_read(block, q, scale);
        break;
    case DTYPE_IQ2_XXS:
        iq2_xxs_read(block, q, scale);
        break;
    case DTYPE_IQ2_XS:
        iq2_xs_read(block, q, scale);
        break;
    case DTYPE_IQ2_S:
        iq2_s_read(block, q, scale);
        break;
    case DTYPE_IQ3_XXS:
        iq3_xxs_read(block, q, scale);
        break;
    case DTYPE_IQ3_S:
        iq3_s_read(block, q, scale);
        break;
    case DTYPE_IQ4_NL:
        iq4_nl_read(block, q, scale);
        break;
    case DTYPE_IQ4_XS:
        iq4_xs_read(block, q, scale);
        break;
    case DTYPE_MXFP4:
        mxfp4_read(block, q, scale);
        break;
    default:
        assert(!"a quantised type with kernels");
    }
}

static void dequantise_halves(enum dtype dtype, const unsigned char *row, uint32_t n, float *out) {
    for (uint32_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, row + 2 * (size_t)i, sizeof half);
        out[i] = dtype == DTYPE_F16 ? f16_to_f32(half) : bf16_to_f32(half);
    }
}

void quant_dequantise_row(enum dtype dtype, const void *row, uint32_t n, float *out) {
    if (dtype == DTYPE_F32) {
        memcpy(out, row, (size_t)n * sizeof *out);
        return;
    }
    if (dtype == DTYPE_F16 || dtype == DTYPE_BF16) {
        dequantise_halves(dtype, row, n, out);
        return;
    }
    const struct dtype_info *info = dtype_info(dtype);
    const struct quant_traits t = quant_traits(dtype);
    const unsigned char *block = row;
    assert(n % info->block_elements == 0);
    for (uint32_t i = 0; i < n; i += info->block_elements, block += info->block_bytes) {
        int8_t q[BLOCK_SUPER];
        float scale[QUANT_SUBS_MAX], min[QUANT_SUBS_MAX];
        quant_unpack_ref(dtype, block, q, scale, min);
        for (uint32_t e = 0; e < info->block_elements; e++) {
            float value = scale[e / t.sub] * (float)q[e];
            out[i + e] = t.has_min ? value + min[e / t.sub] : value; /* -0 stays -0 */
        }
    }
}
