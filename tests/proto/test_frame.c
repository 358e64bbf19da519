/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: streams cut anywhere, limits of the reader, and what each field may be. Broken messages
 * are written by hand, byte by byte, from the description of the encoding at protobuf.dev. */
#include "proto/frame.h"

#include "support_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The message in `frame` (without its length), which must be refused with a text that has `part`.
 */
static void expect_refused(const void *frame, size_t bytes, enum status status, const char *part) {
    static struct frame_memory memory;
    const Control__V1__Frame *message;
    struct error err = {0};
    enum status found = frame_decode(span_make(frame, bytes), &memory, &message, &err);
    if (found != status || !strstr(err.text, part) || message)
        fail_msg("expected '%s', found %d '%s'", part, (int)found, err.text);
}

static void expect_same(const Control__V1__Frame *message, const unsigned char *frame,
                        size_t bytes) {
    unsigned char again[1024];
    size_t n;
    assert_int_equal(frame_encode(message, again, sizeof again, &n, NULL), OK);
    assert_int_equal(n, bytes);
    assert_memory_equal(again, frame, n);
}

static void every_message_comes_back_however_the_stream_is_cut(void **state) {
    (void)state;
    unsigned char stream[N_SAMPLES * 1024], buffer[FRAME_LENGTH_BYTES + 700];
    size_t begin[N_SAMPLES + 1], bytes = 0;
    static struct frame_memory memory;
    for (uint32_t i = 0; i < N_SAMPLES; i++) {
        begin[i] = bytes;
        bytes += sample_frame(i, stream + bytes);
    }
    begin[N_SAMPLES] = bytes;
    for (size_t piece = 1; piece < 900; piece += piece < 20 ? 1 : 97) {
        struct frame_reader reader;
        uint32_t n_frames = 0;
        frame_reader_init(&reader, buffer, sizeof buffer);
        for (size_t at = 0; at < bytes;) {
            size_t room;
            unsigned char *to = frame_reader_room(&reader, &room);
            size_t n = piece < bytes - at ? piece : bytes - at;
            n = n < room ? n : room;
            assert_true(n > 0);
            memcpy(to, stream + at, n);
            frame_reader_grew(&reader, n);
            at += n;
            for (;;) {
                struct span frame;
                const Control__V1__Frame *message;
                assert_int_equal(frame_reader_next(&reader, &frame, NULL), OK);
                if (!frame.data)
                    break;
                assert_int_equal(frame_decode(frame, &memory, &message, NULL), OK);
                expect_same(message, stream + begin[n_frames],
                            begin[n_frames + 1] - begin[n_frames]);
                n_frames++;
            }
        }
        assert_int_equal(n_frames, N_SAMPLES);
    }
}

static void a_reader_refuses_frames_of_no_bytes_or_too_many(void **state) {
    (void)state;
    static const struct {
        unsigned char length[4];
        enum status status;
        const char *part;
    } cases[] = {{{0, 0, 0, 0}, ERR_INPUT, "length 0"},
                 {{0, 0, 0, 65}, ERR_LIMIT, "65 bytes, at most 64"},
                 {{1, 0, 0, 0}, ERR_LIMIT, "at most 64"},
                 {{255, 255, 255, 255}, ERR_LIMIT, "4294967295 bytes"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char buffer[FRAME_LENGTH_BYTES + 64];
        struct frame_reader reader;
        struct span frame;
        struct error err = {0};
        size_t room;
        frame_reader_init(&reader, buffer, sizeof buffer);
        memcpy(frame_reader_room(&reader, &room), cases[i].length, 3);
        frame_reader_grew(&reader, 3);
        assert_int_equal(frame_reader_next(&reader, &frame, &err), OK);
        assert_null(frame.data);
        *frame_reader_room(&reader, &room) = cases[i].length[3];
        frame_reader_grew(&reader, 1);
        assert_int_equal(frame_reader_next(&reader, &frame, &err), cases[i].status);
        assert_non_null(strstr(err.text, cases[i].part));
    }
}

static void a_frame_as_long_as_the_buffer_is_read(void **state) {
    (void)state;
    unsigned char buffer[FRAME_LENGTH_BYTES + 64] = {0};
    struct frame_reader reader;
    struct span frame;
    size_t room;
    frame_reader_init(&reader, buffer, sizeof buffer);
    for (int round = 0; round < 3; round++) {
        unsigned char *to = frame_reader_room(&reader, &room);
        assert_int_equal(room, sizeof buffer);
        memset(to, 0, 3);
        to[3] = 64;
        frame_reader_grew(&reader, room);
        assert_int_equal(frame_reader_next(&reader, &frame, NULL), OK);
        assert_int_equal(frame.len, 64);
        assert_int_equal(frame_reader_next(&reader, &frame, NULL), OK);
        assert_null(frame.data);
    }
}

static void broken_encodings_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        enum status status;
        const char *part;
    } cases[] = {
        {"", 0, ERR_INPUT, "a kind of message that is not known"},
        {"\x1a", 1, ERR_INPUT, "cut or too long"}, /* no length */
        {"\x1a\x04\x08\x01", 4, ERR_INPUT, "4 bytes are announced, 2 are there"},
        {"\x1a\x02\x08", 3, ERR_INPUT, "2 bytes are announced, 1 are there"},
        {"\x1a\x01\x08", 3, ERR_INPUT, "a number is cut"}, /* in the message */
        {"\x18\x01", 2, ERR_INPUT, "'heartbeat' is of kind 0, not 2"},
        {"\x1b\x1c", 2, ERR_INPUT, "of kind 3"}, /* groups */
        {"\x02\x00", 2, ERR_INPUT, "no field has the number 0"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, ERR_INPUT, "cut or too long"},
        {"\x7b", 1, ERR_INPUT, "fields of kind 3 are not read"}, /* unknown group */
        {"\x7d\x01\x02", 3, ERR_INPUT, "4 bytes are announced"}, /* unknown, 32 bits */
        {"\x79\x01", 2, ERR_INPUT, "8 bytes are announced"},     /* unknown, 64 bits */
        {"\x22\x00\x22\x00", 4, ERR_INPUT, "'resume' comes twice or beside another"},
        {"\x22\x00\x2a\x00", 4, ERR_INPUT, "'stop' comes twice or beside another"},
        {"\x1a\x04\x08\x01\x08\x02", 6, ERR_INPUT, "'phase' comes twice"},
        {"\x1a\x00", 2, ERR_INPUT, "phase: 0, allowed is 1 to 7"},
        {"\x1a\x02\x08\x08", 4, ERR_INPUT, "phase: 8"},
        {"\x1a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, ERR_INPUT, "more than 32"},
        {"\x1a\x06\x08\x01\x10\x80\x80\x04", 8, ERR_INPUT, "layer: 65536, allowed is 0 to 65535"},
        {"\x42\x00", 2, ERR_INPUT, "text: 0 bytes"},
        {"\x42\x03\x0a\x01\x1b", 5, ERR_INPUT, "not plain UTF-8"}, /* escape */
        {"\x42\x03\x0a\x01\x80", 5, ERR_INPUT, "not plain UTF-8"},
        {"\x4a\x00", 2, ERR_INPUT, "a kind of message that is not known"}, /* of a newer peer */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(cases[i].bytes, cases[i].n, cases[i].status, cases[i].part);
}

static void a_few_unknown_fields_are_passed_over_and_a_flood_is_not(void **state) {
    (void)state;
    static struct frame_memory memory;
    const Control__V1__Frame *message;
    unsigned char frame[512];
    size_t n = 0;
    /* of every kind, inside the heartbeat: 8 bytes of a field 15 as bytes, number, 32, 64 bits */
    static const unsigned char heartbeat[] = {0x1a, 23,   0x08, 1, 0x7a, 2, 1, 2,    0x78,
                                              0x81, 0x01, 0x7d, 1, 2,    3, 4, 0x79, 1,
                                              2,    3,    4,    5, 6,    7, 8};
    assert_int_equal(
        frame_decode(span_make((const char *)heartbeat, sizeof heartbeat), &memory, &message, NULL),
        OK);
    assert_int_equal(message->heartbeat->phase, CONTROL__V1__PHASE__PHASE_START);
    for (int i = 0; i < 200; i++) { /* an unknown number */
        frame[n++] = 0x78;
        frame[n++] = 0;
    }
    expect_refused(frame, n, ERR_LIMIT, "more than 16 unknown fields");
}

static void fields_out_of_range_are_refused_by_reader_and_writer(void **state) {
    (void)state;
    static const struct {
        size_t offset; /* of a number of Hello */
        uint32_t value;
        const char *part;
    } cases[] = {
        {offsetof(Control__V1__Hello, version), 0, "version: 0"},
        {offsetof(Control__V1__Hello, n_ranks), 0, "n_ranks: 0, allowed is 1 to 1024"},
        {offsetof(Control__V1__Hello, n_ranks), 1025, "n_ranks: 1025"},
        {offsetof(Control__V1__Hello, rank), 4, "rank: 4, allowed is 0 to 3"},
        {offsetof(Control__V1__Hello, node), 4, "node: 4"},
        {offsetof(Control__V1__Hello, pid), 0, "pid: 0"},
        {offsetof(Control__V1__Hello, pid), 1u << 31, "pid: 2147483648"},
    };
    uint8_t token[FRAME_TOKEN_BYTES] = {0}, host[] = "b", bad_host[] = "b\nc";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] + 3; i++) {
        unsigned char bytes[512];
        size_t n;
        struct error err = {0};
        Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
        Control__V1__Hello hello = CONTROL__V1__HELLO__INIT;
        hello.version = hello.pid = 1;
        hello.n_ranks = 4;
        hello.job_token = (ProtobufCBinaryData){.len = sizeof token, .data = token};
        hello.host = (ProtobufCBinaryData){.len = 1, .data = host};
        m.body_case = CONTROL__V1__FRAME__BODY_HELLO;
        m.hello = &hello;
        assert_int_equal(frame_encode(&m, bytes, sizeof bytes, &n, &err), OK);
        const char *part = NULL;
        if (i < sizeof cases / sizeof cases[0]) {
            memcpy((char *)&hello + cases[i].offset, &cases[i].value, sizeof cases[i].value);
            part = cases[i].part;
        } else if (i == sizeof cases / sizeof cases[0]) {
            hello.job_token.len--;
            part = "job_token: 15 bytes, allowed is 16 to 16";
        } else if (i == sizeof cases / sizeof cases[0] + 1) {
            hello.host.len = 0;
            part = "host: 0 bytes";
        } else {
            hello.host = (ProtobufCBinaryData){.len = 3, .data = bad_host};
            part = "host: byte 0x0a at 1";
        }
        assert_int_equal(frame_encode(&m, bytes, sizeof bytes, &n, &err), ERR_INPUT);
        assert_non_null(strstr(err.text, part));
        n = control__v1__frame__pack(&m, bytes);
        expect_refused(bytes, n, ERR_INPUT, part);
    }
}

static void texts_have_a_longest_length(void **state) {
    (void)state;
    unsigned char bytes[1024];
    uint8_t text[FRAME_TEXT_MAX + 1];
    size_t n;
    memset(text, 'x', sizeof text);
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    Control__V1__Abort abort = CONTROL__V1__ABORT__INIT;
    abort.text = (ProtobufCBinaryData){.len = FRAME_TEXT_MAX, .data = text};
    m.body_case = CONTROL__V1__FRAME__BODY_ABORT;
    m.abort = &abort;
    assert_int_equal(frame_encode(&m, bytes, sizeof bytes, &n, NULL), OK);
    assert_int_equal(frame_encode(&m, bytes, n - 1, &n, NULL), ERR_LIMIT);
    abort.text.len++;
    assert_int_equal(frame_encode(&m, bytes, sizeof bytes, &n, NULL), ERR_INPUT);
    n = control__v1__frame__pack(&m, bytes);
    expect_refused(bytes, n, ERR_INPUT, "text: 512 bytes, allowed is 1 to 511");
}

static void a_message_that_needs_more_than_its_memory_is_refused(void **state) {
    (void)state;
    /* An Abort of 19996 bytes, all of them a text of 19992 and its head. */
    static unsigned char frame[4 + 19996] = {0x42, 0x9c, 0x9c, 0x01, 0x0a, 0x98, 0x9c, 0x01};
    expect_refused(frame, sizeof frame, ERR_NOMEM, "do not unpack within 16384");
    expect_refused(frame, sizeof frame - 1, ERR_INPUT, "19996 bytes are announced, 19995 are");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_however_the_stream_is_cut),
        cmocka_unit_test(a_reader_refuses_frames_of_no_bytes_or_too_many),
        cmocka_unit_test(a_frame_as_long_as_the_buffer_is_read),
        cmocka_unit_test(broken_encodings_are_refused),
        cmocka_unit_test(a_few_unknown_fields_are_passed_over_and_a_flood_is_not),
        cmocka_unit_test(fields_out_of_range_are_refused_by_reader_and_writer),
        cmocka_unit_test(texts_have_a_longest_length),
        cmocka_unit_test(a_message_that_needs_more_than_its_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
