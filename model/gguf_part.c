/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants of the cursor, on which every reader below relies:
 *   1. at <= bytes.len; whatever is taken was inside the file.
 *   2. A count is compared with its limit and with the bytes that remain (at the smallest size an
 *      element can have) before anything is allocated or looped over.
 *   3. `item` names what is being read, so that every message carries file, byte and field. */
#include "model/gguf_part.h"

#include "base/size.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define VERSION_MIN 2
#define VERSION_MAX 3

#define ALIGNMENT_DEFAULT 32
/* As the format asks; it also makes every float of the data section aligned in memory. */
#define ALIGNMENT_MIN 8

/* The least bytes a pair (length, 1 byte of key, type, 1 byte of value) and a tensor info
 * (length, 1 byte of name, n_dims, one dimension, type, offset) can take. */
#define PAIR_BYTES_MIN   (8 + 1 + 4 + 1)
#define TENSOR_BYTES_MIN (8 + 1 + 4 + 8 + 4 + 8)

/* Names are quoted in messages up to this length. */
#define QUOTED_MAX 80

struct cursor {
    const char *path;
    struct span bytes;
    size_t at;
    const char *item_kind; /* "key", "tensor"; NULL: the file's own fields */
    struct span item;
    struct error *err;
};

static enum status fail(const struct cursor *c, enum status status, size_t offset,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

static enum status fail(const struct cursor *c, enum status status, size_t offset,
                        const char *format, ...) {
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!c->item_kind)
        return error_set(c->err, status, "%s: byte %zu: %s", c->path, offset, text);
    int quoted = (int)(c->item.len < QUOTED_MAX ? c->item.len : QUOTED_MAX);
    return error_set(c->err, status, "%s: byte %zu: %s '%.*s': %s", c->path, offset, c->item_kind,
                     quoted, c->item.data, text);
}

static size_t remaining(const struct cursor *c) {
    return c->bytes.len - c->at;
}

/* The next n bytes as a view; empty on failure. */
static enum status take(struct cursor *c, uint64_t n, const char *what, struct span *out) {
    *out = (struct span){0};
    if (n > remaining(c)) {
        return fail(c, ERR_INPUT, c->at, "%s needs %" PRIu64 " bytes, %zu remain in the file", what,
                    n, remaining(c));
    }
    *out = span_make(c->bytes.data + c->at, (size_t)n);
    c->at += (size_t)n;
    return OK;
}

static enum status take_u32(struct cursor *c, const char *what, uint32_t *out) {
    struct span bytes;
    TRY(take(c, 4, what, &bytes));
    *out = (uint32_t)gguf_little_endian(bytes.data, 4);
    return OK;
}

static enum status take_u64(struct cursor *c, const char *what, uint64_t *out) {
    struct span bytes;
    TRY(take(c, 8, what, &bytes));
    *out = gguf_little_endian(bytes.data, 8);
    return OK;
}

static enum status take_string(struct cursor *c, const char *what, uint64_t max, struct span *out) {
    size_t begin = c->at;
    uint64_t n;
    TRY(take_u64(c, what, &n));
    if (n > remaining(c)) {
        return fail(c, ERR_INPUT, begin, "%s of %" PRIu64 " bytes, %zu remain in the file", what, n,
                    remaining(c));
    }
    if (n > max) {
        return fail(c, ERR_LIMIT, begin, "%s of %" PRIu64 " bytes, at most %" PRIu64, what, n, max);
    }
    return take(c, n, what, out);
}

/* Keys and tensor names stand in messages, in JSON and on terminals: printable ASCII only, as the
 * format asks for keys. */
static enum status take_name(struct cursor *c, const char *what, struct span *out) {
    size_t begin = c->at;
    TRY(take_string(c, what, GGUF_NAME_MAX, out));
    if (out->len == 0)
        return fail(c, ERR_INPUT, begin, "%s is empty", what);
    for (size_t i = 0; i < out->len; i++) {
        unsigned char byte = (unsigned char)out->data[i];
        if (byte < 0x20 || byte > 0x7e) {
            return fail(c, ERR_INPUT, begin, "%s has byte 0x%02x, must be printable ASCII", what,
                        byte);
        }
    }
    return OK;
}

static const uint8_t type_bytes[] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,     [GGUF_U16] = 2,   [GGUF_I16] = 2, [GGUF_U32] = 4,
    [GGUF_I32] = 4, [GGUF_F32] = 4,    [GGUF_BOOL] = 1,  [GGUF_U64] = 8, [GGUF_I64] = 8,
    [GGUF_F64] = 8, [GGUF_STRING] = 8, [GGUF_ARRAY] = 0,
};

static enum status take_type(struct cursor *c, const char *what, enum gguf_type *out) {
    size_t begin = c->at;
    uint32_t type;
    TRY(take_u32(c, what, &type));
    if (type > GGUF_F64) {
        return fail(c, ERR_INPUT, begin, "%s is %" PRIu32 ", must be 0 to %d", what, type,
                    GGUF_F64);
    }
    *out = (enum gguf_type)type;
    return OK;
}

static enum status take_scalar(struct cursor *c, struct gguf_value *value) {
    size_t begin = c->at;
    uint32_t n = type_bytes[value->type];
    struct span bytes;
    TRY(take(c, n, "value", &bytes));
    uint64_t raw = gguf_little_endian(bytes.data, n);
    switch (value->type) {
    case GGUF_I8:
        value->i64 = (int8_t)raw;
        break;
    case GGUF_I16:
        value->i64 = (int16_t)raw;
        break;
    case GGUF_I32:
        value->i64 = (int32_t)raw;
        break;
    case GGUF_I64:
        value->i64 = (int64_t)raw;
        break;
    case GGUF_F32: {
        float f;
        memcpy(&f, bytes.data, sizeof f);
        value->f64 = (double)f;
        break;
    }
    case GGUF_F64:
        memcpy(&value->f64, bytes.data, sizeof value->f64);
        break;
    case GGUF_BOOL:
        if (raw > 1)
            return fail(c, ERR_INPUT, begin, "bool is %" PRIu64 ", must be 0 or 1", raw);
        value->u64 = raw;
        break;
    default:
        value->u64 = raw;
        break;
    }
    return OK;
}

static enum status take_array(struct cursor *c, struct gguf_value *value) {
    size_t begin = c->at;
    TRY(take_type(c, "array's element type", &value->array.type));
    if (value->array.type == GGUF_ARRAY)
        return fail(c, ERR_UNSUPPORTED, begin, "arrays of arrays are not supported");
    begin = c->at;
    uint64_t n;
    TRY(take_u64(c, "array's length", &n));
    uint64_t element = type_bytes[value->array.type]; /* of a string: its length field */
    if (n > remaining(c) / element) {
        return fail(c, ERR_INPUT, begin,
                    "array of %" PRIu64 " elements, %zu bytes remain in the file", n, remaining(c));
    }
    if (n > GGUF_ARRAY_MAX) {
        return fail(c, ERR_LIMIT, begin, "array of %" PRIu64 " elements, at most %u", n,
                    GGUF_ARRAY_MAX);
    }
    value->array.n = n;
    size_t data = c->at;
    if (value->array.type == GGUF_STRING) {
        struct span string;
        for (uint64_t i = 0; i < n; i++)
            TRY(take_string(c, "string of the array", GGUF_STRING_MAX, &string));
        value->array.bytes = span_make(c->bytes.data + data, c->at - data);
        return OK;
    }
    return take(c, n * element, "array", &value->array.bytes);
}

static enum status take_pair(struct cursor *c, struct gguf_pair *pair) {
    c->item_kind = NULL;
    TRY(take_name(c, "key", &pair->key));
    c->item_kind = "key";
    c->item = pair->key;
    TRY(take_type(c, "type of the value", &pair->value.type));
    if (pair->value.type == GGUF_STRING)
        return take_string(c, "string", GGUF_STRING_MAX, &pair->value.string);
    if (pair->value.type == GGUF_ARRAY)
        return take_array(c, &pair->value);
    return take_scalar(c, &pair->value);
}

/* `begin` is where the pair begins. */
static enum status alignment_of(const struct cursor *c, size_t begin, const struct gguf_pair *pair,
                                uint32_t *alignment) {
    const struct gguf_value *value = &pair->value;
    if (!gguf_is_integer(value->type)) {
        return fail(c, ERR_INPUT, begin, "alignment is of type %s, must be an integer",
                    gguf_type_name(value->type));
    }
    uint64_t n = value->u64; /* a negative number is too large here */
    if (n < ALIGNMENT_MIN || n > GGUF_ALIGNMENT_MAX || (n & (n - 1)) != 0) {
        return fail(c, ERR_INPUT, begin,
                    "alignment is %" PRIu64 ", must be a power of two from %d to %u", n,
                    ALIGNMENT_MIN, GGUF_ALIGNMENT_MAX);
    }
    *alignment = (uint32_t)n;
    return OK;
}

/* Shape, type and bytes of the tensor; the data is placed later, when its start is known. */
static enum status take_tensor(struct cursor *c, uint32_t alignment, struct gguf_tensor *out) {
    c->item_kind = NULL;
    TRY(take_name(c, "tensor name", &out->name));
    c->item_kind = "tensor";
    c->item = out->name;
    struct tensor *tensor = &out->tensor;
    size_t begin = c->at;
    TRY(take_u32(c, "number of dimensions", &tensor->n_dims));
    if (tensor->n_dims < 1 || tensor->n_dims > GGUF_DIMS_MAX) {
        return fail(c, ERR_INPUT, begin, "%" PRIu32 " dimensions, must be 1 to %d", tensor->n_dims,
                    GGUF_DIMS_MAX);
    }
    for (uint32_t i = 0; i < GGUF_DIMS_MAX; i++)
        tensor->shape[i] = 1;
    uint64_t n_rows = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        begin = c->at;
        uint64_t n;
        TRY(take_u64(c, "dimension", &n));
        if (n == 0)
            return fail(c, ERR_INPUT, begin, "dimension %" PRIu32 " is 0", i);
        if (i > 0 && !size_mul(n_rows, n, &n_rows))
            return fail(c, ERR_INPUT, begin, "its dimensions overflow");
        tensor->shape[tensor->n_dims - 1 - i] = n;
    }
    begin = c->at;
    uint32_t type;
    TRY(take_u32(c, "type", &type));
    if (!dtype_from_ggml(type, &tensor->dtype))
        return fail(c, ERR_UNSUPPORTED, begin, "unknown type number %" PRIu32, type);
    const struct dtype_info *info = dtype_info(tensor->dtype);
    uint64_t row = tensor->shape[tensor->n_dims - 1];
    if (row % info->block_elements != 0) {
        return fail(c, ERR_INPUT, begin,
                    "rows of %" PRIu64 " elements, must be a multiple of %" PRIu32 " for %s", row,
                    info->block_elements, info->name);
    }
    uint64_t row_bytes;
    if (!size_mul(row / info->block_elements, info->block_bytes, &row_bytes) ||
        !size_mul(row_bytes, n_rows, &tensor->bytes))
        return fail(c, ERR_INPUT, begin, "its size in bytes overflows");
    begin = c->at;
    TRY(take_u64(c, "offset", &out->offset));
    if (out->offset % alignment != 0) {
        return fail(c, ERR_INPUT, begin, "offset %" PRIu64 ", must be a multiple of %" PRIu32,
                    out->offset, alignment);
    }
    return OK;
}

struct extent {
    uint64_t begin, end;
    uint32_t tensor_idx;
};

static int extent_compare(const void *a, const void *b) {
    const struct extent *left = a, *right = b;
    if (left->begin != right->begin)
        return left->begin < right->begin ? -1 : 1;
    return left->tensor_idx < right->tensor_idx ? -1 : left->tensor_idx > right->tensor_idx;
}

static enum status check_overlaps(struct cursor *c, const struct gguf_part_tables *tables) {
    struct arena scratch = {0};
    enum status status = OK;
    struct extent *extents = arena_array(&scratch, tables->n_tensors, sizeof *extents);
    if (!extents)
        return fail(c, ERR_NOMEM, c->at, "no memory for %" PRIu32 " tensors", tables->n_tensors);
    for (uint32_t i = 0; i < tables->n_tensors; i++) {
        const struct gguf_tensor *t = &tables->tensors[i];
        extents[i] = (struct extent){t->offset, t->offset + t->tensor.bytes, i};
    }
    qsort(extents, tables->n_tensors, sizeof *extents, extent_compare);
    for (uint32_t i = 1; i < tables->n_tensors; i++) {
        if (extents[i].begin >= extents[i - 1].end)
            continue;
        const struct gguf_tensor *t = &tables->tensors[extents[i].tensor_idx];
        struct span other = tables->tensors[extents[i - 1].tensor_idx].name;
        c->item_kind = "tensor";
        c->item = t->name;
        status = fail(c, ERR_INPUT, (size_t)t->offset, "its data overlaps that of '%.*s'",
                      (int)(other.len < QUOTED_MAX ? other.len : QUOTED_MAX), other.data);
        break;
    }
    arena_free(&scratch);
    return status;
}

/* Turns offsets inside the data section into offsets inside the file and sets the views. */
static enum status place_data(struct cursor *c, struct gguf_part_tables *tables, uint32_t alignment,
                              bool header_only) {
    uint64_t data_start = align_up(c->at, alignment);
    for (uint32_t i = 0; i < tables->n_tensors; i++) {
        struct gguf_tensor *t = &tables->tensors[i];
        c->item_kind = "tensor";
        c->item = t->name;
        uint64_t end;
        if (!size_add(data_start, t->offset, &t->offset) ||
            !size_add(t->offset, t->tensor.bytes, &end))
            return fail(c, ERR_INPUT, c->at, "the end of its data overflows");
        if (header_only)
            continue;
        if (end > c->bytes.len) {
            return fail(c, ERR_INPUT, (size_t)t->offset,
                        "its %" PRIu64 " bytes end at byte %" PRIu64 ", the file has %zu bytes",
                        t->tensor.bytes, end, c->bytes.len);
        }
        t->tensor.data = c->bytes.data + t->offset;
    }
    return OK;
}

/* Magic and version; old and foreign forms get an explanation. A big-endian file has the version,
 * or the magic too, in the other order of bytes. */
static enum status check_version(struct cursor *c) {
    static const char big_endian[] = "a big-endian GGUF file; only little-endian is supported";
    struct span magic;
    TRY(take(c, 4, "magic", &magic));
    if (span_is(magic, "FUGG"))
        return fail(c, ERR_UNSUPPORTED, 0, "%s", big_endian);
    if (!span_is(magic, "GGUF")) {
        return fail(c, ERR_INPUT, 0,
                    "not a GGUF file: it begins with 0x%08" PRIx64 ", not \"GGUF\"",
                    gguf_little_endian(magic.data, 4));
    }
    uint32_t version;
    TRY(take_u32(c, "version", &version));
    if (version != 0 && (version & 0xffff) == 0)
        return fail(c, ERR_UNSUPPORTED, 4, "%s", big_endian);
    if (version < VERSION_MIN || version > VERSION_MAX) {
        return fail(c, ERR_UNSUPPORTED, 4, "version %" PRIu32 ", supported are %d and %d", version,
                    VERSION_MIN, VERSION_MAX);
    }
    return OK;
}

static enum status take_count(struct cursor *c, const char *what, uint64_t max, uint64_t bytes_min,
                              uint32_t *out) {
    size_t begin = c->at;
    uint64_t n;
    TRY(take_u64(c, what, &n));
    if (n > remaining(c) / bytes_min) {
        return fail(c, ERR_INPUT, begin,
                    "%s is %" PRIu64 ", too many for the %zu bytes that remain", what, n,
                    remaining(c));
    }
    if (n > max)
        return fail(c, ERR_LIMIT, begin, "%s is %" PRIu64 ", at most %" PRIu64, what, n, max);
    *out = (uint32_t)n;
    return OK;
}

enum status gguf_part_read(struct gguf_part_tables *tables, const char *path, struct span bytes,
                           bool header_only, struct arena *arena, struct error *err) {
    *tables = (struct gguf_part_tables){0};
    struct cursor c = {.path = path, .bytes = bytes, .err = err};
    TRY(check_version(&c));
    TRY(take_count(&c, "number of tensors", GGUF_TENSORS_MAX, TENSOR_BYTES_MIN,
                   &tables->n_tensors));
    TRY(take_count(&c, "number of keys", GGUF_KEYS_MAX, PAIR_BYTES_MIN, &tables->n_pairs));
    tables->pairs = arena_array(arena, tables->n_pairs, sizeof *tables->pairs);
    tables->tensors = arena_array(arena, tables->n_tensors, sizeof *tables->tensors);
    if (!tables->pairs || !tables->tensors) {
        return fail(&c, ERR_NOMEM, c.at, "no memory for %" PRIu32 " keys and %" PRIu32 " tensors",
                    tables->n_pairs, tables->n_tensors);
    }
    uint32_t alignment = ALIGNMENT_DEFAULT;
    for (uint32_t i = 0; i < tables->n_pairs; i++) {
        size_t begin = c.at;
        TRY(take_pair(&c, &tables->pairs[i]));
        if (span_is(tables->pairs[i].key, "general.alignment"))
            TRY(alignment_of(&c, begin, &tables->pairs[i], &alignment));
    }
    for (uint32_t i = 0; i < tables->n_tensors; i++)
        TRY(take_tensor(&c, alignment, &tables->tensors[i]));
    tables->header_bytes = c.at;
    TRY(place_data(&c, tables, alignment, header_only));
    return check_overlaps(&c, tables);
}
