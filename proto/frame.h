/* SPDX-License-Identifier: Apache-2.0 */
/* Frames on a byte stream: what the processes of a group say to each other (control.proto).
 *
 *     stream:   length (4 bytes, big-endian) | Frame | length | Frame | ...
 *
 *     receiving:   frame_reader_room -> read() into it -> frame_reader_grew
 *                  -> frame_reader_next ... until no whole frame is left -> frame_decode
 *     sending:     frame_encode -> write()
 *
 * What is decoded has been validated: all numbers in range, all texts fit to be shown. The writer
 * validates by the same rules, so nobody sends what others refuse. A reader belongs to one thread;
 * its memory is the caller's, and its size is the limit of a frame on that connection. */
#ifndef SHOAL_PROTO_FRAME_H
#define SHOAL_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "proto/control.pb-c.h"

#include "base/error.h"
#include "base/span.h"

#define FRAME_LENGTH_BYTES 4
#define FRAME_BYTES_MAX    (16u << 20) /* of any connection */

#define FRAME_VERSION     1
#define FRAME_TOKEN_BYTES 16
#define FRAME_HOST_MAX    255
#define FRAME_TEXT_MAX    511 /* ERROR_TEXT_MAX without its end */
#define FRAME_RANKS_MAX   1024
#define FRAME_LAYERS_MAX  65536

struct frame_reader {
    unsigned char *buffer; /* borrowed */
    size_t capacity;
    size_t begin, end; /* bytes that came and were not taken yet */
};

/* `capacity`: at least FRAME_LENGTH_BYTES + 1; a frame has at most that without the length. */
void frame_reader_init(struct frame_reader *reader, unsigned char *buffer, size_t capacity);

/* Where the next bytes go and how many may come. Never 0 once frame_reader_next found no further
 * frame. Ends the life of frames taken before. */
unsigned char *frame_reader_room(struct frame_reader *reader, size_t *bytes);
void frame_reader_grew(struct frame_reader *reader, size_t bytes);

/* The next whole frame without its length, a view into the buffer; data NULL: it is not here yet.
 * ERR_INPUT: empty; ERR_LIMIT: longer than the buffer. After an error the stream cannot go on. */
enum status frame_reader_next(struct frame_reader *reader, struct span *frame, struct error *err);

/* Memory of one decoded frame: a hostile one cannot take more. */
struct frame_memory {
    size_t used;
    _Alignas(max_align_t) unsigned char bytes[16 << 10];
};

/* The message lives in `memory` until the next call. ERR_INPUT: says field, found, allowed;
 * ERR_LIMIT: too many fields; ERR_NOMEM: more than a frame's memory. */
enum status frame_decode(struct span frame, struct frame_memory *memory,
                         const Control__V1__Frame **out, struct error *err);

/* Length and frame into `buffer`. ERR_INPUT: the message is not valid; ERR_LIMIT: it does not fit
 * (bytes is what it needs). */
enum status frame_encode(const Control__V1__Frame *message, unsigned char *buffer, size_t capacity,
                         size_t *bytes, struct error *err);

#endif
