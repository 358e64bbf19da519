/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged headers: seeds are changed at random places, then opened as a model would be. Each mutant
 * is either a model or an error that names the file and a byte, key or tensor.
 *
 *     test_model_gguf_mutants [NUMBER]      2000 by default */
#include "model/weights.h"

#include "base/rng.h"
#include "support_model_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEMO     SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf"
#define SEED_MAX (64 * 1024)
#define N_SEEDS  (ARCH_N + 2)

/* Random numbers of one mutant, in order. */
struct dice {
    uint64_t mutant, n;
};

static uint64_t roll(struct dice *dice, uint64_t sides) {
    return rng_u64(dice->mutant, dice->n++) % sides;
}

/* The demonstration file's header without its long values (the vocabulary and the template). */
static void demo_header(struct text *out) {
    struct gguf gguf;
    assert_int_equal(gguf_open(&gguf, DEMO, NULL), OK);
    const char *file = gguf.parts[0].bytes.data;
    const char *infos = gguf.tensors[0].name.data - 8, *end = file + gguf.parts[0].header_bytes;
    struct text pairs = {0};
    uint64_t n_pairs = 0;
    for (uint32_t i = 0; i < gguf.n_pairs; i++) {
        const char *begin = gguf.pairs[i].key.data - 8;
        const char *next = i + 1 < gguf.n_pairs ? gguf.pairs[i + 1].key.data - 8 : infos;
        if (next - begin > 1024)
            continue;
        text_add(&pairs, span_make(begin, (size_t)(next - begin)));
        n_pairs++;
    }
    text_add(out, span_make(file, 16)); /* magic, version, number of tensors */
    text_add(out, span_make((const char *)&n_pairs, 8));
    text_add(out, text_span(&pairs));
    text_add(out, span_make(infos, (size_t)(end - infos)));
    text_free(&pairs);
    gguf_close(&gguf);
}

static void tiny_header(struct text *out, const struct model_header *header) {
    struct gguf_writer w;
    gguf_writer_init(&w);
    model_header_describe(&w, header);
    assert_int_equal(gguf_writer_header(&w, out, NULL), OK);
    gguf_writer_free(&w);
}

static void make_seeds(struct text seeds[N_SEEDS]) {
    for (int arch = 0; arch < ARCH_N; arch++)
        tiny_header(&seeds[arch], &(struct model_header){.arch = (enum arch)arch});
    tiny_header(&seeds[ARCH_N], &(struct model_header){.arch = ARCH_QWEN35MOE, .with_mtp = true});
    demo_header(&seeds[ARCH_N + 1]);
    for (int i = 0; i < N_SEEDS; i++)
        assert_true(!seeds[i].failed && seeds[i].len <= SEED_MAX);
}

static void edit_integer(char *at, size_t room, struct dice *dice) {
    static const uint64_t values[] = {
        0,
        1,
        2,
        31,
        255,
        65535,
        65536,
        0x7fffffffu,
        0x80000000u,
        0xffffffffu,
        0x100000000u,
        (uint64_t)1 << 61,
        INT64_MAX,
        (uint64_t)1 << 63,
        UINT64_MAX - 31,
        UINT64_MAX,
    };
    size_t n = (size_t)1 << roll(dice, 4);
    if (n > room)
        return;
    uint64_t value = 0;
    memcpy(&value, at, n);
    uint64_t kind = roll(dice, 4);
    if (kind == 0)
        value += 1 + roll(dice, 64);
    else if (kind == 1)
        value -= 1 + roll(dice, 64);
    else
        value = values[roll(dice, sizeof values / sizeof values[0])];
    memcpy(at, &value, n);
}

/* One change of the bytes in place; `room` is how long they may become. */
static void mutate(char *bytes, size_t *len, size_t room, const struct text *other,
                   struct dice *dice) {
    if (*len == 0)
        return;
    size_t at = roll(dice, *len);
    switch (roll(dice, 8)) {
    case 0: /* truncate */
        *len = at;
        break;
    case 1: { /* cut out */
        size_t n = 1 + roll(dice, 64);
        n = n < *len - at ? n : *len - at;
        memmove(bytes + at, bytes + at + n, *len - at - n);
        *len -= n;
        break;
    }
    case 2: { /* splice in a piece of another seed */
        size_t from = roll(dice, other->len), n = 1 + roll(dice, 256);
        n = n < other->len - from ? n : other->len - from;
        if (*len + n > room)
            break;
        memmove(bytes + at + n, bytes + at, *len - at);
        memcpy(bytes + at, other->data + from, n);
        *len += n;
        break;
    }
    case 3:
    case 4:
        bytes[at] = (char)(bytes[at] ^ (1 << roll(dice, 8)));
        break;
    default:
        edit_integer(bytes + at, *len - at, dice);
        break;
    }
}

/* 1 if the mutant is still a model. */
static int open_mutant(struct span bytes, uint64_t mutant) {
    struct gguf gguf;
    struct hparams hp;
    struct weights w;
    struct arena arena = {0};
    struct error err = {0};
    enum status status = gguf_parse(&gguf, "mutant.gguf", bytes, true, &err);
    if (!status)
        status = hparams_read(&hp, &gguf, &err);
    if (!status)
        status = weights_bind(&w, &gguf, &hp, true, &arena, &err);
    bool names_file = strstr(err.text, "mutant.gguf") != NULL;
    bool names_place =
        strstr(err.text, "byte ") || strstr(err.text, "key '") || strstr(err.text, "tensor '");
    if (status && !(names_file && names_place))
        fail_msg("mutant %llu: status %d, '%s'", (unsigned long long)mutant, status, err.text);
    gguf_close(&gguf);
    arena_free(&arena);
    return status == OK;
}

static void mutants_are_models_or_errors_that_say_where(void **state) {
    uint64_t n_mutants = *(const uint64_t *)*state, n_models = 0;
    struct text seeds[N_SEEDS] = {0};
    make_seeds(seeds);
    for (int i = 0; i < N_SEEDS; i++)
        assert_int_equal(open_mutant(text_span(&seeds[i]), 0), 1);
    for (uint64_t mutant = 0; mutant < n_mutants; mutant++) {
        struct dice dice = {.mutant = mutant};
        const struct text *seed = &seeds[roll(&dice, N_SEEDS)];
        const struct text *other = &seeds[roll(&dice, N_SEEDS)];
        size_t room = seed->len + 1024, len = seed->len;
        char *bytes = malloc(room);
        assert_non_null(bytes);
        memcpy(bytes, seed->data, len);
        for (uint64_t i = 1 + roll(&dice, 3); i > 0; i--)
            mutate(bytes, &len, room, other, &dice);
        char *exact = realloc(bytes, len ? len : 1); /* a sanitizer sees the first byte beyond */
        assert_non_null(exact);
        n_models += (uint64_t)open_mutant(span_make(exact, len), mutant);
        free(exact);
    }
    /* The changes must not all be fatal, or only the first checks would be tried. */
    assert_true(n_models > n_mutants / 50);
    assert_true(n_models < n_mutants);
    for (int i = 0; i < N_SEEDS; i++)
        text_free(&seeds[i]);
}

int main(int argc, char **argv) {
    uint64_t n_mutants = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(mutants_are_models_or_errors_that_say_where, &n_mutants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
