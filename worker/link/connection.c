/* SPDX-License-Identifier: Apache-2.0 */
/* libuv reads straight into the frame reader's buffer; frames are decoded where they lie. */
#include "worker/link/connection.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static void end(struct connection *c, const char *why) {
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->events->ended(c, why);
}

static void take_frames(struct connection *c) {
    struct error err;
    while (c->state == CONNECTION_OPEN) {
        struct span frame;
        const Control__V1__Frame *message;
        if (frame_reader_next(&c->reader, &frame, &err) != OK) {
            end(c, err.text);
            return;
        }
        if (!frame.data)
            return;
        if (frame_decode(frame, c->memory, &message, &err) != OK) {
            end(c, err.text);
            return;
        }
        c->events->message(c, message);
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)suggested;
    struct connection *c = handle->data;
    size_t bytes;
    unsigned char *room = frame_reader_room(&c->reader, &bytes);
    *out = uv_buf_init((char *)room, (unsigned)bytes);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
    (void)buffer;
    struct connection *c = stream->data;
    if (n > 0) {
        frame_reader_grew(&c->reader, (size_t)n);
        take_frames(c);
    } else if (n == UV_EOF || n == UV_ECONNRESET) {
        end(c, NULL); /* reset: there was something that the peer had not read */
    } else if (n < 0) {
        end(c, uv_strerror((int)n));
    }
}

enum status connection_init(struct connection *c, uv_loop_t *loop,
                            const struct connection_events *events, void *user,
                            struct frame_memory *memory, struct error *err) {
    int rc = uv_tcp_init(loop, &c->tcp);
    if (rc)
        return error_set(err, ERR_IO, "control socket: %s", uv_strerror(rc));
    c->tcp.data = c;
    c->events = events;
    c->user = user;
    c->memory = memory;
    c->state = CONNECTION_OPEN;
    frame_reader_init(&c->reader, c->buffer, sizeof c->buffer);
    return OK;
}

enum status connection_start(struct connection *c, struct error *err) {
    int rc = uv_tcp_nodelay(&c->tcp, 1);
    if (!rc)
        rc = uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
    return rc ? error_set(err, ERR_IO, "control socket: %s", uv_strerror(rc)) : OK;
}

bool connection_send(struct connection *c, const Control__V1__Frame *message) {
    unsigned char bytes[sizeof c->buffer];
    size_t n;
    if (c->state != CONNECTION_OPEN || frame_encode(message, bytes, sizeof bytes, &n, NULL) != OK)
        return false;
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)n);
    return uv_try_write((uv_stream_t *)&c->tcp, &buffer, 1) == (int)n;
}

static void on_closed(uv_handle_t *handle) {
    struct connection *c = handle->data;
    c->state = CONNECTION_FREE;
}

void connection_close(struct connection *c) {
    if (c->state != CONNECTION_OPEN)
        return;
    c->state = CONNECTION_CLOSING;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

bool connection_send_empty(struct connection *c, Control__V1__Frame__BodyCase kind) {
    Control__V1__Resume resume = CONTROL__V1__RESUME__INIT;
    Control__V1__Stop stop = CONTROL__V1__STOP__INIT;
    Control__V1__RankLeft left = CONTROL__V1__RANK_LEFT__INIT;
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    m.body_case = kind;
    if (kind == CONTROL__V1__FRAME__BODY_RESUME)
        m.resume = &resume;
    else if (kind == CONTROL__V1__FRAME__BODY_STOP)
        m.stop = &stop;
    else
        m.rank_left = &left;
    return connection_send(c, &m);
}

bool connection_send_text(struct connection *c, Control__V1__Frame__BodyCase kind,
                          const char *text) {
    char plain[FRAME_TEXT_MAX + 1];
    connection_plain_text(plain, text);
    ProtobufCBinaryData data = {.len = strlen(plain), .data = (uint8_t *)plain};
    Control__V1__Refused refused = CONTROL__V1__REFUSED__INIT;
    Control__V1__Abort abort = CONTROL__V1__ABORT__INIT;
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    m.body_case = kind;
    if (kind == CONTROL__V1__FRAME__BODY_REFUSED) {
        refused.text = data;
        m.refused = &refused;
    } else {
        abort.text = data;
        m.abort = &abort;
    }
    return connection_send(c, &m);
}

void connection_plain_text(char out[FRAME_TEXT_MAX + 1], const char *text) {
    snprintf(out, FRAME_TEXT_MAX + 1, "%s", text[0] ? text : "no reason was given");
    size_t len = strlen(out);
    len -= utf8_incomplete_tail(span_make(out, len));
    out[len] = '\0';
    bool utf8 = utf8_valid(span_make(out, len));
    for (char *c = out; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8))
            *c = '?';
    }
}
