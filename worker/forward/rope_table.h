/* SPDX-License-Identifier: Apache-2.0 */
/* The angles of the rotary embedding: frequencies once per model, cosines and sines once per step.
 *
 *     f_i = base^(-2i / n_rot);  angle = position * f_i in float, as the training code computes it
 * YaRN (Peng et al. 2023, arXiv:2309.00071) divides low frequencies by the factor, leaves high
 * ones, blends between, and scales cos and sin by 1 + 0.1 ln(factor). For text the three axes of
 * the multimodal embedding have equal positions, so the axis of a frequency does not matter. */
#ifndef SHOAL_WORKER_FORWARD_ROPE_TABLE_H
#define SHOAL_WORKER_FORWARD_ROPE_TABLE_H

#include <stdint.h>

#include "model/hparams.h"

/* freq [n_rot / 2] */
void rope_frequencies(const struct hparams *hp, float *freq, float *scale);

/* out [n_rot/2, 2]: scale * cos, scale * sin of position * freq. */
void rope_angles(const float *freq, uint32_t n_rot, float scale, uint32_t position, float *out);

#endif
