/* SPDX-License-Identifier: Apache-2.0 */
/* Random data of a tensor, made as fast as a disk takes it: random bits, then the scale fields of
 * the blocks are overwritten so that the values have the size that a network needs.
 *
 * What stands at a place depends on seed, tensor and place only, so any thread may fill any part.
 */
#ifndef SHOAL_CLI_SYNTH_FILL_H
#define SHOAL_CLI_SYNTH_FILL_H

#include <stdint.h>

#include "tensor/dtype.h"

/* Parts that are filled begin at a multiple of this many blocks (elements, if not quantised). */
#define SYNTH_FILL_BLOCKS 64

enum synth_values {
    VALUES_WEIGHT,  /* mean 0, standard deviation `std` */
    VALUES_NORM,    /* near 1; F32 */
    VALUES_SSM_A,   /* -exp(A_log) with A uniform in 1..16, as delta nets are initialised; F32 */
    VALUES_DT_BIAS, /* softplus^-1 of time steps log-uniform in 0.001..0.1; F32 */
};

struct synth_fill {
    enum dtype dtype;
    enum synth_values values;
    float std;
    uint64_t key; /* of the tensor: synth_fill_key */
};

uint64_t synth_fill_key(uint64_t seed, const char *tensor_name);

/* `out` has room for n_blocks blocks and 8 bytes more. */
void synth_fill(unsigned char *out, const struct synth_fill *fill, uint64_t first_block,
                uint64_t n_blocks);

#endif
