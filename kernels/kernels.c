/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a variant, apart from computing it: one row per variant, poorest first. */
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool ref_runs_here(void) {
    return true;
}

static void fill_ref(struct kernels *k) {
    *k = (struct kernels){
        .name = "ref",
        .exact = 1,
        .activation_quantise = activation_quantise_ref,
        .embed = embed_ref,
        .rmsnorm = rmsnorm_ref,
        .matmul = matmul_ref,
        .rope = rope_ref,
        .kv_append = kv_append_ref,
        .attention = attention_ref,
        .gdn_conv = gdn_conv_ref,
        .gdn_step = gdn_step_ref,
        .gdn_gate = gdn_gate_ref,
        .gdn_mix = gdn_mix_ref,
        .router = router_ref,
        .experts = experts_ref,
        .swiglu = swiglu_ref,
        .add = add_ref,
        .add_shared = add_shared_ref,
    };
}

#if SHOAL_X86
/* Every machine with AVX2 that was ever built has F16C too, and clang 14 has no name for it. */
static bool avx2_runs_here(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static void fill_avx2(struct kernels *k) {
    k->name = "avx2";
    k->exact = 0;
    k->activation_quantise = activation_quantise_avx2;
    k->rmsnorm = rmsnorm_avx2;
    k->matmul = matmul_avx2;
    k->rope = rope_avx2;
    k->attention = attention_avx2;
    k->gdn_conv = gdn_conv_avx2;
    k->gdn_step = gdn_step_avx2;
    k->gdn_gate = gdn_gate_avx2;
    k->gdn_mix = gdn_mix_avx2;
    k->experts = experts_avx2;
    k->swiglu = swiglu_avx2;
    k->add = add_avx2;
    k->add_shared = add_shared_avx2;
}

/* Ice Lake, Zen 4 and later. Their predecessors with VNNI alone run avx2: the readers of codebooks
 * rest on permutations of bytes (VBMI), choices of bits (BITALG) and products of bits (GFNI). */
static bool avx512_runs_here(void) {
    return avx2_runs_here() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bitalg") &&
           __builtin_cpu_supports("gfni");
}

static void fill_avx512(struct kernels *k) {
    k->name = "avx512";
    k->exact = 0;
    k->activation_quantise = activation_quantise_avx512;
    k->rmsnorm = rmsnorm_avx512;
    k->matmul = matmul_avx512;
    k->rope = rope_avx512;
    k->attention = attention_avx512;
    k->gdn_conv = gdn_conv_avx512;
    k->gdn_step = gdn_step_avx512;
    k->gdn_gate = gdn_gate_avx512;
    k->gdn_mix = gdn_mix_avx512;
    k->experts = experts_avx512;
    k->swiglu = swiglu_avx512;
    k->add = add_avx512;
    k->add_shared = add_shared_avx512;
}
#endif

/* A later row is better and needs what the earlier ones need, so a table filled from the top down
 * to the chosen row is complete. */
static const struct variant {
    const char *name;
    bool (*runs_here)(void);
    void (*fill)(struct kernels *k);
} variants[] = {
    {"ref", ref_runs_here, fill_ref},
#if SHOAL_X86
    {"avx2", avx2_runs_here, fill_avx2},
    {"avx512", avx512_runs_here, fill_avx512},
#endif
};
#define N_VARIANTS (sizeof variants / sizeof variants[0])

/* The names of the variants, or of those that this machine runs, as "ref, avx2". */
static void list_names(char *out, size_t out_bytes, bool all) {
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < N_VARIANTS && len < out_bytes; i++) {
        if (all || variants[i].runs_here())
            len += (size_t)snprintf(out + len, out_bytes - len, "%s%s", len ? ", " : "",
                                    variants[i].name);
    }
}

static void fill_up_to(struct kernels *kernels, size_t idx) {
    for (size_t i = 0; i <= idx; i++)
        variants[i].fill(kernels);
}

enum status kernels_init(struct kernels *kernels, const char *name, struct error *err) {
    char names[64];
    if (strcmp(name, "auto") == 0) {
        size_t best = N_VARIANTS - 1;
        while (!variants[best].runs_here())
            best--;
        fill_up_to(kernels, best);
        return OK;
    }
    for (size_t i = 0; i < N_VARIANTS; i++) {
        if (strcmp(name, variants[i].name) != 0)
            continue;
        if (!variants[i].runs_here()) {
            list_names(names, sizeof names, false);
            return error_set(err, ERR_UNSUPPORTED,
                             "kernels '%s' do not run on this machine; it has: %s", name, names);
        }
        fill_up_to(kernels, i);
        return OK;
    }
    list_names(names, sizeof names, true);
    return error_set(err, ERR_INPUT, "no kernels are called '%s'; there are: auto, %s", name,
                     names);
}
