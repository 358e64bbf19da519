/* SPDX-License-Identifier: Apache-2.0 */
/* A table of keys, and who has them. */
#include "cli/synth_shape.h"

#include "cli/spelling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(arch)  (1u << (arch))
#define ALL_ARCHS  (BIT(ARCH_N) - 1)
#define WITH_GDN   (ALL_ARCHS & ~BIT(ARCH_QWEN3MOE))
#define WITH_MOE   (ALL_ARCHS & ~BIT(ARCH_QWEN35))
#define WITH_MROPE (BIT(ARCH_QWEN35) | BIT(ARCH_QWEN35MOE))

static const struct {
    const char *name;
    unsigned archs; /* that have the key */
    bool is_float;
} keys[SYNTH_KEYS_N] = {
    [SYNTH_BLOCK_COUNT] = {"block_count", ALL_ARCHS, false},
    [SYNTH_NEXTN_PREDICT_LAYERS] = {"nextn_predict_layers", ALL_ARCHS, false},
    [SYNTH_CONTEXT_LENGTH] = {"context_length", ALL_ARCHS, false},
    [SYNTH_EMBEDDING_LENGTH] = {"embedding_length", ALL_ARCHS, false},
    [SYNTH_FEED_FORWARD_LENGTH] = {"feed_forward_length", BIT(ARCH_QWEN35), false},
    [SYNTH_HEAD_COUNT] = {"attention.head_count", ALL_ARCHS, false},
    [SYNTH_HEAD_COUNT_KV] = {"attention.head_count_kv", ALL_ARCHS, false},
    [SYNTH_KEY_LENGTH] = {"attention.key_length", ALL_ARCHS, false},
    [SYNTH_VALUE_LENGTH] = {"attention.value_length", ALL_ARCHS, false},
    [SYNTH_RMS_EPSILON] = {"attention.layer_norm_rms_epsilon", ALL_ARCHS, true},
    [SYNTH_ROPE_FREQ_BASE] = {"rope.freq_base", ALL_ARCHS, true},
    [SYNTH_ROPE_DIMENSION_COUNT] = {"rope.dimension_count", ALL_ARCHS, false},
    [SYNTH_ROPE_SCALING_FACTOR] = {"rope.scaling.factor", ALL_ARCHS, true},
    [SYNTH_ROPE_SCALING_ORIGINAL_CONTEXT] = {"rope.scaling.original_context_length", ALL_ARCHS,
                                             false},
    [SYNTH_ROPE_SCALING_ATTN_FACTOR] = {"rope.scaling.yarn_attn_factor", ALL_ARCHS, true},
    [SYNTH_ROPE_SCALING_BETA_FAST] = {"rope.scaling.yarn_beta_fast", ALL_ARCHS, true},
    [SYNTH_ROPE_SCALING_BETA_SLOW] = {"rope.scaling.yarn_beta_slow", ALL_ARCHS, true},
    [SYNTH_FULL_ATTENTION_INTERVAL] = {"full_attention_interval", WITH_GDN, false},
    [SYNTH_SSM_CONV_KERNEL] = {"ssm.conv_kernel", WITH_GDN, false},
    [SYNTH_SSM_STATE_SIZE] = {"ssm.state_size", WITH_GDN, false},
    [SYNTH_SSM_GROUP_COUNT] = {"ssm.group_count", WITH_GDN, false},
    [SYNTH_SSM_TIME_STEP_RANK] = {"ssm.time_step_rank", WITH_GDN, false},
    [SYNTH_SSM_INNER_SIZE] = {"ssm.inner_size", WITH_GDN, false},
    [SYNTH_EXPERT_COUNT] = {"expert_count", WITH_MOE, false},
    [SYNTH_EXPERT_USED_COUNT] = {"expert_used_count", WITH_MOE, false},
    [SYNTH_EXPERT_FEED_FORWARD_LENGTH] = {"expert_feed_forward_length", WITH_MOE, false},
    [SYNTH_EXPERT_SHARED_FEED_FORWARD_LENGTH] = {"expert_shared_feed_forward_length",
                                                 WITH_MOE &WITH_GDN, false},
};

static void set(struct synth_shape *shape, enum synth_key key, double number) {
    shape->values[key].number = number;
    shape->values[key].is_set = true;
}

/* Presets leave at 0 what a model does not have. */
static void set_unless_0(struct synth_shape *shape, enum synth_key key, double number) {
    if (number != 0)
        set(shape, key, number);
}

void synth_shape_init(struct synth_shape *shape, const struct synth_preset *preset,
                      const enum arch *arch) {
    *shape = (struct synth_shape){.name = preset->name,
                                  .arch = arch ? *arch : preset->arch,
                                  .n_vocab = preset->n_vocab,
                                  .n_vocab_padding = preset->n_vocab_padding,
                                  .tied = preset->tied};
    set(shape, SYNTH_BLOCK_COUNT, preset->n_layers);
    set(shape, SYNTH_CONTEXT_LENGTH, preset->n_ctx_train);
    set(shape, SYNTH_EMBEDDING_LENGTH, preset->d_model);
    set(shape, SYNTH_HEAD_COUNT, preset->n_heads);
    set(shape, SYNTH_HEAD_COUNT_KV, preset->n_kv_heads);
    set(shape, SYNTH_KEY_LENGTH, preset->d_head);
    set(shape, SYNTH_RMS_EPSILON, 1e-6);
    set(shape, SYNTH_ROPE_FREQ_BASE, preset->rope_base);
    set(shape, SYNTH_ROPE_DIMENSION_COUNT, preset->n_rot);
    set_unless_0(shape, SYNTH_FEED_FORWARD_LENGTH, preset->d_ff);
    set_unless_0(shape, SYNTH_SSM_STATE_SIZE, preset->d_gdn);
    set_unless_0(shape, SYNTH_SSM_GROUP_COUNT, preset->n_k_heads);
    set_unless_0(shape, SYNTH_SSM_TIME_STEP_RANK, preset->n_v_heads);
    set_unless_0(shape, SYNTH_EXPERT_COUNT, preset->n_experts);
    set_unless_0(shape, SYNTH_EXPERT_USED_COUNT, preset->top_k);
    set_unless_0(shape, SYNTH_EXPERT_FEED_FORWARD_LENGTH, preset->d_ff_expert);
    set_unless_0(shape, SYNTH_EXPERT_SHARED_FEED_FORWARD_LENGTH, preset->d_ff_shared);
}

void synth_shape_set_layers(struct synth_shape *shape, uint32_t n_layers, bool with_mtp) {
    if (n_layers == 0)
        n_layers = (uint32_t)shape->values[SYNTH_BLOCK_COUNT].number;
    set(shape, SYNTH_BLOCK_COUNT, n_layers + with_mtp);
    set_unless_0(shape, SYNTH_NEXTN_PREDICT_LAYERS, with_mtp);
}

void synth_shape_set_vocab(struct synth_shape *shape, uint32_t n_vocab) {
    shape->n_vocab = n_vocab;
    shape->n_vocab_padding = n_vocab / 1024; /* about the share of the published models */
}

static enum status unknown_key(const struct synth_shape *shape, struct span name,
                               struct error *err) {
    struct spelling spelling = {.word = name};
    for (int i = 0; i < SYNTH_KEYS_N; i++) {
        if (keys[i].archs & BIT(shape->arch))
            spelling_offer(&spelling, span_of(keys[i].name));
    }
    return error_set(err, ERR_INPUT, "--set: %s has no key '%.*s'%s%.*s%s", arch_name(shape->arch),
                     (int)(name.len < 60 ? name.len : 60), name.data,
                     spelling.best.len ? "; did you mean '" : "", (int)spelling.best.len,
                     spelling.best.len ? spelling.best.data : "", spelling.best.len ? "'?" : "");
}

enum status synth_shape_set(struct synth_shape *shape, const char *assignment, struct error *err) {
    const char *equals = strchr(assignment, '=');
    if (!equals)
        return error_set(err, ERR_INPUT, "--set: '%.60s' is not KEY=VALUE", assignment);
    struct span name = span_make(assignment, (size_t)(equals - assignment));
    for (int i = 0; i < SYNTH_KEYS_N; i++) {
        if (!span_is(name, keys[i].name) || !(keys[i].archs & BIT(shape->arch)))
            continue;
        char *end;
        double number = strtod(equals + 1, &end);
        bool fits = *end == '\0' && end != equals + 1 && isfinite(number);
        if (!keys[i].is_float)
            fits = fits && number >= 0 && number <= UINT32_MAX && number == floor(number);
        if (!fits) {
            return error_set(err, ERR_INPUT, "--set %s: '%.60s' is not %s", keys[i].name,
                             equals + 1, keys[i].is_float ? "a number" : "a whole number");
        }
        set(shape, (enum synth_key)i, number);
        return OK;
    }
    return unknown_key(shape, name, err);
}

static void set_if_unset(struct synth_shape *shape, enum synth_key key, double number) {
    if (!shape->values[key].is_set)
        set(shape, key, number);
}

/* What follows from other numbers unless somebody says otherwise. */
static void derive(struct synth_shape *shape) {
    set_if_unset(shape, SYNTH_VALUE_LENGTH, shape->values[SYNTH_KEY_LENGTH].number);
    if (shape->values[SYNTH_SSM_STATE_SIZE].is_set) {
        set_if_unset(shape, SYNTH_SSM_CONV_KERNEL, 4);
        set_if_unset(shape, SYNTH_FULL_ATTENTION_INTERVAL, 4);
        set_if_unset(shape, SYNTH_SSM_INNER_SIZE,
                     shape->values[SYNTH_SSM_STATE_SIZE].number *
                         shape->values[SYNTH_SSM_TIME_STEP_RANK].number);
    }
    if (shape->values[SYNTH_ROPE_SCALING_FACTOR].is_set) {
        set_if_unset(shape, SYNTH_ROPE_SCALING_ORIGINAL_CONTEXT,
                     shape->values[SYNTH_CONTEXT_LENGTH].number);
    }
}

enum status synth_shape_finish(struct synth_shape *shape, struct hparams *hp, struct error *err) {
    derive(shape);
    struct gguf_writer w;
    struct text header = {0};
    struct gguf gguf = {0};
    uint64_t d_model = (uint64_t)shape->values[SYNTH_EMBEDDING_LENGTH].number;
    gguf_writer_init(&w);
    gguf_writer_string(&w, "general.architecture", span_of(arch_name(shape->arch)));
    synth_shape_write(shape, &w);
    gguf_writer_tensor(&w, "token_embd.weight", DTYPE_F32, 2,
                       (uint64_t[]){shape->n_vocab, d_model ? d_model : 1});
    enum status status = gguf_writer_header(&w, &header, err);
    if (!status)
        status = gguf_parse(&gguf, shape->name, text_span(&header), true, err);
    if (!status)
        status = hparams_read(hp, &gguf, err);
    if (!status && hp->n_mtp_layers && hp->arch == ARCH_QWEN3MOE) {
        status = error_set(err, ERR_UNSUPPORTED, "%s: qwen3moe has no multi-token prediction",
                           shape->name);
    }
    gguf_close(&gguf);
    text_free(&header);
    gguf_writer_free(&w);
    return status;
}

/* Half the rotated dimensions over three axes, the first ones largest: 32 are 11, 11, 10. */
static void write_sections(struct gguf_writer *w, const char *key, uint32_t n_rot) {
    int32_t half = (int32_t)(n_rot / 2);
    gguf_writer_i32s(w, key, (int32_t[]){(half + 2) / 3, (half + 1) / 3, half / 3, 0}, 4);
}

void synth_shape_write(const struct synth_shape *shape, struct gguf_writer *w) {
    char key[96];
    for (int i = 0; i < SYNTH_KEYS_N; i++) {
        if (!shape->values[i].is_set || !(keys[i].archs & BIT(shape->arch)))
            continue;
        double number = shape->values[i].number;
        snprintf(key, sizeof key, "%s.%s", arch_name(shape->arch), keys[i].name);
        if (keys[i].is_float)
            gguf_writer_f32(w, key, (float)number);
        else
            gguf_writer_u32(w, key, number <= UINT32_MAX ? (uint32_t)number : UINT32_MAX);
    }
    snprintf(key, sizeof key, "%s.rope.dimension_sections", arch_name(shape->arch));
    if (WITH_MROPE & BIT(shape->arch))
        write_sections(w, key, (uint32_t)shape->values[SYNTH_ROPE_DIMENSION_COUNT].number);
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch_name(shape->arch));
    if (shape->values[SYNTH_ROPE_SCALING_FACTOR].is_set)
        gguf_writer_string(w, key, span_of("yarn"));
}
