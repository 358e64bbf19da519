/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged frames: streams of valid ones are changed at random places and read. Each is either read
 * to its end or refused with a text, and what is accepted is written and read again unchanged.
 *
 *     test_proto_frame_mutants [NUMBER]      2000 by default */
#include "base/rng.h"
#include "proto/frame.h"

#include "support_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Random numbers of one mutant, in order. */
struct dice {
    uint64_t mutant, n;
};

static uint64_t roll(struct dice *dice, uint64_t sides) {
    return rng_u64(dice->mutant, dice->n++) % sides;
}

/* Edits keep the length right half of the time, so that not all end at the reader. */
static size_t mutate(unsigned char *bytes, size_t len, struct dice *dice) {
    static const unsigned char values[] = {0, 1, 7, 8, 0x0a, 0x12, 0x1a, 0x7f, 0x80, 0xff};
    size_t at = FRAME_LENGTH_BYTES + roll(dice, len - FRAME_LENGTH_BYTES);
    switch (roll(dice, 5)) {
    case 0:
        bytes[at] = (unsigned char)(bytes[at] ^ (1 << roll(dice, 8)));
        break;
    case 1:
        bytes[at] = values[roll(dice, sizeof values)];
        break;
    case 2: /* a byte more */
        memmove(bytes + at + 1, bytes + at, len - at);
        bytes[at] = (unsigned char)roll(dice, 256);
        len++;
        break;
    case 3: /* cut off */
        len = at;
        break;
    default: /* two fields change places, or one comes twice */
        if (len - at > 4)
            memcpy(bytes + at, bytes + FRAME_LENGTH_BYTES, 2);
        break;
    }
    if (len > FRAME_LENGTH_BYTES && roll(dice, 8) != 0) {
        bytes[2] = (unsigned char)((len - FRAME_LENGTH_BYTES) >> 8);
        bytes[3] = (unsigned char)(len - FRAME_LENGTH_BYTES);
    }
    return len;
}

static bool text_is_there(const struct error *err) {
    return strncmp(err->text, "frame", 5) == 0 && strlen(err->text) > 7;
}

/* Whether the mutant is still a message. */
static bool read_mutant(const unsigned char *bytes, size_t len, uint64_t mutant) {
    unsigned char buffer[1024 + 64], again[1024 + 64];
    static struct frame_memory memory, second;
    struct frame_reader reader;
    struct span frame;
    const Control__V1__Frame *message, *same;
    struct error err = {0};
    size_t room, n;
    frame_reader_init(&reader, buffer, sizeof buffer);
    memcpy(frame_reader_room(&reader, &room), bytes, len);
    frame_reader_grew(&reader, len);
    enum status status = frame_reader_next(&reader, &frame, &err);
    if (status == OK && frame.data)
        status = frame_decode(frame, &memory, &message, &err);
    if (status != OK && !text_is_there(&err))
        fail_msg("mutant %llu: status %d, '%s'", (unsigned long long)mutant, status, err.text);
    if (status != OK || !frame.data)
        return false;
    assert_int_equal(frame_encode(message, again, sizeof again, &n, &err), OK);
    struct span written =
        span_make((const char *)again + FRAME_LENGTH_BYTES, n - FRAME_LENGTH_BYTES);
    assert_int_equal(frame_decode(written, &second, &same, &err), OK);
    assert_int_equal(message->body_case, same->body_case);
    return true;
}

static void mutants_are_messages_or_refused(void **state) {
    uint64_t n_mutants = *(const uint64_t *)*state, n_messages = 0;
    for (uint64_t mutant = 0; mutant < n_mutants; mutant++) {
        struct dice dice = {.mutant = mutant};
        unsigned char bytes[1024 + 64];
        size_t len = sample_frame((uint32_t)roll(&dice, N_SAMPLES), bytes);
        for (uint64_t i = 1 + roll(&dice, 3); i > 0 && len > FRAME_LENGTH_BYTES; i--)
            len = mutate(bytes, len, &dice);
        unsigned char *exact = malloc(len); /* a sanitizer sees the first byte beyond */
        assert_non_null(exact);
        memcpy(exact, bytes, len);
        n_messages += read_mutant(exact, len, mutant);
        free(exact);
    }
    assert_true(n_messages > n_mutants / 50);
    assert_true(n_messages < n_mutants);
}

int main(int argc, char **argv) {
    uint64_t n_mutants = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(mutants_are_messages_or_refused, &n_mutants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
