/* SPDX-License-Identifier: Apache-2.0 */
/* Everything but the angle itself is computed in double and rounded once. */
#include "worker/forward/rope_table.h"

#include <math.h>

#define PI 3.14159265358979323846

/* The index of the frequency that turns `turns` times within the original context. */
static double yarn_index(const struct hparams *hp, double turns) {
    return hp->n_rot * log(hp->yarn_n_ctx / (turns * 2 * PI)) / (2 * log(hp->rope_base));
}

void rope_frequencies(const struct hparams *hp, float *freq, float *scale) {
    double factor = hp->yarn_factor, low = 0, high = 0;
    *scale = 1.0f;
    if (factor > 0) {
        low = fmax(floor(yarn_index(hp, hp->yarn_beta_fast)), 0);
        high = fmin(ceil(yarn_index(hp, hp->yarn_beta_slow)), hp->n_rot - 1);
        *scale = (float)(hp->yarn_attn_factor * (1 + 0.1 * log(factor)));
    }
    for (uint32_t i = 0; i < hp->n_rot / 2; i++) {
        double f = pow(hp->rope_base, -2.0 * i / hp->n_rot);
        if (factor > 0) {
            double ramp = fmin(fmax((i - low) / fmax(high - low, 0.001), 0), 1);
            f = f / factor * ramp + f * (1 - ramp);
        }
        freq[i] = (float)f;
    }
}

void rope_angles(const float *freq, uint32_t n_rot, float scale, uint32_t position, float *out) {
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        float angle = (float)position * freq[i];
        out[2 * i] = (float)(scale * cos(angle));
        out[2 * i + 1] = (float)(scale * sin(angle));
    }
}
