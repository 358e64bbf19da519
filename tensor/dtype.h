/* SPDX-License-Identifier: Apache-2.0 */
/* The element types of tensors: every ggml type that a GGUF file of the family may hold.
 *
 * A quantised type stores blocks: `block_elements` consecutive elements of a row in `block_bytes`
 * bytes (layouts in tensor/blocks.h). For the others a block is one element. A row is always a
 * whole number of blocks. */
#ifndef SHOAL_TENSOR_DTYPE_H
#define SHOAL_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q8_0,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_Q8_K,
    DTYPE_IQ1_S,
    DTYPE_IQ1_M,
    DTYPE_IQ2_XXS,
    DTYPE_IQ2_XS,
    DTYPE_IQ2_S,
    DTYPE_IQ3_XXS,
    DTYPE_IQ3_S,
    DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,
    DTYPE_MXFP4,
    DTYPE_N_COMPUTE, /* the types above have kernels; those below are only listed and measured */
    DTYPE_NVFP4 = DTYPE_N_COMPUTE,
    DTYPE_TQ1_0,
    DTYPE_TQ2_0,
    DTYPE_Q8_1,
    DTYPE_Q1_0,
    DTYPE_Q2_0,
    DTYPE_I8,
    DTYPE_I16,
    DTYPE_I32,
    DTYPE_I64,
    DTYPE_F64,
    DTYPE_N,
};

struct dtype_info {
    const char *name;        /* as GGUF tools spell it: "Q4_K" */
    uint32_t ggml_id;        /* the number in a file */
    uint32_t block_elements; /* 1, 32, 64, 128 or 256 */
    uint32_t block_bytes;
};

/* dtype < DTYPE_N. */
const struct dtype_info *dtype_info(enum dtype dtype);

/* The type with this number in a GGUF file; false if there is none that we know. */
bool dtype_from_ggml(uint32_t ggml_id, enum dtype *out);

/* The type with this name, in any case ("q4_k"); false if there is none. */
bool dtype_from_name(const char *name, enum dtype *out);

/* Whether elements are stored in blocks with scales (not F32, F16, BF16 or an integer). */
static inline bool dtype_is_quantised(enum dtype dtype) {
    return dtype >= DTYPE_Q4_0 && dtype <= DTYPE_Q2_0;
}

/* Bytes of a row of `n` elements; n must be a multiple of the block. */
static inline uint64_t dtype_row_bytes(enum dtype dtype, uint64_t n) {
    const struct dtype_info *info = dtype_info(dtype);
    return n / info->block_elements * info->block_bytes;
}

#endif
