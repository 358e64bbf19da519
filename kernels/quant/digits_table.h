/* SPDX-License-Identifier: Apache-2.0 */
/* The codebooks packed for registers: an entry is the digits of its magnitudes (iq1_digits.h and
 * so on), cut into tables of bytes that permutations of bytes can look up. Read-only data. */
#ifndef SHOAL_KERNELS_QUANT_DIGITS_TABLE_H
#define SHOAL_KERNELS_QUANT_DIGITS_TABLE_H

#include <stdalign.h>
#include <stdint.h>

/* [0]: two bits for each of elements 0..3, element 0 lowest; [1]: for elements 4..7. */
extern const alignas(64) uint8_t iq2xxs_digits[2][256];
extern const alignas(64) uint8_t iq2xs_digits[2][512];
extern const alignas(64) uint8_t iq2s_digits[2][1024];

/* Three bits for each of four elements, lowest first: that of element 0 in bits 1 2 4, of element 3
 * in bits 5 6 7, and in bits 0 and 3 the first two of element 1. */
extern const alignas(64) uint8_t iq3xxs_outer[256];
extern const alignas(64) uint8_t iq3s_outer[512];

/* The rest, that is the third bit of element 1 and the three of element 2: of entry e in the high
 * nibble of byte e, of the entry half a codebook further in the low nibble. */
extern const alignas(64) uint8_t iq3xxs_rest[128];
extern const alignas(64) uint8_t iq3s_rest[256];

/* The values of IQ3_XXS plus 62, for each column of an entry by six bits of its byte of digits and
 * signs (iq3_avx512.h). The magnitudes are four times an odd number but for the last. */
extern const alignas(64) uint8_t iq3xxs_values[4][64];

/* Two bits for each of eight elements. The last entry is read when the one before it is read as
 * four bytes, and never used. */
extern const alignas(64) uint16_t iq1_digits[2048 + 1];

#endif
