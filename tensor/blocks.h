/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of the quantised types, byte for byte as ggml stores them in a file.
 *
 * Fields stand in file order and every number is little-endian, as are the machines we run on. A
 * block has no padding and any alignment, because files pack blocks behind each other: the structs
 * are packed, and a pointer to a member is never taken as a pointer to a wider number.
 *
 * What the fields mean is in the readers (kernels/quant/). `d` is the scale of the block, `dmin`
 * the scale of its minima; both are IEEE half precision unless said otherwise. */
#ifndef SHOAL_TENSOR_BLOCKS_H
#define SHOAL_TENSOR_BLOCKS_H

#include <stdint.h>

#define BLOCK_SMALL 32  /* elements of a block of the older types */
#define BLOCK_SUPER 256 /* elements of a super-block of the K and I types */

#define BLOCK_PACKED __attribute__((packed))

/* Blocks of 32. Byte j of `qs` holds element j in its low nibble, element j + 16 in its high. */

struct block_q4_0 {
    uint16_t d;
    uint8_t qs[16];
} BLOCK_PACKED;

struct block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
} BLOCK_PACKED;

struct block_q5_0 {
    uint16_t d;
    uint32_t qh; /* bit e is the fifth bit of element e */
    uint8_t qs[16];
} BLOCK_PACKED;

struct block_q5_1 {
    uint16_t d, m;
    uint32_t qh;
    uint8_t qs[16];
} BLOCK_PACKED;

struct block_q8_0 {
    uint16_t d;
    int8_t qs[32];
} BLOCK_PACKED;

struct block_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
} BLOCK_PACKED;

struct block_mxfp4 {
    uint8_t e; /* the scale is 2^(e - 128) */
    uint8_t qs[16];
} BLOCK_PACKED;

/* Super-blocks of 256, cut into sub-blocks of 16 or 32 with a small integer scale each. */

struct block_q2_k {
    uint8_t scales[16]; /* low nibble: scale, high nibble: minimum */
    uint8_t qs[64];
    uint16_t d, dmin;
} BLOCK_PACKED;

struct block_q3_k {
    uint8_t hmask[32]; /* third bits */
    uint8_t qs[64];
    uint8_t scales[12]; /* 16 scales of 6 bits */
    uint16_t d;
} BLOCK_PACKED;

struct block_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12]; /* 8 scales and 8 minima of 6 bits */
    uint8_t qs[128];
} BLOCK_PACKED;

struct block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32]; /* fifth bits */
    uint8_t qs[128];
} BLOCK_PACKED;

struct block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64]; /* bits 4 and 5 */
    int8_t scales[16];
    uint16_t d;
} BLOCK_PACKED;

struct block_q8_k {
    float d;
    int8_t qs[256];
    int16_t bsums[16]; /* sums of 16 elements; the products do not need them */
} BLOCK_PACKED;

struct block_iq1_s {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8];
} BLOCK_PACKED;

struct block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint16_t scales[4]; /* 3-bit scales; the four top nibbles together are d */
} BLOCK_PACKED;

struct block_iq2_xxs {
    uint16_t d;
    struct {
        uint8_t index[4];
        uint32_t signs; /* 4 times 7 bits of signs, then 4 bits of scale */
    } BLOCK_PACKED sub[8];
} BLOCK_PACKED;

struct block_iq2_xs {
    uint16_t d;
    uint16_t qs[32]; /* 9 bits of index, 7 bits of signs */
    uint8_t scales[8];
} BLOCK_PACKED;

struct block_iq2_s {
    uint16_t d;
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
} BLOCK_PACKED;

struct block_iq3_xxs {
    uint16_t d;
    uint8_t qs[64];
    uint32_t signs[8]; /* as in IQ2_XXS */
} BLOCK_PACKED;

struct block_iq3_s {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
} BLOCK_PACKED;

struct block_iq4_xs {
    uint16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
} BLOCK_PACKED;

_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0");
_Static_assert(sizeof(struct block_q4_1) == 20, "Q4_1");
_Static_assert(sizeof(struct block_q5_0) == 22, "Q5_0");
_Static_assert(sizeof(struct block_q5_1) == 24, "Q5_1");
_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0");
_Static_assert(sizeof(struct block_iq4_nl) == 18, "IQ4_NL");
_Static_assert(sizeof(struct block_mxfp4) == 17, "MXFP4");
_Static_assert(sizeof(struct block_q2_k) == 84, "Q2_K");
_Static_assert(sizeof(struct block_q3_k) == 110, "Q3_K");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K");
_Static_assert(sizeof(struct block_q5_k) == 176, "Q5_K");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K");
_Static_assert(sizeof(struct block_q8_k) == 292, "Q8_K");
_Static_assert(sizeof(struct block_iq1_s) == 50, "IQ1_S");
_Static_assert(sizeof(struct block_iq1_m) == 56, "IQ1_M");
_Static_assert(sizeof(struct block_iq2_xxs) == 66, "IQ2_XXS");
_Static_assert(sizeof(struct block_iq2_xs) == 74, "IQ2_XS");
_Static_assert(sizeof(struct block_iq2_s) == 82, "IQ2_S");
_Static_assert(sizeof(struct block_iq3_xxs) == 98, "IQ3_XXS");
_Static_assert(sizeof(struct block_iq3_s) == 110, "IQ3_S");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "IQ4_XS");

#endif
