/* SPDX-License-Identifier: Apache-2.0 */
/* The codebooks as words of magnitudes: the digits of the lists, each turned into its byte. */
#include "kernels/quant/grids_table.h"

#include "kernels/quant/iq1_digits.h"
#include "kernels/quant/iq2_digits.h"
#include "kernels/quant/iq3_digits.h"

/* Element j of the code c: digit 0, 1, 2 -> 8, 25, 43. */
#define IQ2_DIGIT(c, j) (((uint64_t)(c) >> 2 * (j)) & 3)
#define IQ2_BYTE(c, j)  ((8 + 17 * IQ2_DIGIT(c, j) + IQ2_DIGIT(c, j) / 2) << 8 * (j))
#define IQ2_WORD(c)                                                                                \
    (IQ2_BYTE(c, 0) | IQ2_BYTE(c, 1) | IQ2_BYTE(c, 2) | IQ2_BYTE(c, 3) | IQ2_BYTE(c, 4) |          \
     IQ2_BYTE(c, 5) | IQ2_BYTE(c, 6) | IQ2_BYTE(c, 7))
#define IQ2_ROW(a, b, c, d, e, f, g, h)                                                            \
    IQ2_WORD(a), IQ2_WORD(b), IQ2_WORD(c), IQ2_WORD(d), IQ2_WORD(e), IQ2_WORD(f), IQ2_WORD(g),     \
        IQ2_WORD(h)

/* Digit 0..7 -> 4, 12, 20, 28, 36, 44, 52, 62. */
#define IQ3_DIGIT(c, j)   (((uint32_t)(c) >> 3 * (j)) & 7)
#define IQ3XXS_BYTE(c, j) ((4 + 8 * IQ3_DIGIT(c, j) + 2 * (IQ3_DIGIT(c, j) / 7)) << 8 * (j))
#define IQ3XXS_WORD(c)                                                                             \
    (IQ3XXS_BYTE(c, 0) | IQ3XXS_BYTE(c, 1) | IQ3XXS_BYTE(c, 2) | IQ3XXS_BYTE(c, 3))
#define IQ3XXS_ROW(a, b, c, d, e, f, g, h)                                                         \
    IQ3XXS_WORD(a), IQ3XXS_WORD(b), IQ3XXS_WORD(c), IQ3XXS_WORD(d), IQ3XXS_WORD(e),                \
        IQ3XXS_WORD(f), IQ3XXS_WORD(g), IQ3XXS_WORD(h)

/* Digit 0..7 -> 1, 3, .. 15. */
#define IQ3S_BYTE(c, j) ((1 + 2 * IQ3_DIGIT(c, j)) << 8 * (j))
#define IQ3S_WORD(c)    (IQ3S_BYTE(c, 0) | IQ3S_BYTE(c, 1) | IQ3S_BYTE(c, 2) | IQ3S_BYTE(c, 3))
#define IQ3S_ROW(a, b, c, d, e, f, g, h)                                                           \
    IQ3S_WORD(a), IQ3S_WORD(b), IQ3S_WORD(c), IQ3S_WORD(d), IQ3S_WORD(e), IQ3S_WORD(f),            \
        IQ3S_WORD(g), IQ3S_WORD(h)

/* Digit 0, 1, 2 -> 0, 8, 16. */
#define IQ1_BYTE(c, j) ((((uint64_t)(c) >> 2 * (j)) & 3) << (8 * (j) + 3))
#define IQ1_WORD(c)                                                                                \
    (IQ1_BYTE(c, 0) | IQ1_BYTE(c, 1) | IQ1_BYTE(c, 2) | IQ1_BYTE(c, 3) | IQ1_BYTE(c, 4) |          \
     IQ1_BYTE(c, 5) | IQ1_BYTE(c, 6) | IQ1_BYTE(c, 7))
#define IQ1_ROW(a, b, c, d, e, f, g, h)                                                            \
    IQ1_WORD(a), IQ1_WORD(b), IQ1_WORD(c), IQ1_WORD(d), IQ1_WORD(e), IQ1_WORD(f), IQ1_WORD(g),     \
        IQ1_WORD(h)

const uint64_t iq2xxs_grid[256] = {IQ2XXS_DIGITS(IQ2_ROW)};
const uint64_t iq2xs_grid[512] = {IQ2XS_DIGITS(IQ2_ROW)};
const uint64_t iq2s_grid[1024] = {IQ2S_DIGITS(IQ2_ROW)};
const uint32_t iq3xxs_grid[256] = {IQ3XXS_DIGITS(IQ3XXS_ROW)};
const uint32_t iq3s_grid[512] = {IQ3S_DIGITS(IQ3S_ROW)};
const uint64_t iq1_grid[2048] = {IQ1_DIGITS(IQ1_ROW)};
