/* SPDX-License-Identifier: Apache-2.0 */
/* Sixty-four sequences at once, with arrivals, stops and cancellations: nobody gets a token that he
 * would not get alone or waits beyond the bound, and nothing is left. With an argument it goes on
 * for that many seconds, else until enough requests have ended. */
#include "tests/support/sanitizers.h"
#include "tests/worker/support_talk.h"

#include "base/clock.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct demo demo;
static struct kind kinds[N_KINDS];

static int open_demo(void **state) {
    (void)state;
    demo_open(&demo, false);
    kinds_make(kinds, &demo);
    return 0;
}

static int close_demo(void **state) {
    (void)state;
    kinds_free(kinds);
    demo_close(&demo);
    return 0;
}

/* Enough that some were preempted and that the waves of both kinds have come. */
#ifdef SANITIZED
#define ENDED_MIN 100
#else
#define ENDED_MIN 200
#endif

#define SOAK_SLOTS 64
#define SOAK_LIVE  80 /* with those that wait */

struct soak {
    struct engine *engine;
    struct batcher *batcher;
    struct talk talks[SOAK_LIVE];
    uint64_t n_rounds, n_chances;
    uint32_t n_together_max;
    uint64_t n_ended, n_cancelled, n_tokens;
};

static uint32_t chance(struct soak *soak, uint32_t below) {
    return (uint32_t)(rng_u64(64, soak->n_chances++) % below);
}

/* The oldest sequence runs a token in each step and never starts anew, so the first token of a
 * newcomer comes at the latest when all that are there could have run one by one. */
static uint64_t first_token_deadline(const struct soak *soak) {
    uint64_t n = batcher_schedule(soak->batcher)->counts.n_steps;
    for (uint32_t i = 0; i < SOAK_LIVE; i++) {
        const struct kind *kind = soak->talks[i].kind;
        n += kind ? kind->n_prompt + kind->n_new : 0;
    }
    return n;
}

/* They come in waves, so that many are of one age and grow together; growing kinds only, which are
 * heard to the end, and all kinds by turns. */
static bool soak_is_wave(const struct soak *soak) {
    return soak->n_rounds % 128 < 64;
}

static void soak_arrive(struct soak *soak, struct talk *talk) {
    bool growing = soak->n_rounds % 256 < 128;
    talk_begin(talk, &kinds[chance(soak, growing ? N_GROWING : N_KINDS)], soak->batcher);
    talk->stops_after = growing || chance(soak, 4) == 0 ? 0 : 1 + chance(soak, talk->kind->n_new);
    talk->deadline = first_token_deadline(soak);
}

/* Collects those that ended and cancels some. */
static void soak_look(struct soak *soak, struct talk *talk) {
    bool cancelled = !talk->ended && chance(soak, 400) == 0;
    if (cancelled) {
        batcher_cancel(soak->batcher, talk->seq);
        soak->n_cancelled++;
    }
    uint64_t n_steps = batcher_schedule(soak->batcher)->counts.n_steps;
    assert_true(talk->n_heard > 0 || cancelled || n_steps <= talk->deadline);
    if (!cancelled && !talk->ended)
        return;
    talk_expect_same(talk);
    if (talk->ended) {
        bool by_us = talk->stops_after == talk->result.n_new;
        assert_int_equal(talk->result.n_new, by_us ? talk->stops_after : talk->kind->n_new);
        assert_int_equal(talk->n_heard, talk->result.n_new);
        soak->n_ended++;
    }
    soak->n_tokens += talk->n_heard;
    talk_end(talk);
}

static void soak_round(struct soak *soak, bool with_arrivals) {
    soak->n_rounds++;
    for (uint32_t i = 0; i < SOAK_LIVE && with_arrivals && soak_is_wave(soak); i++) {
        if (!soak->talks[i].kind && chance(soak, 4) == 0)
            soak_arrive(soak, &soak->talks[i]);
    }
    talk_step(soak->batcher);
    uint32_t n_together = batcher_schedule(soak->batcher)->n_running;
    if (n_together > soak->n_together_max)
        soak->n_together_max = n_together;
    for (uint32_t i = 0; i < SOAK_LIVE; i++) {
        if (soak->talks[i].kind)
            soak_look(soak, &soak->talks[i]);
    }
}

static void nothing_leaks_and_nobody_starves(void **state) {
    double seconds = *(const double *)*state;
    struct soak *soak = calloc(1, sizeof *soak);
    assert_non_null(soak);
    /* Little more than two pages each, where a growing kind needs four in the end: in each of its
     * waves some lose theirs. */
    soak->engine = talk_engine(&demo, SOAK_SLOTS, SOAK_SLOTS * 2 + 8, 256);
    soak->batcher = talk_batcher(&demo, soak->engine, SOAK_LIVE);
    const struct schedule *schedule = batcher_schedule(soak->batcher);
    uint64_t begin_ns = clock_ns();
    while (soak->n_ended < ENDED_MIN || clock_seconds_since(begin_ns) < seconds)
        soak_round(soak, true);
    while (schedule->n_running + schedule->n_waiting > 0)
        soak_round(soak, false);
    const struct schedule_counts *counts = &schedule->counts;
    print_message("%llu steps in %.1f s, %llu requests ended and %llu were cancelled, %llu tokens; "
                  "%u at once at most; %llu preemptions, %llu tokens again; longest wait %llu\n",
                  (unsigned long long)counts->n_steps, clock_seconds_since(begin_ns),
                  (unsigned long long)soak->n_ended, (unsigned long long)soak->n_cancelled,
                  (unsigned long long)soak->n_tokens, soak->n_together_max,
                  (unsigned long long)counts->n_preempted,
                  (unsigned long long)counts->n_lost_tokens,
                  (unsigned long long)counts->wait_steps_max);
    assert_true(counts->n_preempted > 0);
    assert_int_equal(counts->n_submitted, soak->n_ended + soak->n_cancelled);
    assert_int_equal(counts->n_finished, soak->n_ended);
    assert_int_equal(soak->n_together_max, SOAK_SLOTS);
    talk_expect_all_free(soak->engine);
    assert_int_equal(schedule->n_free_seqs, SOAK_LIVE);
    batcher_close(soak->batcher);
    engine_close(soak->engine);
    free(soak);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(nothing_leaks_and_nobody_starves, &seconds),
    };
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}
