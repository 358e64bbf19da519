/* SPDX-License-Identifier: Apache-2.0 */
/* Half precision to float for the readers of blocks: by the machine's instruction where the file
 * is compiled for one that has it, else by tensor/f16.h. The values are the same. */
#ifndef SHOAL_KERNELS_QUANT_HALF_H
#define SHOAL_KERNELS_QUANT_HALF_H

#include <stdint.h>

#include "tensor/f16.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

static inline float half_to_f32(uint16_t h) {
#if defined(__F16C__)
    return _cvtsh_ss(h);
#else
    return f16_to_f32(h);
#endif
}

#endif
