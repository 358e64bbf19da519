/* SPDX-License-Identifier: Apache-2.0 */
/* One TCP connection that carries frames. Link thread only.
 *
 * Control frames are few and small, and a peer reads them as they come: a frame that the system
 * does not take whole at once means that the peer has not read for a long time, and counts as the
 * end of the connection. So nothing is queued and sending allocates nothing. */
#ifndef SHOAL_WORKER_LINK_CONNECTION_H
#define SHOAL_WORKER_LINK_CONNECTION_H

#include <stdbool.h>

#include "base/error.h"
#include "proto/frame.h"

#include <uv.h>

#define LINK_FRAME_BYTES 1024 /* the largest message is a RankFailed of about 560 */

struct connection;

struct connection_events {
    /* The message lives for the call, which may close the connection. */
    void (*message)(struct connection *c, const Control__V1__Frame *message);
    /* The peer closed it (why NULL), it broke, or what came is no valid frame. Called once;
     * connection_close is still to be called. */
    void (*ended)(struct connection *c, const char *why);
};

struct connection {
    uv_tcp_t tcp; /* data: the connection */
    enum { CONNECTION_FREE, CONNECTION_OPEN, CONNECTION_CLOSING } state;
    const struct connection_events *events;
    void *user;
    struct frame_memory *memory; /* borrowed, may be shared by all connections of a loop */
    struct frame_reader reader;
    unsigned char buffer[FRAME_LENGTH_BYTES + LINK_FRAME_BYTES];
};

/* A socket to be accepted into or connected; `c` must be free. ERR_IO. */
enum status connection_init(struct connection *c, uv_loop_t *loop,
                            const struct connection_events *events, void *user,
                            struct frame_memory *memory, struct error *err);

/* Once accepted or connected: messages come from now on. ERR_IO. */
enum status connection_start(struct connection *c, struct error *err);

/* False: the connection is as good as ended (`ended` is not called for it). */
bool connection_send(struct connection *c, const Control__V1__Frame *message);

/* No events follow; free again once the loop has closed it. Safe
 * on a connection that is not open. */
void connection_close(struct connection *c);

/* Frames of a kind that has no fields: Resume, Stop, RankLeft. */
bool connection_send_empty(struct connection *c, Control__V1__Frame__BodyCase kind);

/* Refused or Abort with the text as a frame may carry it: cut, control characters replaced. */
bool connection_send_text(struct connection *c, Control__V1__Frame__BodyCase kind,
                          const char *text);

/* `out` as such a text, of at least one character. */
void connection_plain_text(char out[FRAME_TEXT_MAX + 1], const char *text);

#endif
