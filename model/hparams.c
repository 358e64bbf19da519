/* SPDX-License-Identifier: Apache-2.0 */
/* One function per group of numbers, in the order of struct hparams. A value that the format allows
 * but no kernel computes is ERR_UNSUPPORTED; one that cannot be true is ERR_INPUT. */
#include "model/hparams.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Kernels read rows in steps of this many elements. */
#define WIDTH_MULTIPLE 32
/* The delta net's head sizes. */
#define GDN_WIDTH_MULTIPLE 16

#define CONV_KERNEL      4
#define INTERVAL_DEFAULT 4

#define KEY_MAX 128

static const char *const arch_names[ARCH_N] = {
    [ARCH_QWEN35MOE] = "qwen35moe",
    [ARCH_QWEN35] = "qwen35",
    [ARCH_QWEN3NEXT] = "qwen3next",
    [ARCH_QWEN3MOE] = "qwen3moe",
};

const char *arch_name(enum arch arch) {
    return (unsigned)arch < ARCH_N ? arch_names[arch] : "unknown";
}

bool arch_from_name(const char *name, enum arch *out) {
    for (int i = 0; i < ARCH_N; i++) {
        if (strcmp(arch_names[i], name) == 0) {
            *out = (enum arch)i;
            return true;
        }
    }
    return false;
}

struct reader {
    struct hparams *hp;
    const struct gguf *gguf;
    const char *path;
    uint32_t n_blocks; /* block_count: trunk layers and MTP blocks */
    char key[KEY_MAX]; /* the key read last, for messages */
    struct error *err;
};

/* The full key "<arch>.<suffix>". */
static const char *full_key(struct reader *r, const char *suffix) {
    snprintf(r->key, sizeof r->key, "%s.%s", arch_name(r->hp->arch), suffix);
    return r->key;
}

static enum status refuse(struct reader *r, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An error about the key read last. */
static enum status refuse(struct reader *r, enum status status, const char *format, ...) {
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(r->err, status, "%s: key '%s': %s", r->path, r->key, text);
}

static enum status check_range(struct reader *r, uint64_t found, uint64_t min, uint64_t max) {
    if (found >= min && found <= max)
        return OK;
    return refuse(r, ERR_INPUT, "is %" PRIu64 ", must be %" PRIu64 " to %" PRIu64, found, min, max);
}

static enum status check_multiple(struct reader *r, uint32_t found, uint32_t of) {
    if (found % of == 0)
        return OK;
    return refuse(r, ERR_UNSUPPORTED, "is %u, only multiples of %u are supported", found, of);
}

/* A required integer within min..max. */
static enum status need(struct reader *r, const char *suffix, uint32_t min, uint32_t max,
                        uint32_t *out) {
    TRY(gguf_get_u32(r->gguf, full_key(r, suffix), true, out, r->err));
    return check_range(r, *out, min, max);
}

/* An optional integer: *out keeps its value if the key is absent. */
static enum status want(struct reader *r, const char *suffix, uint32_t min, uint32_t max,
                        uint32_t *out) {
    if (!gguf_find(r->gguf, full_key(r, suffix)))
        return OK;
    return need(r, suffix, min, max, out);
}

static enum status get_float(struct reader *r, const char *suffix, bool required, float min,
                             float max, float *out) {
    if (!required && !gguf_find(r->gguf, full_key(r, suffix)))
        return OK;
    TRY(gguf_get_f32(r->gguf, full_key(r, suffix), true, out, r->err));
    if (!(*out >= min && *out <= max)) {
        return refuse(r, ERR_INPUT, "is %g, must be %g to %g", (double)*out, (double)min,
                      (double)max);
    }
    return OK;
}

/* An array with one integer or bool per layer, the MTP block included or not. NULL in *out if the
 * key is absent or a scalar. */
static enum status layer_array(struct reader *r, const char *suffix,
                               const struct gguf_value **out) {
    const struct gguf_value *value = gguf_find(r->gguf, full_key(r, suffix));
    *out = NULL;
    if (!value || value->type != GGUF_ARRAY)
        return OK;
    enum gguf_type type = value->array.type;
    if (type == GGUF_STRING || type == GGUF_F32 || type == GGUF_F64) {
        return refuse(r, ERR_INPUT, "is an array of %s, must be integers or bools",
                      gguf_type_name(type));
    }
    if (value->array.n != r->hp->n_layers && value->array.n != r->n_blocks) {
        return refuse(r, ERR_INPUT, "has %" PRIu64 " entries, must be %u, one per layer",
                      value->array.n, r->n_blocks);
    }
    *out = value;
    return OK;
}

/* A number of the attention layers, stored once or per layer (then 0 stands at other layers). */
static enum status need_of_attention(struct reader *r, const char *suffix, uint32_t max,
                                     uint32_t *out) {
    const struct gguf_value *array;
    TRY(layer_array(r, suffix, &array));
    if (!array)
        return need(r, suffix, 1, max, out);
    uint32_t first = 0;
    for (uint32_t i = 0; i < r->hp->n_layers; i++) {
        if (r->hp->mixers[i] != MIXER_ATTENTION)
            continue;
        int64_t n = gguf_array_int(array, i);
        if (n < 1 || n > max) {
            return refuse(r, ERR_INPUT,
                          "is %" PRId64 " at layer %u, an attention layer, must be 1 to %u", n, i,
                          max);
        }
        if (first != 0 && (uint32_t)n != first) {
            return refuse(r, ERR_UNSUPPORTED,
                          "is %" PRId64 " at layer %u and %u before; attention layers that differ "
                          "are not supported",
                          n, i, first);
        }
        first = (uint32_t)n;
    }
    if (first == 0)
        return refuse(r, ERR_INPUT, "is given per layer, but no layer is an attention layer");
    *out = first;
    return OK;
}

static enum status read_arch(struct reader *r) {
    struct span name = {0};
    TRY(gguf_get_string(r->gguf, "general.architecture", true, &name, r->err));
    for (int i = 0; i < ARCH_N; i++) {
        if (span_is(name, arch_names[i])) {
            r->hp->arch = (enum arch)i;
            return OK;
        }
    }
    bool printable = name.len > 0 && name.len <= 40;
    for (size_t i = 0; i < name.len && printable; i++)
        printable = name.data[i] > 0x20 && name.data[i] < 0x7f;
    return error_set(r->err, ERR_UNSUPPORTED,
                     "%s: key 'general.architecture': '%.*s' is not supported; supported are "
                     "qwen35moe, qwen35, qwen3next and qwen3moe",
                     r->path, printable ? (int)name.len : 3, printable ? name.data : "...");
}

/* Features of other models under the same keys: absent or one of two values. */
static enum status refuse_features(struct reader *r) {
    static const struct {
        const char *suffix;
        uint32_t allowed[2];
    } integers[] = {
        {"expert_gating_func", {0, 1}}, /* 1: softmax */
        {"expert_group_count", {0, 1}},
        {"leading_dense_block_count", {0, 0}},
        {"attention.sliding_window", {0, 0}},
    };
    static const struct {
        const char *suffix;
        float allowed[2];
    } floats[] = {
        {"expert_weights_scale", {0, 1}}, /* 0: none */
        {"final_logit_softcapping", {0, 0}},
    };
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        uint32_t found = integers[i].allowed[0];
        TRY(want(r, integers[i].suffix, 0, UINT32_MAX, &found));
        if (found != integers[i].allowed[0] && found != integers[i].allowed[1])
            return refuse(r, ERR_UNSUPPORTED, "%u is not supported", found);
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        float found = floats[i].allowed[0];
        TRY(get_float(r, floats[i].suffix, false, -1e30f, 1e30f, &found));
        if (found != floats[i].allowed[0] && found != floats[i].allowed[1])
            return refuse(r, ERR_UNSUPPORTED, "%g is not supported", (double)found);
    }
    bool norm = true;
    TRY(gguf_get_bool(r->gguf, full_key(r, "expert_weights_norm"), &norm, r->err));
    if (!norm)
        return refuse(r, ERR_UNSUPPORTED, "expert weights without normalisation are not supported");
    return OK;
}

static enum status read_layers(struct reader *r) {
    struct hparams *hp = r->hp;
    TRY(need(r, "block_count", 1, HPARAMS_LAYERS_MAX, &r->n_blocks));
    TRY(want(r, "nextn_predict_layers", 0, UINT32_MAX, &hp->n_mtp_layers));
    if (hp->n_mtp_layers > 1)
        return refuse(r, ERR_UNSUPPORTED, "is %u, at most 1 is supported", hp->n_mtp_layers);
    if (hp->n_mtp_layers >= r->n_blocks) {
        return refuse(r, ERR_INPUT, "is %u of %u blocks: no layer is left for the trunk",
                      hp->n_mtp_layers, r->n_blocks);
    }
    hp->n_layers = r->n_blocks - hp->n_mtp_layers;
    TRY(need(r, "context_length", 1, HPARAMS_CTX_MAX, &hp->n_ctx_train));
    TRY(need(r, "embedding_length", WIDTH_MULTIPLE, HPARAMS_D_MODEL_MAX, &hp->d_model));
    TRY(check_multiple(r, hp->d_model, WIDTH_MULTIPLE));
    return get_float(r, "attention.layer_norm_rms_epsilon", true, 1e-12f, 0.1f, &hp->norm_eps);
}

/* Which layers are attention: all of qwen3moe; else by list or by interval. */
static enum status read_mixers(struct reader *r) {
    struct hparams *hp = r->hp;
    uint32_t interval = hp->arch == ARCH_QWEN3MOE ? 1 : INTERVAL_DEFAULT;
    const struct gguf_value *recurrent = NULL;
    if (hp->arch != ARCH_QWEN3MOE) {
        TRY(want(r, "full_attention_interval", 1, UINT32_MAX, &interval));
        TRY(layer_array(r, "attention.recurrent_layers", &recurrent));
    }
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        bool gdn = recurrent ? gguf_array_int(recurrent, i) != 0 : (i + 1) % interval != 0;
        hp->mixers[i] = gdn ? MIXER_GDN : MIXER_ATTENTION;
        hp->n_gdn_layers += gdn;
    }
    hp->n_attention_layers = hp->n_layers - hp->n_gdn_layers;
    return OK;
}

static enum status read_attention(struct reader *r) {
    struct hparams *hp = r->hp;
    hp->attention_gate = hp->arch != ARCH_QWEN3MOE;
    TRY(need_of_attention(r, "attention.head_count", HPARAMS_HEADS_MAX, &hp->n_heads));
    TRY(need_of_attention(r, "attention.head_count_kv", HPARAMS_HEADS_MAX, &hp->n_kv_heads));
    if (hp->n_heads % hp->n_kv_heads != 0) {
        return refuse(r, ERR_INPUT, "is %u, must divide the %u query heads", hp->n_kv_heads,
                      hp->n_heads);
    }
    hp->d_head = hp->d_model / hp->n_heads;
    TRY(want(r, "attention.key_length", 1, HPARAMS_D_HEAD_MAX, &hp->d_head));
    TRY(check_range(r, hp->d_head, 1, HPARAMS_D_HEAD_MAX));
    TRY(check_multiple(r, hp->d_head, WIDTH_MULTIPLE));
    uint32_t value_length = hp->d_head;
    TRY(want(r, "attention.value_length", 1, HPARAMS_D_HEAD_MAX, &value_length));
    if (value_length != hp->d_head) {
        return refuse(r, ERR_UNSUPPORTED,
                      "is %u; other lengths than the keys' %u are not supported", value_length,
                      hp->d_head);
    }
    return OK;
}

static enum status read_yarn(struct reader *r) {
    struct hparams *hp = r->hp;
    struct span type = span_of("none");
    TRY(gguf_get_string(r->gguf, full_key(r, "rope.scaling.type"), false, &type, r->err));
    if (span_is(type, "none"))
        return OK;
    if (!span_is(type, "yarn"))
        return refuse(r, ERR_UNSUPPORTED, "only 'none' and 'yarn' are supported");
    hp->yarn_attn_factor = 1;
    hp->yarn_beta_fast = 32;
    hp->yarn_beta_slow = 1;
    float ext_factor = 1;
    TRY(get_float(r, "rope.scaling.factor", true, 1, 1024, &hp->yarn_factor));
    TRY(need(r, "rope.scaling.original_context_length", 1, HPARAMS_CTX_MAX, &hp->yarn_n_ctx));
    TRY(get_float(r, "rope.scaling.yarn_attn_factor", false, 1e-3f, 1e3f, &hp->yarn_attn_factor));
    TRY(get_float(r, "rope.scaling.yarn_beta_slow", false, 1e-3f, 1e6f, &hp->yarn_beta_slow));
    TRY(get_float(r, "rope.scaling.yarn_beta_fast", false, 1e-3f, 1e6f, &hp->yarn_beta_fast));
    if (hp->yarn_beta_fast < hp->yarn_beta_slow) {
        return refuse(r, ERR_INPUT, "is %g, must be at least yarn_beta_slow, %g",
                      (double)hp->yarn_beta_fast, (double)hp->yarn_beta_slow);
    }
    TRY(get_float(r, "rope.scaling.yarn_ext_factor", false, -1e6f, 1e6f, &ext_factor));
    if (ext_factor != 1 && ext_factor != -1) /* -1: "as YaRN says" */
        return refuse(r, ERR_UNSUPPORTED, "%g is not supported, only 1", (double)ext_factor);
    return OK;
}

static enum status read_rope(struct reader *r) {
    struct hparams *hp = r->hp;
    TRY(get_float(r, "rope.freq_base", true, 1.0001f, 1e15f, &hp->rope_base));
    hp->n_rot = hp->d_head;
    TRY(want(r, "rope.dimension_count", 2, hp->d_head, &hp->n_rot));
    TRY(check_multiple(r, hp->n_rot, WIDTH_MULTIPLE));
    const struct gguf_value *sections = gguf_find(r->gguf, full_key(r, "rope.dimension_sections"));
    bool required = hp->arch == ARCH_QWEN35 || hp->arch == ARCH_QWEN35MOE;
    if (!sections)
        return required ? refuse(r, ERR_INPUT, "is missing") : read_yarn(r);
    if (sections->type != GGUF_ARRAY || sections->array.type == GGUF_STRING ||
        sections->array.type == GGUF_F32 || sections->array.type == GGUF_F64)
        return refuse(r, ERR_INPUT, "must be an array of integers");
    uint64_t n = sections->array.n;
    if (n != 3 && n != 4)
        return refuse(r, ERR_INPUT, "has %" PRIu64 " entries, must be 3 or 4", n);
    int64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        int64_t section = gguf_array_int(sections, i);
        if (section < 0 || section > hp->n_rot / 2) {
            return refuse(r, ERR_INPUT, "has %" PRId64 " at %" PRIu64 ", must be 0 to %u", section,
                          i, hp->n_rot / 2);
        }
        hp->rope_sections[i] = (uint32_t)section;
        sum += section;
    }
    if (sum != hp->n_rot / 2) {
        return refuse(r, ERR_INPUT, "sums to %" PRId64 ", must be %u, half the rotated dimensions",
                      sum, hp->n_rot / 2);
    }
    return read_yarn(r);
}

static enum status read_gdn(struct reader *r) {
    struct hparams *hp = r->hp;
    if (hp->n_gdn_layers == 0)
        return OK;
    uint32_t kernel, inner_size;
    TRY(need(r, "ssm.conv_kernel", 1, UINT32_MAX, &kernel));
    if (kernel != CONV_KERNEL)
        return refuse(r, ERR_UNSUPPORTED, "is %u, only %d is supported", kernel, CONV_KERNEL);
    TRY(need(r, "ssm.state_size", 1, HPARAMS_D_HEAD_MAX, &hp->d_k));
    TRY(check_multiple(r, hp->d_k, GDN_WIDTH_MULTIPLE));
    TRY(need(r, "ssm.group_count", 1, HPARAMS_HEADS_MAX, &hp->n_k_heads));
    TRY(need(r, "ssm.time_step_rank", 1, HPARAMS_HEADS_MAX, &hp->n_v_heads));
    if (hp->n_v_heads % hp->n_k_heads != 0) {
        return refuse(r, ERR_INPUT, "is %u, must be a multiple of the %u key heads", hp->n_v_heads,
                      hp->n_k_heads);
    }
    TRY(need(r, "ssm.inner_size", 1, HPARAMS_HEADS_MAX * HPARAMS_D_HEAD_MAX, &inner_size));
    if (inner_size % hp->n_v_heads != 0) {
        return refuse(r, ERR_INPUT, "is %u, must be a multiple of the %u value heads", inner_size,
                      hp->n_v_heads);
    }
    TRY(check_multiple(r, inner_size, WIDTH_MULTIPLE));
    hp->d_v = inner_size / hp->n_v_heads;
    if (hp->d_v > HPARAMS_D_HEAD_MAX || hp->d_v % GDN_WIDTH_MULTIPLE != 0) {
        return refuse(r, ERR_UNSUPPORTED,
                      "value heads of %u; only multiples of %d up to %u are supported", hp->d_v,
                      GDN_WIDTH_MULTIPLE, HPARAMS_D_HEAD_MAX);
    }
    hp->conv_dim = 2 * hp->n_k_heads * hp->d_k + inner_size;
    bool reordered = hp->arch != ARCH_QWEN3NEXT;
    TRY(gguf_get_bool(r->gguf, full_key(r, "ssm.v_head_reordered"), &reordered, r->err));
    hp->v_heads_grouped = !reordered;
    return OK;
}

static enum status read_experts(struct reader *r) {
    struct hparams *hp = r->hp;
    TRY(need(r, "expert_count", 1, HPARAMS_EXPERTS_MAX, &hp->n_experts));
    uint32_t top_k_max = hp->n_experts < HPARAMS_TOP_K_MAX ? hp->n_experts : HPARAMS_TOP_K_MAX;
    TRY(need(r, "expert_used_count", 1, top_k_max, &hp->top_k));
    TRY(need(r, "expert_feed_forward_length", 1, HPARAMS_D_FF_MAX, &hp->d_ff_expert));
    TRY(check_multiple(r, hp->d_ff_expert, WIDTH_MULTIPLE));
    TRY(want(r, "expert_shared_feed_forward_length", 0, HPARAMS_D_FF_MAX, &hp->d_ff_shared));
    const struct gguf_tensor *up = gguf_find_tensor(r->gguf, "blk.0.ffn_up_shexp.weight");
    if (hp->d_ff_shared == 0 && up) {
        /* Leaving out a shared expert that is there would be silently wrong: its width is in its
         * tensor too. */
        if (up->tensor.n_dims != 2 || up->tensor.shape[0] > HPARAMS_D_FF_MAX)
            return refuse(r, ERR_INPUT, "is missing, and the shared expert's tensor is no matrix");
        hp->d_ff_shared = (uint32_t)up->tensor.shape[0];
    }
    return check_multiple(r, hp->d_ff_shared, WIDTH_MULTIPLE);
}

static enum status read_ffn(struct reader *r) {
    struct hparams *hp = r->hp;
    if (hp->arch != ARCH_QWEN35)
        return read_experts(r);
    TRY(need(r, "feed_forward_length", 1, HPARAMS_D_FF_MAX, &hp->d_ff));
    return check_multiple(r, hp->d_ff, WIDTH_MULTIPLE);
}

/* The embedding's rows, which the list of tokens must not exceed. */
static enum status read_vocabulary(struct reader *r) {
    const struct gguf_tensor *embd = gguf_find_tensor(r->gguf, "token_embd.weight");
    if (!embd)
        return error_set(r->err, ERR_INPUT, "%s: tensor 'token_embd.weight' is missing", r->path);
    const struct tensor *tensor = &embd->tensor;
    if (tensor->n_dims != 2 || tensor->shape[1] != r->hp->d_model ||
        tensor->shape[0] > HPARAMS_VOCAB_MAX) {
        return error_set(r->err, ERR_INPUT,
                         "%s: tensor 'token_embd.weight': has %u dimensions, %" PRIu64
                         " rows of %" PRIu64 ", must be 2, 1 to %u rows of %u",
                         r->path, tensor->n_dims, tensor->shape[0], tensor->shape[1],
                         HPARAMS_VOCAB_MAX, r->hp->d_model);
    }
    r->hp->n_vocab = (uint32_t)tensor->shape[0];
    const struct gguf_value *tokens = gguf_find(r->gguf, "tokenizer.ggml.tokens");
    if (tokens && tokens->type == GGUF_ARRAY && tokens->array.n > r->hp->n_vocab) {
        return error_set(r->err, ERR_INPUT,
                         "%s: key 'tokenizer.ggml.tokens': has %" PRIu64
                         " entries, the embedding has only %u rows",
                         r->path, tokens->array.n, r->hp->n_vocab);
    }
    return OK;
}

enum status hparams_read(struct hparams *hp, const struct gguf *gguf, struct error *err) {
    *hp = (struct hparams){0};
    struct reader r = {.hp = hp, .gguf = gguf, .path = gguf->parts[0].path, .err = err};
    TRY(read_arch(&r));
    TRY(refuse_features(&r));
    TRY(read_layers(&r));
    TRY(read_mixers(&r));
    TRY(read_attention(&r));
    TRY(read_rope(&r));
    TRY(read_gdn(&r));
    TRY(read_ffn(&r));
    return read_vocabulary(&r);
}
