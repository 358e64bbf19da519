/* SPDX-License-Identifier: Apache-2.0 */
/* `inspect --verify`: what opening has checked, tensors without a place, and a walk over all data
 * for values that are no numbers: floats themselves, and the scales of quantised blocks. */
#include "cli/inspect.h"
#include "cli/progress.h"
#include "cli/table.h"

#include "tensor/blocks.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* Bytes between two looks at the progress bar. */
#define STRIDE_BYTES (4u << 20)

/* Names listed of tensors without a place. */
#define NAMES_MAX 5

static bool half_is_finite(const unsigned char *at) {
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return (half & 0x7c00) != 0x7c00;
}

/* Where the half precision scales of a block stand; the second is NO_SCALE if there is one only. */
#define NO_SCALE UINT16_MAX
static const struct {
    uint16_t first, second;
} scales[DTYPE_N_COMPUTE] = {
    [DTYPE_Q4_0] = {0, NO_SCALE},
    [DTYPE_Q4_1] = {0, offsetof(struct block_q4_1, m)},
    [DTYPE_Q5_0] = {0, NO_SCALE},
    [DTYPE_Q5_1] = {0, offsetof(struct block_q5_1, m)},
    [DTYPE_Q8_0] = {0, NO_SCALE},
    [DTYPE_Q2_K] = {offsetof(struct block_q2_k, d), offsetof(struct block_q2_k, dmin)},
    [DTYPE_Q3_K] = {offsetof(struct block_q3_k, d), NO_SCALE},
    [DTYPE_Q4_K] = {0, offsetof(struct block_q4_k, dmin)},
    [DTYPE_Q5_K] = {0, offsetof(struct block_q5_k, dmin)},
    [DTYPE_Q6_K] = {offsetof(struct block_q6_k, d), NO_SCALE},
    [DTYPE_IQ1_S] = {0, NO_SCALE},
    [DTYPE_IQ2_XXS] = {0, NO_SCALE},
    [DTYPE_IQ2_XS] = {0, NO_SCALE},
    [DTYPE_IQ2_S] = {0, NO_SCALE},
    [DTYPE_IQ3_XXS] = {0, NO_SCALE},
    [DTYPE_IQ3_S] = {0, NO_SCALE},
    [DTYPE_IQ4_NL] = {0, NO_SCALE},
    [DTYPE_IQ4_XS] = {0, NO_SCALE},
};

static bool block_is_finite(enum dtype dtype, const unsigned char *block) {
    uint32_t bits;
    uint16_t word;
    switch (dtype) {
    case DTYPE_F32:
    case DTYPE_Q8_K: /* begins with a whole float */
        memcpy(&bits, block, sizeof bits);
        return (bits & 0x7f800000u) != 0x7f800000u;
    case DTYPE_F16:
        return half_is_finite(block);
    case DTYPE_BF16:
        memcpy(&word, block, sizeof word);
        return (word & 0x7f80) != 0x7f80;
    case DTYPE_MXFP4: /* 255 is the format's NaN */
        return block[offsetof(struct block_mxfp4, e)] != 255;
    case DTYPE_IQ1_M: /* d is spread over four top nibbles; its exponent is in the last two */
        return ((block[offsetof(struct block_iq1_m, scales) + 7] & 0x70) != 0x70) ||
               ((block[offsetof(struct block_iq1_m, scales) + 5] & 0xc0) != 0xc0);
    default:
        return half_is_finite(block + scales[dtype].first) &&
               (scales[dtype].second == NO_SCALE || half_is_finite(block + scales[dtype].second));
    }
}

/* The first block that holds no number, n_blocks if all do. */
static uint64_t first_not_finite(const struct tensor *tensor, struct progress *progress,
                                 uint64_t *bytes_done) {
    uint32_t block_bytes = dtype_info(tensor->dtype)->block_bytes;
    uint64_t n_blocks = tensor->bytes / block_bytes, stride = STRIDE_BYTES / block_bytes;
    const unsigned char *data = tensor->data;
    for (uint64_t begin = 0; begin < n_blocks; begin += stride) {
        uint64_t end = begin + stride < n_blocks ? begin + stride : n_blocks;
        for (uint64_t i = begin; i < end; i++) {
            if (!block_is_finite(tensor->dtype, data + i * block_bytes))
                return i;
        }
        *bytes_done += (end - begin) * block_bytes;
        progress_update(progress, *bytes_done);
    }
    return n_blocks;
}

static enum status check_values(const struct inspection *in, uint64_t *bytes_checked,
                                struct error *err) {
    const struct gguf *gguf = in->gguf;
    struct progress progress;
    enum status status = OK;
    uint64_t total = 0;
    for (uint32_t i = 0; i < gguf->n_tensors; i++) {
        if (gguf->tensors[i].tensor.dtype < DTYPE_N_COMPUTE)
            total += gguf->tensors[i].tensor.bytes;
    }
    progress_begin(&progress, in->cli, "Checking values", total, PROGRESS_BYTES);
    for (uint32_t i = 0; i < gguf->n_tensors && !status; i++) {
        const struct gguf_tensor *t = &gguf->tensors[i];
        if (t->tensor.dtype >= DTYPE_N_COMPUTE)
            continue;
        uint32_t block_bytes = dtype_info(t->tensor.dtype)->block_bytes;
        uint64_t block = first_not_finite(&t->tensor, &progress, bytes_checked);
        if (block < t->tensor.bytes / block_bytes) {
            status = error_set(err, ERR_INPUT,
                               "%s: tensor '%.*s': byte %" PRIu64 " of the file: a value of type "
                               "%s is not finite",
                               gguf->parts[t->part].path, (int)t->name.len, t->name.data,
                               t->offset + block * block_bytes, dtype_info(t->tensor.dtype)->name);
        }
    }
    progress_end(&progress);
    return status;
}

static void row(struct table *table, const char *check, const char *result, const char *detail) {
    table_row(table);
    table_string(table, check);
    table_string(table, result);
    table_string(table, detail);
}

/* Tensors that no part of the network uses (a vision tower, say): told, not wrong. */
static void row_of_extra(struct table *table, const struct inspection *in,
                         const struct weights *weights) {
    struct text names = {0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < in->gguf->n_tensors; i++) {
        if (weights->is_bound[i])
            continue;
        n++;
        if (n <= NAMES_MAX) {
            text_add_str(&names, n > 1 ? ", " : ": ");
            text_add(&names, in->gguf->tensors[i].name);
        }
    }
    struct text detail = {0};
    text_printf(&detail, "%u without a place%s%s", n, text_str(&names),
                n > NAMES_MAX ? ", ..." : "");
    row(table, "extra tensors", n ? "note" : "ok", text_str(&detail));
    text_free(&names);
    text_free(&detail);
}

/* Binds once more, the MTP block included: that is checked here, not at every start. */
static enum status check_tensors(struct table *table, const struct inspection *in,
                                 struct error *err) {
    struct arena arena = {0};
    struct weights weights;
    char detail[64];
    enum status status = weights_bind(&weights, in->gguf, &in->model.hp, true, &arena, err);
    if (!status) {
        snprintf(detail, sizeof detail, "%u tensors have the shapes expected", in->gguf->n_tensors);
        row(table, "tensors", "ok", detail);
        row_of_extra(table, in, &weights);
    } else {
        row(table, "tensors", "wrong", err->text);
    }
    arena_free(&arena);
    return status;
}

static enum status verify(struct table *table, const struct inspection *in, struct error *err) {
    char detail[96];
    snprintf(detail, sizeof detail, "%u keys, %u tensors, %u file%s", in->gguf->n_pairs,
             in->gguf->n_tensors, in->gguf->n_parts, in->gguf->n_parts == 1 ? "" : "s");
    row(table, "header", "ok", detail);
    if (!in->is_model) {
        row(table, "model", "wrong", in->why_not.text);
        return error_set(err, in->why_not.status, "%s", in->why_not.text);
    }
    row(table, "hyperparameters", "ok", arch_name(in->model.hp.arch));
    TRY(check_tensors(table, in, err));
    snprintf(detail, sizeof detail, "%u tokens", tokenizer_n_vocab(in->model.tokenizer));
    row(table, "tokenizer", "ok", detail);
    snprintf(detail, sizeof detail, "%s%s", chat_template_name(in->model.chat_template),
             in->model.chat_template_exact ? ", as published" : ", edited or guessed");
    row(table, "chat template", in->model.chat_template_exact ? "ok" : "note", detail);
    uint64_t bytes_checked = 0;
    enum status status = check_values(in, &bytes_checked, err);
    snprintf(detail, sizeof detail, "%" PRIu64 " bytes", bytes_checked);
    row(table, "finite values", status ? "wrong" : "ok", status ? err->text : detail);
    return status;
}

enum status inspect_verify(const struct inspection *in, struct error *err) {
    static const struct table_column columns[] = {
        {"check", "check", false}, {"result", "result", false}, {"detail", "detail", false}};
    struct table table;
    table_open(&table, in->cli->out, table_format_of(in->cli), columns, 3);
    enum status status = verify(&table, in, err);
    enum status written = table_close(&table, status ? NULL : err);
    return status ? status : written;
}
