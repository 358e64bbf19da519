/* SPDX-License-Identifier: Apache-2.0 */
/* The order of decoding matters: lengths and shape by wire_check, then protobuf-c within a fixed
 * budget, then the meaning of every field. */
#include "proto/frame.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/size.h"
#include "base/utf8.h"
#include "proto/wire.h"

void frame_reader_init(struct frame_reader *reader, unsigned char *buffer, size_t capacity) {
    assert(capacity > FRAME_LENGTH_BYTES);
    *reader = (struct frame_reader){.buffer = buffer, .capacity = capacity};
}

unsigned char *frame_reader_room(struct frame_reader *reader, size_t *bytes) {
    size_t held = reader->end - reader->begin;
    if (held && reader->begin)
        memmove(reader->buffer, reader->buffer + reader->begin, held);
    reader->begin = 0;
    reader->end = held;
    *bytes = reader->capacity - held;
    return reader->buffer + held;
}

void frame_reader_grew(struct frame_reader *reader, size_t bytes) {
    assert(bytes <= reader->capacity - reader->end);
    reader->end += bytes;
}

enum status frame_reader_next(struct frame_reader *reader, struct span *frame, struct error *err) {
    *frame = (struct span){0};
    size_t held = reader->end - reader->begin;
    if (held < FRAME_LENGTH_BYTES)
        return OK;
    const unsigned char *at = reader->buffer + reader->begin;
    uint32_t length = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    if (length == 0)
        return error_set(err, ERR_INPUT, "frame: length 0");
    if (length > FRAME_BYTES_MAX || length > reader->capacity - FRAME_LENGTH_BYTES)
        return error_set(err, ERR_LIMIT, "frame: %u bytes, at most %zu are allowed here", length,
                         reader->capacity - FRAME_LENGTH_BYTES);
    if (length > held - FRAME_LENGTH_BYTES)
        return OK;
    *frame = span_make((const char *)at + FRAME_LENGTH_BYTES, length);
    reader->begin += FRAME_LENGTH_BYTES + length;
    return OK;
}

/* ---- the meaning of fields ---- */

static enum status check_number(const char *field, uint64_t found, uint64_t min, uint64_t max,
                                struct error *err) {
    if (found >= min && found <= max)
        return OK;
    return error_set(err, ERR_INPUT, "frame: %s: %llu, allowed is %llu to %llu", field,
                     (unsigned long long)found, (unsigned long long)min, (unsigned long long)max);
}

static enum status check_size(const char *field, const ProtobufCBinaryData *found, size_t min,
                              size_t max, struct error *err) {
    if (found->len >= min && found->len <= max)
        return OK;
    return error_set(err, ERR_INPUT, "frame: %s: %zu bytes, allowed is %zu to %zu", field,
                     found->len, min, max);
}

static enum status check_text(const char *field, const ProtobufCBinaryData *text,
                              struct error *err) {
    TRY(check_size(field, text, 1, FRAME_TEXT_MAX, err));
    bool plain = utf8_valid(span_make((const char *)text->data, text->len));
    for (size_t i = 0; i < text->len; i++)
        plain = plain && text->data[i] >= 0x20 && text->data[i] != 0x7f;
    return plain ? OK : error_set(err, ERR_INPUT, "frame: %s: not plain UTF-8 text", field);
}

static enum status check_host(const ProtobufCBinaryData *host, struct error *err) {
    TRY(check_size("host", host, 1, FRAME_HOST_MAX, err));
    for (size_t i = 0; i < host->len; i++) {
        unsigned char c = host->data[i], lower = c | 0x20;
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' &&
            c != '_')
            return error_set(err, ERR_INPUT,
                             "frame: host: byte 0x%02x at %zu, allowed are "
                             "letters, digits, '.', '-', '_'",
                             c, i);
    }
    return OK;
}

static enum status check_phase(uint32_t phase, uint32_t layer, struct error *err) {
    TRY(check_number("phase", phase, CONTROL__V1__PHASE__PHASE_START, CONTROL__V1__PHASE__PHASE_END,
                     err));
    return check_number("layer", layer, 0, FRAME_LAYERS_MAX - 1, err);
}

static enum status check_hello(const Control__V1__Hello *hello, struct error *err) {
    TRY(check_number("version", hello->version, 1, UINT32_MAX, err));
    TRY(check_size("job_token", &hello->job_token, FRAME_TOKEN_BYTES, FRAME_TOKEN_BYTES, err));
    TRY(check_number("n_ranks", hello->n_ranks, 1, FRAME_RANKS_MAX, err));
    TRY(check_number("rank", hello->rank, 0, hello->n_ranks - 1, err));
    TRY(check_number("node", hello->node, 0, hello->n_ranks - 1, err));
    TRY(check_number("pid", hello->pid, 1, INT32_MAX, err));
    return check_host(&hello->host, err);
}

static enum status check_rank_failed(const Control__V1__RankFailed *failed, struct error *err) {
    TRY(check_number("rank", failed->rank, 0, FRAME_RANKS_MAX - 1, err));
    TRY(check_phase((uint32_t)failed->phase, failed->layer, err));
    return check_text("text", &failed->text, err);
}

static enum status check_message(const Control__V1__Frame *m, struct error *err) {
    switch (m->body_case) {
    case CONTROL__V1__FRAME__BODY_HELLO:
        return check_hello(m->hello, err);
    case CONTROL__V1__FRAME__BODY_REFUSED:
        return check_text("text", &m->refused->text, err);
    case CONTROL__V1__FRAME__BODY_HEARTBEAT:
        return check_phase((uint32_t)m->heartbeat->phase, m->heartbeat->layer, err);
    case CONTROL__V1__FRAME__BODY_RANK_FAILED:
        return check_rank_failed(m->rank_failed, err);
    case CONTROL__V1__FRAME__BODY_ABORT:
        return check_text("text", &m->abort->text, err);
    case CONTROL__V1__FRAME__BODY_RESUME:
    case CONTROL__V1__FRAME__BODY_STOP:
    case CONTROL__V1__FRAME__BODY_RANK_LEFT:
        return OK;
    default:
        return error_set(err, ERR_INPUT, "frame: a kind of message that is not known here");
    }
}

/* ---- between bytes and messages ---- */

static void *budget_alloc(void *user, size_t size) {
    struct frame_memory *memory = user;
    uint64_t rounded = align_up(size, sizeof(max_align_t));
    if (rounded < size || rounded > sizeof memory->bytes - memory->used)
        return NULL;
    void *at = memory->bytes + memory->used;
    memory->used += (size_t)rounded;
    return at;
}

/* All goes at once with the next frame. */
static void budget_free(void *user, void *data) {
    (void)user;
    (void)data;
}

enum status frame_decode(struct span frame, struct frame_memory *memory,
                         const Control__V1__Frame **out, struct error *err) {
    *out = NULL;
    enum status status = wire_check(&control__v1__frame__descriptor, frame, err);
    if (status) {
        error_wrap(err, "frame");
        return status;
    }
    memory->used = 0;
    ProtobufCAllocator budget = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = memory};
    const Control__V1__Frame *message =
        control__v1__frame__unpack(&budget, frame.len, (const uint8_t *)frame.data);
    if (!message)
        return error_set(err, ERR_NOMEM, "frame: %zu bytes do not unpack within %zu", frame.len,
                         sizeof memory->bytes);
    TRY(check_message(message, err));
    *out = message;
    return OK;
}

enum status frame_encode(const Control__V1__Frame *message, unsigned char *buffer, size_t capacity,
                         size_t *bytes, struct error *err) {
    TRY(check_message(message, err));
    size_t length = control__v1__frame__get_packed_size(message);
    *bytes = FRAME_LENGTH_BYTES + length;
    if (length > FRAME_BYTES_MAX || *bytes > capacity)
        return error_set(err, ERR_LIMIT, "frame: %zu bytes, room is %zu", *bytes, capacity);
    for (int i = 0; i < FRAME_LENGTH_BYTES; i++)
        buffer[i] = (unsigned char)(length >> (24 - 8 * i));
    control__v1__frame__pack(message, buffer + FRAME_LENGTH_BYTES);
    return OK;
}
