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

/* _low: the two low bits of the digits of the four elements; _high: their third bits in the low
 * nibble, the high nibble is zero. */
extern const alignas(64) uint8_t iq3xxs_low[256], iq3xxs_high[256];
extern const alignas(64) uint8_t iq3s_low[512], iq3s_high[512];

/* Two bits for each of eight elements. The last entry is read when the one before it is read as
 * four bytes, and never used. */
extern const alignas(64) uint16_t iq1_digits[2048 + 1];

#endif
