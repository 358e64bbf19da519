/* SPDX-License-Identifier: Apache-2.0 */
/* The packed codebooks, made from the lists of digits. */
#include "kernels/quant/digits_table.h"

#include "kernels/quant/iq1_digits.h"
#include "kernels/quant/iq2_digits.h"
#include "kernels/quant/iq3_digits.h"

#define WHOLE_ROW(a, b, c, d, e, f, g, h) a, b, c, d, e, f, g, h
#define FIRST(c)                          ((c)&0xff)
#define FIRST_ROW(a, b, c, d, e, f, g, h)                                                          \
    FIRST(a), FIRST(b), FIRST(c), FIRST(d), FIRST(e), FIRST(f), FIRST(g), FIRST(h)
#define SECOND(c) ((c) >> 8)
#define SECOND_ROW(a, b, c, d, e, f, g, h)                                                         \
    SECOND(a), SECOND(b), SECOND(c), SECOND(d), SECOND(e), SECOND(f), SECOND(g), SECOND(h)

/* Four octal digits without their third bits, and those bits alone. */
#define LOW(c) (((c)&3) | ((c) >> 1 & 0xc) | ((c) >> 2 & 0x30) | ((c) >> 3 & 0xc0))
#define LOW_ROW(a, b, c, d, e, f, g, h)                                                            \
    LOW(a), LOW(b), LOW(c), LOW(d), LOW(e), LOW(f), LOW(g), LOW(h)
#define HIGH(c) (((c) >> 2 & 1) | ((c) >> 4 & 2) | ((c) >> 6 & 4) | ((c) >> 8 & 8))
#define HIGH_ROW(a, b, c, d, e, f, g, h)                                                           \
    HIGH(a), HIGH(b), HIGH(c), HIGH(d), HIGH(e), HIGH(f), HIGH(g), HIGH(h)

const alignas(64) uint8_t iq2xxs_digits[2][256] = {{IQ2XXS_DIGITS(FIRST_ROW)},
                                                   {IQ2XXS_DIGITS(SECOND_ROW)}};
const alignas(64) uint8_t iq2xs_digits[2][512] = {{IQ2XS_DIGITS(FIRST_ROW)},
                                                  {IQ2XS_DIGITS(SECOND_ROW)}};
const alignas(64) uint8_t iq2s_digits[2][1024] = {{IQ2S_DIGITS(FIRST_ROW)},
                                                  {IQ2S_DIGITS(SECOND_ROW)}};
const alignas(64) uint8_t iq3xxs_low[256] = {IQ3XXS_DIGITS(LOW_ROW)};
const alignas(64) uint8_t iq3xxs_high[256] = {IQ3XXS_DIGITS(HIGH_ROW)};
const alignas(64) uint8_t iq3s_low[512] = {IQ3S_DIGITS(LOW_ROW)};
const alignas(64) uint8_t iq3s_high[512] = {IQ3S_DIGITS(HIGH_ROW)};
const alignas(64) uint16_t iq1_digits[2048 + 1] = {IQ1_DIGITS(WHOLE_ROW)};
