/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: the config.json files published with Qwen3.5, Qwen3-Next-80B-A3B and Qwen3-30B-A3B.
 * `tiny` keeps the head sizes of the family, so that the same kernels run. */
#include "cli/synth_presets.h"

#include <strings.h>

/* What all Qwen3.5 models share. */
#define QWEN35_COMMON                                                                              \
    .n_vocab = 248320, .n_vocab_padding = 243, .n_ctx_train = 262144, .d_head = 256, .n_rot = 64,  \
    .rope_base = 1e7, .n_k_heads = 16, .d_gdn = 128

/* What both Qwen3 models share. */
#define QWEN3_COMMON .n_vocab = 151936, .n_vocab_padding = 267, .n_layers = 48, .d_model = 2048

#define TINY_COMMON                                                                                \
    .name = "tiny", .n_vocab = 1024, .n_vocab_padding = 24, .n_layers = 4, .d_model = 256,         \
    .n_ctx_train = 32768, .n_heads = 4, .n_kv_heads = 2, .rope_base = 1e7, .n_experts = 8,         \
    .top_k = 2, .d_ff_expert = 256

#define TINY_GDN .d_head = 256, .n_rot = 64, .n_k_heads = 2, .n_v_heads = 4, .d_gdn = 128

/* One model is a paragraph: */
/* clang-format off */
static const struct synth_preset presets[] = {
    {TINY_COMMON, TINY_GDN, .arch = ARCH_QWEN35MOE, .d_ff_shared = 256},
    {TINY_COMMON, TINY_GDN, .arch = ARCH_QWEN35, .d_ff = 1024},
    {TINY_COMMON, TINY_GDN, .arch = ARCH_QWEN3NEXT, .d_ff_shared = 256},
    {TINY_COMMON, .arch = ARCH_QWEN3MOE, .d_head = 128, .n_rot = 128},
    {QWEN35_COMMON, .name = "0.8b", .arch = ARCH_QWEN35, .n_layers = 24, .d_model = 1024,
     .n_heads = 8, .n_kv_heads = 2, .n_v_heads = 16, .d_ff = 3584, .tied = true},
    {QWEN35_COMMON, .name = "2b", .arch = ARCH_QWEN35, .n_layers = 24, .d_model = 2048,
     .n_heads = 8, .n_kv_heads = 2, .n_v_heads = 16, .d_ff = 6144, .tied = true},
    {QWEN35_COMMON, .name = "4b", .arch = ARCH_QWEN35, .n_layers = 32, .d_model = 2560,
     .n_heads = 16, .n_kv_heads = 4, .n_v_heads = 32, .d_ff = 9216, .tied = true},
    {QWEN35_COMMON, .name = "9b", .arch = ARCH_QWEN35, .n_layers = 32, .d_model = 4096,
     .n_heads = 16, .n_kv_heads = 4, .n_v_heads = 32, .d_ff = 12288},
    {QWEN35_COMMON, .name = "27b", .arch = ARCH_QWEN35, .n_layers = 64, .d_model = 5120,
     .n_heads = 24, .n_kv_heads = 4, .n_v_heads = 48, .d_ff = 17408},
    {QWEN35_COMMON, .name = "35b-a3b", .arch = ARCH_QWEN35MOE, .n_layers = 40, .d_model = 2048,
     .n_heads = 16, .n_kv_heads = 2, .n_v_heads = 32,
     .n_experts = 256, .top_k = 8, .d_ff_expert = 512, .d_ff_shared = 512},
    {QWEN35_COMMON, .name = "122b-a10b", .arch = ARCH_QWEN35MOE, .n_layers = 48, .d_model = 3072,
     .n_heads = 32, .n_kv_heads = 2, .n_v_heads = 64,
     .n_experts = 256, .top_k = 8, .d_ff_expert = 1024, .d_ff_shared = 1024},
    {QWEN35_COMMON, .name = "397b-a17b", .arch = ARCH_QWEN35MOE, .n_layers = 60, .d_model = 4096,
     .n_heads = 32, .n_kv_heads = 2, .n_v_heads = 64,
     .n_experts = 512, .top_k = 10, .d_ff_expert = 1024, .d_ff_shared = 1024},
    {QWEN3_COMMON, .name = "next-80b-a3b", .arch = ARCH_QWEN3NEXT, .n_ctx_train = 262144,
     .n_heads = 16, .n_kv_heads = 2, .d_head = 256, .n_rot = 64, .rope_base = 1e7,
     .n_k_heads = 16, .n_v_heads = 32, .d_gdn = 128,
     .n_experts = 512, .top_k = 10, .d_ff_expert = 512, .d_ff_shared = 512},
    {QWEN3_COMMON, .name = "30b-a3b", .arch = ARCH_QWEN3MOE, .n_ctx_train = 40960,
     .n_heads = 32, .n_kv_heads = 4, .d_head = 128, .n_rot = 128, .rope_base = 1e6,
     .n_experts = 128, .top_k = 8, .d_ff_expert = 768},
};
/* clang-format on */

#define N_PRESETS (sizeof presets / sizeof presets[0])

const struct synth_preset *synth_preset_find(const char *name, const enum arch *arch) {
    const struct synth_preset *found = NULL;
    for (size_t i = 0; i < N_PRESETS; i++) {
        if (strcasecmp(presets[i].name, name) != 0)
            continue;
        if (!found || (arch && presets[i].arch == *arch))
            found = &presets[i];
    }
    return found;
}

void synth_preset_names(struct text *out) {
    for (size_t i = 0; i < N_PRESETS; i++) {
        if (i > 0 && strcmp(presets[i].name, presets[i - 1].name) == 0)
            continue;
        text_add_str(out, i > 0 ? ", " : "");
        text_add_str(out, presets[i].name);
    }
}
