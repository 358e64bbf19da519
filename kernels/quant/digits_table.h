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

/* Two low bits of the digits of four elements. */
extern const alignas(64) uint8_t iq3xxs_low[256];
extern const alignas(64) uint8_t iq3s_low[512];

/* Their third bits: of entry e in the low nibble of byte e, of the entry half a codebook further in
 * the high nibble. */
extern const alignas(64) uint8_t iq3xxs_third[128];
extern const alignas(64) uint8_t iq3s_third[256];

/* Two bits for each of eight elements. The last entry is read when the one before it is read as
 * four bytes, and never used. */
extern const alignas(64) uint16_t iq1_digits[2048 + 1];

#endif
