/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to an open file: keys by binary search, values with the type the caller needs. */
#include "model/gguf.h"

#include "model/gguf_part.h"

#include <inttypes.h>
#include <math.h>

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key) {
    struct span wanted = span_of(key);
    uint32_t low = 0, high = gguf->n_pairs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct gguf_pair *pair = &gguf->pairs[gguf->pairs_by_key[middle]];
        int order = gguf_name_order(wanted, pair->key);
        if (order == 0)
            return &pair->value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name) {
    struct span wanted = span_of(name);
    uint32_t low = 0, high = gguf->n_tensors;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct gguf_tensor *tensor = &gguf->tensors[gguf->by_name[middle]];
        int order = gguf_name_order(wanted, tensor->name);
        if (order == 0)
            return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *gguf_type_name(enum gguf_type type) {
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return (unsigned)type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}

static bool is_unsigned(enum gguf_type type) {
    return type == GGUF_U8 || type == GGUF_U16 || type == GGUF_U32 || type == GGUF_U64;
}

static bool is_signed(enum gguf_type type) {
    return type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
}

static const char *path_of(const struct gguf *gguf) {
    return gguf->parts[0].path;
}

/* Absence is an error only if the key is required. */
static enum status absent(const struct gguf *gguf, const char *key, bool required,
                          struct error *err) {
    if (!required)
        return OK;
    return error_set(err, ERR_INPUT, "%s: key '%s' is missing", path_of(gguf), key);
}

static enum status wrong_type(const struct gguf *gguf, const char *key,
                              const struct gguf_value *value, const char *wanted,
                              struct error *err) {
    return error_set(err, ERR_INPUT, "%s: key '%s': is of type %s, must be %s", path_of(gguf), key,
                     gguf_type_name(value->type), wanted);
}

enum status gguf_get_u32(const struct gguf *gguf, const char *key, bool required, uint32_t *out,
                         struct error *err) {
    const struct gguf_value *value = gguf_find(gguf, key);
    if (!value)
        return absent(gguf, key, required, err);
    if (is_signed(value->type)) {
        if (value->i64 < 0 || value->i64 > UINT32_MAX) {
            return error_set(err, ERR_INPUT, "%s: key '%s': is %" PRId64 ", must be 0 to %u",
                             path_of(gguf), key, value->i64, UINT32_MAX);
        }
        *out = (uint32_t)value->i64;
        return OK;
    }
    if (!is_unsigned(value->type))
        return wrong_type(gguf, key, value, "an integer", err);
    if (value->u64 > UINT32_MAX) {
        return error_set(err, ERR_INPUT, "%s: key '%s': is %" PRIu64 ", must be 0 to %u",
                         path_of(gguf), key, value->u64, UINT32_MAX);
    }
    *out = (uint32_t)value->u64;
    return OK;
}

enum status gguf_get_f32(const struct gguf *gguf, const char *key, bool required, float *out,
                         struct error *err) {
    const struct gguf_value *value = gguf_find(gguf, key);
    if (!value)
        return absent(gguf, key, required, err);
    if (value->type != GGUF_F32 && value->type != GGUF_F64)
        return wrong_type(gguf, key, value, "a float", err);
    float f = (float)value->f64;
    if (!isfinite(f)) {
        return error_set(err, ERR_INPUT, "%s: key '%s': is %g, must be finite", path_of(gguf), key,
                         value->f64);
    }
    *out = f;
    return OK;
}

enum status gguf_get_bool(const struct gguf *gguf, const char *key, bool *out, struct error *err) {
    const struct gguf_value *value = gguf_find(gguf, key);
    if (!value)
        return OK;
    if (value->type != GGUF_BOOL)
        return wrong_type(gguf, key, value, "a bool", err);
    *out = value->u64 != 0;
    return OK;
}

enum status gguf_get_string(const struct gguf *gguf, const char *key, bool required,
                            struct span *out, struct error *err) {
    const struct gguf_value *value = gguf_find(gguf, key);
    if (!value)
        return absent(gguf, key, required, err);
    if (value->type != GGUF_STRING)
        return wrong_type(gguf, key, value, "a string", err);
    *out = value->string;
    return OK;
}

enum status gguf_get_strings(const struct gguf *gguf, const char *key, struct gguf_strings *out,
                             struct error *err) {
    const struct gguf_value *value = gguf_find(gguf, key);
    if (!value)
        return absent(gguf, key, true, err);
    if (value->type != GGUF_ARRAY || value->array.type != GGUF_STRING)
        return wrong_type(gguf, key, value, "an array of strings", err);
    *out = (struct gguf_strings){.rest = value->array.bytes, .n_left = value->array.n};
    return OK;
}

bool gguf_strings_next(struct gguf_strings *strings, struct span *out) {
    if (strings->n_left == 0)
        return false;
    /* Lengths were checked when the file was opened. */
    size_t n = (size_t)gguf_little_endian(strings->rest.data, 8);
    *out = span_make(strings->rest.data + 8, n);
    strings->rest = span_from(strings->rest, 8 + n);
    strings->n_left--;
    return true;
}

int64_t gguf_array_int(const struct gguf_value *array, uint64_t i) {
    const char *data = array->array.bytes.data;
    switch (array->array.type) {
    case GGUF_U8:
    case GGUF_BOOL:
        return (int64_t)gguf_little_endian(data + i, 1);
    case GGUF_I8:
        return (int8_t)gguf_little_endian(data + i, 1);
    case GGUF_U16:
        return (int64_t)gguf_little_endian(data + 2 * i, 2);
    case GGUF_I16:
        return (int16_t)gguf_little_endian(data + 2 * i, 2);
    case GGUF_U32:
        return (int64_t)gguf_little_endian(data + 4 * i, 4);
    case GGUF_I32:
        return (int32_t)gguf_little_endian(data + 4 * i, 4);
    default:
        return (int64_t)gguf_little_endian(data + 8 * i, 8);
    }
}
