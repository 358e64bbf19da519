/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as what a peer sends. The first byte says in which pieces the others come;
 * frames must not depend on that, and what is accepted must be written and read again. */
#include "proto/frame.h"
#include "tests/fuzz/support_fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_frame(struct span frame) {
    static struct frame_memory memory, second;
    unsigned char again[FRAME_LENGTH_BYTES + 2048];
    const Control__V1__Frame *message, *same;
    struct error err = {0};
    size_t n;
    if (frame_decode(frame, &memory, &message, &err) != OK) {
        fuzz_check(message == NULL && err.text[0] != '\0');
        return;
    }
    fuzz_check(frame_encode(message, again, sizeof again, &n, &err) == OK);
    struct span written =
        span_make((const char *)again + FRAME_LENGTH_BYTES, n - FRAME_LENGTH_BYTES);
    fuzz_check(frame_decode(written, &second, &same, &err) == OK);
    fuzz_check(same->body_case == message->body_case);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned char buffer[FRAME_LENGTH_BYTES + 1024];
    struct frame_reader reader;
    if (size == 0)
        return 0;
    size_t piece = 1 + data[0];
    frame_reader_init(&reader, buffer, sizeof buffer);
    for (size_t at = 1; at < size;) {
        size_t room, n = size - at;
        unsigned char *to = frame_reader_room(&reader, &room);
        n = n < piece ? n : piece;
        n = n < room ? n : room;
        fuzz_check(n > 0);
        memcpy(to, data + at, n);
        frame_reader_grew(&reader, n);
        at += n;
        for (;;) {
            struct span frame;
            struct error err = {0};
            if (frame_reader_next(&reader, &frame, &err) != OK) {
                fuzz_check(err.text[0] != '\0');
                return 0;
            }
            if (!frame.data)
                break;
            check_frame(frame);
        }
    }
    return 0;
}
