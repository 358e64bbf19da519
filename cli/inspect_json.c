/* SPDX-License-Identifier: Apache-2.0 */
/* The description for programs: one JSON object with stable keys. */
#include "cli/inspect.h"

#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* Longer arrays (vocabularies) are told by type and length only. */
#define ARRAY_SHOWN_MAX 64

/* The shortest decimal that reads back as the same float: 1e-06, not 9.99999997e-07. */
static void add_float(struct text *out, float value) {
    char digits[32];
    if (!isfinite(value)) {
        text_add_str(out, "null");
        return;
    }
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value)
            break;
    }
    text_add_str(out, digits);
}

static void add_array(struct text *out, const struct gguf_value *value) {
    enum gguf_type type = value->array.type;
    if (value->array.n > ARRAY_SHOWN_MAX) {
        text_printf(out, "{\"type\":\"%s\",\"count\":%" PRIu64 "}", gguf_type_name(type),
                    value->array.n);
        return;
    }
    struct gguf_strings strings = {.rest = value->array.bytes, .n_left = value->array.n};
    struct span string;
    text_add_char(out, '[');
    for (uint64_t i = 0; i < value->array.n; i++) {
        text_add_str(out, i ? "," : "");
        if (type == GGUF_STRING) {
            gguf_strings_next(&strings, &string);
            json_add_string(out, string);
        } else if (type == GGUF_F32) {
            float f;
            memcpy(&f, value->array.bytes.data + 4 * i, sizeof f);
            add_float(out, f);
        } else if (type == GGUF_F64) {
            double f;
            memcpy(&f, value->array.bytes.data + 8 * i, sizeof f);
            json_add_double(out, f);
        } else if (type == GGUF_BOOL) {
            text_add_str(out, gguf_array_int(value, i) ? "true" : "false");
        } else if (type == GGUF_U64) {
            text_printf(out, "%" PRIu64, (uint64_t)gguf_array_int(value, i));
        } else {
            text_printf(out, "%" PRId64, gguf_array_int(value, i));
        }
    }
    text_add_char(out, ']');
}

static void add_value(struct text *out, const struct gguf_value *value) {
    switch (value->type) {
    case GGUF_F32:
        add_float(out, (float)value->f64);
        break;
    case GGUF_F64:
        json_add_double(out, value->f64);
        break;
    case GGUF_BOOL:
        text_add_str(out, value->u64 ? "true" : "false");
        break;
    case GGUF_STRING:
        json_add_string(out, value->string);
        break;
    case GGUF_ARRAY:
        add_array(out, value);
        break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        text_printf(out, "%" PRId64, value->i64);
        break;
    default:
        text_printf(out, "%" PRIu64, value->u64);
        break;
    }
}

static void add_hparams(struct text *out, const struct hparams *hp) {
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"n_layers", hp->n_layers},
        {"n_mtp_layers", hp->n_mtp_layers},
        {"n_attention_layers", hp->n_attention_layers},
        {"n_gdn_layers", hp->n_gdn_layers},
        {"d_model", hp->d_model},
        {"n_vocab", hp->n_vocab},
        {"n_ctx_train", hp->n_ctx_train},
        {"n_heads", hp->n_heads},
        {"n_kv_heads", hp->n_kv_heads},
        {"d_head", hp->d_head},
        {"n_rot", hp->n_rot},
        {"n_k_heads", hp->n_k_heads},
        {"n_v_heads", hp->n_v_heads},
        {"d_k", hp->d_k},
        {"d_v", hp->d_v},
        {"conv_dim", hp->conv_dim},
        {"d_ff", hp->d_ff},
        {"n_experts", hp->n_experts},
        {"top_k", hp->top_k},
        {"d_ff_expert", hp->d_ff_expert},
        {"d_ff_shared", hp->d_ff_shared},
        {"yarn_n_ctx", hp->yarn_n_ctx},
    };
    text_add_char(out, '{');
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        text_printf(out, "\"%s\":%u,", numbers[i].name, numbers[i].value);
    text_add_str(out, "\"norm_eps\":");
    add_float(out, hp->norm_eps);
    text_add_str(out, ",\"rope_base\":");
    add_float(out, hp->rope_base);
    text_add_str(out, ",\"yarn_factor\":");
    add_float(out, hp->yarn_factor);
    text_printf(out, ",\"rope_sections\":[%u,%u,%u,%u]", hp->rope_sections[0], hp->rope_sections[1],
                hp->rope_sections[2], hp->rope_sections[3]);
    text_printf(out, ",\"attention_gate\":%s,\"v_heads_grouped\":%s",
                hp->attention_gate ? "true" : "false", hp->v_heads_grouped ? "true" : "false");
    text_add_str(out, ",\"mixers\":[");
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        text_printf(out, "%s\"%s\"", i ? "," : "",
                    hp->mixers[i] == MIXER_ATTENTION ? "attention" : "gdn");
    }
    text_add_str(out, "]}");
}

static void add_tensors(struct text *out, const struct gguf *gguf) {
    for (uint32_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *t = &gguf->tensors[i];
        text_add_str(out, i ? ",{\"name\":" : "{\"name\":");
        json_add_string(out, t->name);
        text_printf(out, ",\"dtype\":\"%s\",\"shape\":[", dtype_info(t->tensor.dtype)->name);
        for (uint32_t d = 0; d < t->tensor.n_dims; d++)
            text_printf(out, "%s%" PRIu64, d ? "," : "", t->tensor.shape[d]);
        text_printf(out, "],\"bytes\":%" PRIu64 ",\"file\":%u,\"offset\":%" PRIu64 "}",
                    t->tensor.bytes, t->part, t->offset);
    }
}

static void add_needs(struct text *out, const struct inspection *in) {
    text_printf(out,
                "{\"ctx_size\":%u,\"n_seqs\":%u,\"weights_bytes\":%" PRIu64 ",\"kv_bytes\":%" PRIu64
                ",\"state_bytes\":%" PRIu64 ",\"buffers_bytes\":%" PRIu64 "}",
                in->plan.ctx_size, in->plan.n_seqs, in->plan.weights_bytes, in->plan.kv_bytes,
                in->plan.state_bytes, in->plan.buffers_bytes);
}

enum status inspect_json(const struct inspection *in, struct error *err) {
    const struct gguf *gguf = in->gguf;
    struct text out = {0};
    struct span arch = {0};
    gguf_get_string(gguf, "general.architecture", false, &arch, NULL);
    text_add_str(&out, "{\"arch\":");
    json_add_string(&out, arch);
    text_add_str(&out, ",\"files\":[");
    for (uint32_t i = 0; i < gguf->n_parts; i++) {
        text_add_str(&out, i ? ",{\"path\":" : "{\"path\":");
        json_add_string(&out, span_of(gguf->parts[i].path));
        text_printf(&out, ",\"bytes\":%zu}", gguf->parts[i].bytes.len);
    }
    text_printf(&out, "],\"header_hash\":\"%016" PRIx64 "\",\"n_params\":%" PRIu64 ",\"hparams\":",
                gguf_header_hash(gguf), inspect_n_params(gguf));
    if (in->is_model)
        add_hparams(&out, &in->model.hp);
    else
        text_add_str(&out, "null");
    text_add_str(&out, ",\"metadata\":{");
    for (uint32_t i = 0; i < gguf->n_pairs; i++) {
        text_add_str(&out, i ? "," : "");
        json_add_string(&out, gguf->pairs[i].key);
        text_add_char(&out, ':');
        add_value(&out, &gguf->pairs[i].value);
    }
    text_add_str(&out, "},\"tensors\":[");
    add_tensors(&out, gguf);
    text_add_str(&out, "],\"needs\":");
    if (in->is_model)
        add_needs(&out, in);
    else
        text_add_str(&out, "null");
    text_add_str(&out, "}\n");
    enum status status = OK;
    if (out.failed)
        status = error_set(err, ERR_NOMEM, "no memory for the description");
    else
        fwrite(out.data, 1, out.len, in->cli->out);
    text_free(&out);
    return status;
}
