/* SPDX-License-Identifier: Apache-2.0 */
/* Everything lives on the stack of one call: a sample leaves it as bytes. */
#include "support_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static size_t encode(Control__V1__Frame *m, Control__V1__Frame__BodyCase kind,
                     unsigned char buffer[1024]) {
    struct error err = {0};
    size_t bytes = 0;
    m->body_case = kind;
    if (frame_encode(m, buffer, 1024, &bytes, &err) != OK)
        fail_msg("kind %d: %s", (int)kind, err.text);
    return bytes;
}

static size_t hello(uint32_t rank, char *host, unsigned char buffer[1024]) {
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    Control__V1__Hello hello = CONTROL__V1__HELLO__INIT;
    uint8_t token[FRAME_TOKEN_BYTES] = {1, 2, 3};
    hello.version = FRAME_VERSION;
    hello.job_token = (ProtobufCBinaryData){.len = sizeof token, .data = token};
    hello.model_hash = rank ? UINT64_MAX : 0;
    hello.n_ranks = rank + 1;
    hello.rank = hello.node = rank;
    hello.pid = rank ? INT32_MAX : 1;
    hello.host = (ProtobufCBinaryData){.len = strlen(host), .data = (uint8_t *)host};
    m.hello = &hello;
    return encode(&m, CONTROL__V1__FRAME__BODY_HELLO, buffer);
}

static size_t heartbeat(uint64_t number, unsigned char buffer[1024]) {
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    Control__V1__Heartbeat heartbeat = CONTROL__V1__HEARTBEAT__INIT;
    heartbeat.phase = number ? CONTROL__V1__PHASE__PHASE_END : CONTROL__V1__PHASE__PHASE_START;
    heartbeat.layer = number ? FRAME_LAYERS_MAX - 1 : 0;
    heartbeat.step = heartbeat.progress = number;
    m.heartbeat = &heartbeat;
    return encode(&m, CONTROL__V1__FRAME__BODY_HEARTBEAT, buffer);
}

static size_t rank_failed(char *text, unsigned char buffer[1024]) {
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    Control__V1__RankFailed failed = CONTROL__V1__RANK_FAILED__INIT;
    failed.rank = 3;
    failed.phase = CONTROL__V1__PHASE__PHASE_EXCHANGE;
    failed.layer = 17;
    failed.step = 45;
    failed.text = (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
    m.rank_failed = &failed;
    return encode(&m, CONTROL__V1__FRAME__BODY_RANK_FAILED, buffer);
}

static size_t told(Control__V1__Frame__BodyCase kind, char *text, unsigned char buffer[1024]) {
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    Control__V1__Refused refused = CONTROL__V1__REFUSED__INIT;
    Control__V1__Abort abort = CONTROL__V1__ABORT__INIT;
    refused.text = abort.text = (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
    if (kind == CONTROL__V1__FRAME__BODY_REFUSED)
        m.refused = &refused;
    else
        m.abort = &abort;
    return encode(&m, kind, buffer);
}

static size_t empty(Control__V1__Frame__BodyCase kind, unsigned char buffer[1024]) {
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    Control__V1__Resume resume = CONTROL__V1__RESUME__INIT;
    Control__V1__Stop stop = CONTROL__V1__STOP__INIT;
    Control__V1__RankLeft left = CONTROL__V1__RANK_LEFT__INIT;
    if (kind == CONTROL__V1__FRAME__BODY_RESUME)
        m.resume = &resume;
    else if (kind == CONTROL__V1__FRAME__BODY_STOP)
        m.stop = &stop;
    else
        m.rank_left = &left;
    return encode(&m, kind, buffer);
}

size_t sample_frame(uint32_t idx, unsigned char buffer[1024]) {
    char one[] = "r", longest[FRAME_TEXT_MAX + 1], host[] = "node-7.example_org";
    memset(longest, 'e', FRAME_TEXT_MAX);
    longest[FRAME_TEXT_MAX] = '\0';
    switch (idx) {
    case 0:
        return hello(0, one, buffer);
    case 1:
        return hello(FRAME_RANKS_MAX - 1, host, buffer);
    case 2:
        return told(CONTROL__V1__FRAME__BODY_REFUSED, one, buffer);
    case 3:
        return heartbeat(0, buffer);
    case 4:
        return heartbeat(UINT64_MAX, buffer);
    case 5:
        return empty(CONTROL__V1__FRAME__BODY_RESUME, buffer);
    case 6:
        return empty(CONTROL__V1__FRAME__BODY_STOP, buffer);
    case 7:
        return empty(CONTROL__V1__FRAME__BODY_RANK_LEFT, buffer);
    case 8:
        return rank_failed(one, buffer);
    case 9:
        return rank_failed(longest, buffer);
    default:
        return told(CONTROL__V1__FRAME__BODY_ABORT, longest, buffer);
    }
}
