/* SPDX-License-Identifier: Apache-2.0 */
/* One loop over the tags with a stack of the messages that are open; a field is a tag (number and
 * kind in a varint) and a value whose length its kind says. */
#include "proto/wire.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum wire_kind { KIND_VARINT = 0, KIND_64 = 1, KIND_BYTES = 2, KIND_32 = 5 };

/* A message that is being read: where it ends and which of its fields (by index) have come. */
struct open_message {
    const ProtobufCMessageDescriptor *descriptor;
    size_t end;
    uint64_t seen;
};

struct walk {
    struct span bytes;
    size_t at;
    struct open_message open[WIRE_DEPTH_MAX];
    uint32_t n_open;
    uint32_t n_fields, n_unknowns;
};

static bool read_varint(struct walk *w, size_t end, uint64_t *out) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && w->at < end; shift += 7) {
        unsigned char byte = (unsigned char)w->bytes.data[w->at++];
        if (shift == 63 && byte > 1)
            return false; /* beyond 64 bits */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static enum wire_kind kind_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return KIND_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return KIND_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return KIND_BYTES;
    default:
        return KIND_VARINT;
    }
}

static bool is_32_bits(ProtobufCType type) {
    return type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_ENUM ||
           type == PROTOBUF_C_TYPE_BOOL;
}

/* All members of a oneof share one place in the struct, which tells them from their neighbours. */
static uint64_t fields_beside(const ProtobufCMessageDescriptor *d,
                              const ProtobufCFieldDescriptor *f, unsigned idx) {
    uint64_t fields = (uint64_t)1 << idx;
    if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return fields;
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (d->fields[i].quantifier_offset == f->quantifier_offset &&
            (d->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            fields |= (uint64_t)1 << i;
    }
    return fields;
}

/* Notes that a field of the innermost message has come; NULL in *out: it is not in the schema. */
static enum status note_field(struct walk *w, uint32_t number, size_t begin,
                              const ProtobufCFieldDescriptor **out, struct error *err) {
    struct open_message *m = &w->open[w->n_open - 1];
    if (++w->n_fields > WIRE_FIELDS_MAX)
        return error_set(err, ERR_LIMIT, "byte %zu: more than %d fields", begin, WIRE_FIELDS_MAX);
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(m->descriptor, number);
    *out = f;
    if (!f) {
        if (++w->n_unknowns > WIRE_UNKNOWNS_MAX)
            return error_set(err, ERR_LIMIT, "byte %zu: more than %d unknown fields", begin,
                             WIRE_UNKNOWNS_MAX);
        return OK;
    }
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return OK;
    unsigned idx = (unsigned)(f - m->descriptor->fields);
    assert(m->descriptor->n_fields <= 64);
    if (m->seen & fields_beside(m->descriptor, f, idx))
        return error_set(err, ERR_INPUT, "byte %zu: field '%s' comes twice or beside another",
                         begin, f->name);
    m->seen |= (uint64_t)1 << idx;
    return OK;
}

/* Passes over the value of a field, or opens the message that it is. */
static enum status read_value(struct walk *w, const ProtobufCFieldDescriptor *f, uint32_t kind,
                              struct error *err) {
    size_t begin = w->at, end = w->open[w->n_open - 1].end;
    uint64_t value, length;
    switch (kind) {
    case KIND_VARINT:
        if (!read_varint(w, end, &value))
            return error_set(err, ERR_INPUT, "byte %zu: a number is cut or too long", begin);
        if (f && is_32_bits(f->type) && value > UINT32_MAX)
            return error_set(err, ERR_INPUT, "byte %zu: '%s' has more than 32 bits", begin,
                             f->name);
        return OK;
    case KIND_64:
        length = 8;
        break;
    case KIND_32:
        length = 4;
        break;
    case KIND_BYTES:
        if (!read_varint(w, end, &length))
            return error_set(err, ERR_INPUT, "byte %zu: a length is cut or too long", begin);
        break;
    default:
        return error_set(err, ERR_INPUT, "byte %zu: fields of kind %u are not read", begin, kind);
    }
    if (length > end - w->at)
        return error_set(err, ERR_INPUT, "byte %zu: %llu bytes are announced, %zu are there", begin,
                         (unsigned long long)length, end - w->at);
    if (!f || f->type != PROTOBUF_C_TYPE_MESSAGE) {
        w->at += (size_t)length;
        return OK;
    }
    if (w->n_open == WIRE_DEPTH_MAX)
        return error_set(err, ERR_LIMIT, "byte %zu: messages deeper than %d", begin,
                         WIRE_DEPTH_MAX);
    w->open[w->n_open++] =
        (struct open_message){.descriptor = f->descriptor, .end = w->at + (size_t)length};
    return OK;
}

enum status wire_check(const ProtobufCMessageDescriptor *descriptor, struct span bytes,
                       struct error *err) {
    struct walk w = {.bytes = bytes, .n_open = 1};
    w.open[0] = (struct open_message){.descriptor = descriptor, .end = bytes.len};
    while (w.n_open > 0) {
        size_t begin = w.at, end = w.open[w.n_open - 1].end;
        if (begin == end) {
            w.n_open--;
            continue;
        }
        uint64_t tag;
        if (!read_varint(&w, end, &tag))
            return error_set(err, ERR_INPUT, "byte %zu: a field's number is cut or too long",
                             begin);
        if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
            return error_set(err, ERR_INPUT, "byte %zu: no field has the number %llu", begin,
                             (unsigned long long)(tag >> 3));
        const ProtobufCFieldDescriptor *f = NULL;
        TRY(note_field(&w, (uint32_t)(tag >> 3), begin, &f, err));
        uint32_t kind = tag & 7;
        if (f && kind != (uint32_t)kind_of(f->type))
            return error_set(err, ERR_INPUT, "byte %zu: field '%s' is of kind %u, not %u", begin,
                             f->name, kind, (unsigned)kind_of(f->type));
        TRY(read_value(&w, f, kind, err));
    }
    return OK;
}
