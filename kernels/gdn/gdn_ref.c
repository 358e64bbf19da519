/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of gdn.h: token by token, sums in double, the state rounded to float once per
 * token as it is stored. */
#include "kernels/gdn/gdn.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* Column `t` of the projection, where -3..-1 are the state's. */
static const float *conv_column(const struct gdn_conv_args *a, const struct gdn_rows *rows,
                                int64_t t) {
    return t < 0 ? rows->conv + (t + GDN_CONV_TAPS - 1) * a->conv_dim
                 : a->u + (rows->row_begin + t) * a->conv_dim;
}

void gdn_conv_ref(struct kernel_ctx *k, const struct gdn_conv_args *a) {
    (void)k;
    for (uint32_t e = 0; e < a->n_rows_entries; e++) {
        const struct gdn_rows *rows = &a->rows[e];
        for (int64_t t = 0; t < rows->n_rows; t++) {
            float *out = a->out + (rows->row_begin + t) * a->conv_dim;
            for (uint32_t ch = 0; ch < a->conv_dim; ch++) {
                double sum = 0;
                for (int j = 0; j < GDN_CONV_TAPS; j++)
                    sum += (double)a->w[ch * GDN_CONV_TAPS + j] *
                           conv_column(a, rows, t + j - (GDN_CONV_TAPS - 1))[ch];
                out[ch] = (float)(sum * sigmoid(sum));
            }
        }
        /* Oldest first: with fewer than three tokens a later column of the state moves down. */
        for (int j = 0; j < GDN_CONV_TAPS - 1; j++)
            memmove(rows->conv + j * (size_t)a->conv_dim,
                    conv_column(a, rows, (int64_t)rows->n_rows + j - (GDN_CONV_TAPS - 1)),
                    a->conv_dim * sizeof(float));
    }
}

/* x / sqrt(sum x^2 + 1e-6) * scale */
static void normalise(double *out, const float *x, uint32_t n, double scale) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] / sqrt(sum + 1e-6) * scale;
}

/* One token of one value head. `scratch` holds q, k [d_k] and e [d_v]. */
static void step_head(const struct gdn_step_args *a, float *state, uint32_t token, uint32_t head,
                      double *scratch) {
    uint32_t d_k = a->d_k, d_v = a->d_v;
    uint32_t key_head =
        a->order == GDN_HEADS_TILED ? head % a->n_k_heads : head / (a->n_v_heads / a->n_k_heads);
    const float *c = a->c + (size_t)token * (2 * a->n_k_heads * d_k + a->n_v_heads * d_v);
    const float *v = c + (size_t)2 * a->n_k_heads * d_k + (size_t)head * d_v;
    float *o = a->o + ((size_t)token * a->n_v_heads + head) * d_v;
    double *q = scratch, *key = q + d_k, *e = key + d_k;
    normalise(q, c + (size_t)key_head * d_k, d_k, 1 / sqrt(d_k));
    normalise(key, c + (size_t)(a->n_k_heads + key_head) * d_k, d_k, 1);

    size_t gate = token * a->gate_token_stride + head / a->gate_group * a->gate_group_stride +
                  head % a->gate_group;
    double beta = sigmoid((double)a->b[gate]);
    double x = (double)a->a[gate] + a->dt_bias[head];
    double decay = exp(a->a_coef[head] * (x > 20 ? x : log1p(exp(x))));

    for (uint32_t j = 0; j < d_v; j++) {
        double sum = 0;
        for (uint32_t i = 0; i < d_k; i++)
            sum += decay * state[gdn_state_idx(i, j, d_k, d_v)] * key[i];
        e[j] = beta * (v[j] - sum);
    }
    for (uint32_t j = 0; j < d_v; j++) {
        double sum = 0;
        for (uint32_t i = 0; i < d_k; i++) {
            uint64_t at = gdn_state_idx(i, j, d_k, d_v);
            double s = decay * state[at] + key[i] * e[j];
            state[at] = (float)s;
            sum += s * q[i];
        }
        o[j] = (float)sum;
    }
}

void gdn_step_ref(struct kernel_ctx *k, const struct gdn_step_args *a) {
    double *scratch = kernel_scratch(k, 0);
    assert((2 * a->d_k + a->d_v) * sizeof *scratch <= KERNEL_SCRATCH_BYTES);
    for (uint32_t e = 0; e < a->n_rows_entries; e++) {
        const struct gdn_rows *rows = &a->rows[e];
        for (uint32_t r = 0; r < rows->n_rows; r++) {
            for (uint32_t n = 0; n < a->n_v_heads; n++)
                step_head(a, rows->state + (size_t)n * a->d_k * a->d_v, rows->row_begin + r, n,
                          scratch);
        }
    }
}

void gdn_gate_ref(struct kernel_ctx *k, const struct gdn_gate_args *a) {
    (void)k;
    for (uint64_t h = 0; h < (uint64_t)a->n_tokens * a->n_heads; h++) {
        const float *o = a->o + h * a->d, *z = a->z + h * a->d;
        float *out = a->out + h * a->d;
        double sum = 0;
        for (uint32_t i = 0; i < a->d; i++)
            sum += (double)o[i] * o[i];
        double scale = 1 / sqrt(sum / a->d + a->eps);
        for (uint32_t i = 0; i < a->d; i++)
            out[i] = (float)(a->w[i] * (o[i] * scale) * (z[i] * sigmoid((double)z[i])));
    }
}

void gdn_mix_ref(struct kernel_ctx *k, const struct gdn_mix_args *a) {
    gdn_conv_ref(k, &a->conv);
    gdn_step_ref(k, &a->step);
    gdn_gate_ref(k, &a->gate);
}
