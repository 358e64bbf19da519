/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs are functions of (sequence, token) alone; a step gathers its rows and scatters results. */
#include "tests/kernels/check_gdn.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

/* Keys of the random inputs. */
enum { KEY_TAPS = 1, KEY_A_COEF, KEY_DT_BIAS, KEY_STATE, KEY_CONV_STATE, KEY_TOKEN = 1000 };

uint32_t gdn_case_conv_dim(const struct gdn_case *c) {
    return 2 * c->n_k_heads * c->d_k + c->n_v_heads * c->d_v;
}

static uint32_t sequence_tokens(const struct gdn_case *c, uint32_t sequence) {
    return c->n_tokens - sequence;
}

/* Index of a sequence's first token among all. */
static size_t sequence_begin(const struct gdn_case *c, uint32_t sequence) {
    size_t begin = 0;
    for (uint32_t s = 0; s < sequence; s++)
        begin += sequence_tokens(c, s);
    return begin;
}

/* One step's arrays. A row of `gates` is a of all value heads, then b. */
struct gdn_step_rows {
    float *u, *gates, *conv_out, *step_out;
    struct gdn_rows *entries;
    uint32_t n_entries, n_rows;
};

static void gather(const struct gdn_case *c, struct gdn_result *result, uint32_t done,
                   uint32_t chunk, struct gdn_step_rows *rows) {
    uint32_t conv_dim = gdn_case_conv_dim(c);
    rows->n_entries = rows->n_rows = 0;
    for (uint32_t s = 0; s < c->n_sequences; s++) {
        uint32_t n = sequence_tokens(c, s);
        if (done >= n)
            continue;
        n = n - done < chunk ? n - done : chunk;
        rows->entries[rows->n_entries++] = (struct gdn_rows){
            .conv = result->conv_state + (size_t)s * 3 * conv_dim,
            .state = result->state + (size_t)s * c->n_v_heads * c->d_k * c->d_v,
            .row_begin = rows->n_rows,
            .n_rows = n,
        };
        for (uint32_t i = 0; i < n; i++, rows->n_rows++) {
            uint64_t key = KEY_TOKEN * (s + 1) + (uint64_t)100000 * (done + i);
            fill_random(rows->u + (size_t)rows->n_rows * conv_dim, conv_dim, key, c->size);
            fill_random(rows->gates + (size_t)rows->n_rows * 2 * c->n_v_heads,
                        (size_t)2 * c->n_v_heads, key + 1, 4);
        }
    }
}

static void scatter(const struct gdn_case *c, struct gdn_result *result, uint32_t done,
                    const struct gdn_step_rows *rows) {
    size_t conv_dim = gdn_case_conv_dim(c), d_out = (size_t)c->n_v_heads * c->d_v;
    for (uint32_t e = 0; e < rows->n_entries; e++) {
        const struct gdn_rows *entry = &rows->entries[e];
        /* Sequences end in rising order from the last, so entry e is sequence e. */
        size_t to = sequence_begin(c, e) + done;
        memcpy(result->conv_out + to * conv_dim, rows->conv_out + entry->row_begin * conv_dim,
               entry->n_rows * conv_dim * sizeof(float));
        memcpy(result->step_out + to * d_out, rows->step_out + entry->row_begin * d_out,
               entry->n_rows * d_out * sizeof(float));
    }
}

struct gdn_result gdn_case_run(const struct gdn_case *c, const struct kernels *kernels,
                               struct kernel_ctx *k, uint32_t chunk, struct arena *arena) {
    size_t conv_dim = gdn_case_conv_dim(c), n_tokens = sequence_begin(c, c->n_sequences);
    size_t d_out = (size_t)c->n_v_heads * c->d_v;
    struct gdn_result result = {
        .n_conv_out = n_tokens * conv_dim,
        .n_step_out = n_tokens * d_out,
        .n_conv_state = 3 * c->n_sequences * conv_dim,
        .n_state = c->n_sequences * d_out * c->d_k,
    };
    result.conv_out = floats(arena, result.n_conv_out);
    result.step_out = floats(arena, result.n_step_out);
    result.conv_state = random_floats(arena, result.n_conv_state, KEY_CONV_STATE, c->state_size);
    result.state = random_floats(arena, result.n_state, KEY_STATE, c->state_size);

    size_t n_rows = (size_t)c->n_sequences * (chunk < c->n_tokens ? chunk : c->n_tokens);
    struct gdn_step_rows rows = {
        .u = floats(arena, n_rows * conv_dim),
        .gates = floats(arena, n_rows * 2 * c->n_v_heads),
        .conv_out = floats(arena, n_rows * conv_dim),
        .step_out = floats(arena, n_rows * d_out),
        .entries = arena_array(arena, c->n_sequences, sizeof *rows.entries),
    };
    float *taps = random_floats(arena, conv_dim * GDN_CONV_TAPS, KEY_TAPS, 1);
    float *a_coef = random_floats(arena, c->n_v_heads, KEY_A_COEF, 1);
    float *dt_bias = random_floats(arena, c->n_v_heads, KEY_DT_BIAS, 1);
    for (uint32_t n = 0; n < c->n_v_heads; n++)
        a_coef[n] = -0.02f - 0.5f * (a_coef[n] + 1);

    for (uint32_t done = 0; done < c->n_tokens; done += chunk) {
        gather(c, &result, done, chunk, &rows);
        struct gdn_conv_args conv = {.out = rows.conv_out,
                                     .u = rows.u,
                                     .w = taps,
                                     .rows = rows.entries,
                                     .n_rows_entries = rows.n_entries,
                                     .conv_dim = (uint32_t)conv_dim};
        kernels->gdn_conv(k, &conv);
        struct gdn_step_args step = {.o = rows.step_out,
                                     .c = rows.conv_out,
                                     .a = rows.gates,
                                     .b = rows.gates + c->n_v_heads,
                                     .gate_token_stride = (uint64_t)2 * c->n_v_heads,
                                     .gate_group = c->n_v_heads,
                                     .gate_group_stride = c->n_v_heads,
                                     .a_coef = a_coef,
                                     .dt_bias = dt_bias,
                                     .rows = rows.entries,
                                     .n_rows_entries = rows.n_entries,
                                     .n_k_heads = c->n_k_heads,
                                     .n_v_heads = c->n_v_heads,
                                     .d_k = c->d_k,
                                     .d_v = c->d_v,
                                     .order = c->order};
        kernels->gdn_step(k, &step);
        scatter(c, &result, done, &rows);
    }
    return result;
}

bool gdn_results_same(const struct gdn_result *a, const struct gdn_result *b) {
    return same_bits(a->conv_out, b->conv_out, a->n_conv_out) &&
           same_bits(a->step_out, b->step_out, a->n_step_out) &&
           same_bits(a->conv_state, b->conv_state, a->n_conv_state) &&
           same_bits(a->state, b->state, a->n_state);
}
