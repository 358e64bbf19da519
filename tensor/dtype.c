/* SPDX-License-Identifier: Apache-2.0 */
/* The table of ggml types: number, block and bytes as in ggml's type list. */
#include "tensor/dtype.h"

#include <assert.h>
#include <stddef.h>
#include <strings.h>

static const struct dtype_info infos[DTYPE_N] = {
    [DTYPE_F32] = {"F32", 0, 1, 4},
    [DTYPE_F16] = {"F16", 1, 1, 2},
    [DTYPE_BF16] = {"BF16", 30, 1, 2},
    [DTYPE_Q4_0] = {"Q4_0", 2, 32, 18},
    [DTYPE_Q4_1] = {"Q4_1", 3, 32, 20},
    [DTYPE_Q5_0] = {"Q5_0", 6, 32, 22},
    [DTYPE_Q5_1] = {"Q5_1", 7, 32, 24},
    [DTYPE_Q8_0] = {"Q8_0", 8, 32, 34},
    [DTYPE_Q2_K] = {"Q2_K", 10, 256, 84},
    [DTYPE_Q3_K] = {"Q3_K", 11, 256, 110},
    [DTYPE_Q4_K] = {"Q4_K", 12, 256, 144},
    [DTYPE_Q5_K] = {"Q5_K", 13, 256, 176},
    [DTYPE_Q6_K] = {"Q6_K", 14, 256, 210},
    [DTYPE_Q8_K] = {"Q8_K", 15, 256, 292},
    [DTYPE_IQ1_S] = {"IQ1_S", 19, 256, 50},
    [DTYPE_IQ1_M] = {"IQ1_M", 29, 256, 56},
    [DTYPE_IQ2_XXS] = {"IQ2_XXS", 16, 256, 66},
    [DTYPE_IQ2_XS] = {"IQ2_XS", 17, 256, 74},
    [DTYPE_IQ2_S] = {"IQ2_S", 22, 256, 82},
    [DTYPE_IQ3_XXS] = {"IQ3_XXS", 18, 256, 98},
    [DTYPE_IQ3_S] = {"IQ3_S", 21, 256, 110},
    [DTYPE_IQ4_NL] = {"IQ4_NL", 20, 32, 18},
    [DTYPE_IQ4_XS] = {"IQ4_XS", 23, 256, 136},
    [DTYPE_MXFP4] = {"MXFP4", 39, 32, 17},
    [DTYPE_NVFP4] = {"NVFP4", 40, 64, 36},
    [DTYPE_TQ1_0] = {"TQ1_0", 34, 256, 54},
    [DTYPE_TQ2_0] = {"TQ2_0", 35, 256, 66},
    [DTYPE_Q8_1] = {"Q8_1", 9, 32, 36},
    [DTYPE_Q1_0] = {"Q1_0", 41, 128, 18},
    [DTYPE_Q2_0] = {"Q2_0", 42, 64, 18},
    [DTYPE_I8] = {"I8", 24, 1, 1},
    [DTYPE_I16] = {"I16", 25, 1, 2},
    [DTYPE_I32] = {"I32", 26, 1, 4},
    [DTYPE_I64] = {"I64", 27, 1, 8},
    [DTYPE_F64] = {"F64", 28, 1, 8},
};

const struct dtype_info *dtype_info(enum dtype dtype) {
    assert((unsigned)dtype < DTYPE_N);
    return &infos[dtype];
}

bool dtype_from_ggml(uint32_t ggml_id, enum dtype *out) {
    for (int i = 0; i < DTYPE_N; i++) {
        if (infos[i].ggml_id == ggml_id) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}

bool dtype_from_name(const char *name, enum dtype *out) {
    for (int i = 0; i < DTYPE_N; i++) {
        if (strcasecmp(infos[i].name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}
