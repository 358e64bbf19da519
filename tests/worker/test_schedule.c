/* SPDX-License-Identifier: Apache-2.0 */
/* Continuous batching without an engine: small scenes whose every step is known, then thousands of
 * random ones, in which a model of the caller's side checks what must hold in every step. */
#include "worker/schedule/schedule.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct schedule s;
    enum schedule_end *ends; /* [all slots] */
};

static struct schedule *start(struct fixture *f, const struct schedule_options *options) {
    struct error err;
    uint32_t n_slots = 0;
    *f = (struct fixture){0};
    if (schedule_init(&f->s, options, &f->arena, &err) != OK)
        fail_msg("%s", err.text);
    for (uint32_t g = 0; g < options->n_groups; g++)
        n_slots += options->groups[g].n_slots;
    f->ends = arena_array(&f->arena, n_slots, sizeof *f->ends);
    assert_non_null(f->ends);
    return &f->s;
}

static uint32_t submit(struct schedule *s, uint32_t n_prompt, uint32_t n_new_max) {
    struct error err;
    uint32_t seq;
    if (schedule_submit(s, n_prompt, n_new_max, &seq, &err) != OK)
        fail_msg("%s", err.text);
    return seq;
}

/* Tells the schedule that the present step was run and nobody stopped. */
static void done(struct fixture *f) {
    memset(f->ends, 0, f->s.step.n_rows * sizeof *f->ends);
    schedule_done(&f->s, f->ends);
}

/* Plans a step, expects rows as "seq:begin+n" with a "!" behind those with output, and runs it. */
static void expect_step(struct fixture *f, const char *expected) {
    const struct schedule_step *step = schedule_plan(&f->s);
    char text[512];
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < step->n_rows; i++) {
        const struct schedule_row *r = &step->rows[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%u:%u+%u%s", i > 0 ? " " : "", r->seq,
                              r->begin, r->n_tokens, r->output ? "!" : "");
    }
    assert_string_equal(text, expected);
    if (step->n_rows > 0)
        done(f);
}

static struct schedule_group group_of(uint32_t n_slots, uint32_t n_pages) {
    return (struct schedule_group){
        .n_slots = n_slots, .n_slots_free = n_slots, .n_pages = n_pages, .n_pages_free = n_pages};
}

static struct schedule_options options_of(const struct schedule_group *groups, uint32_t n_groups) {
    return (struct schedule_options){.groups = groups,
                                     .n_groups = n_groups,
                                     .page_tokens = 4,
                                     .ctx_size = 1000,
                                     .n_step_tokens = 16,
                                     .n_seqs_max = 32};
}

static void decode_goes_first_and_prompts_share_the_rest(void **state) {
    (void)state;
    struct fixture f;
    struct schedule_group group = group_of(4, 1000);
    struct schedule_options options = options_of(&group, 1);
    struct schedule *s = start(&f, &options);
    submit(s, 3, 100);
    expect_step(&f, "0:0+3!");
    submit(s, 40, 100);
    submit(s, 5, 100);
    submit(s, 40, 100);
    /* 15 are left: five each, which is all that the second of them needs. */
    expect_step(&f, "0:3+1! 1:0+5 2:0+5! 3:0+5");
    expect_step(&f, "0:4+1! 2:5+1! 1:5+7 3:5+7");
    submit(s, 1, 1); /* no slot is free */
    expect_step(&f, "0:5+1! 2:6+1! 1:12+7 3:12+7");
    expect_step(&f, "0:6+1! 2:7+1! 1:19+7 3:19+7");
    schedule_cancel(s, 2);
    /* What does not divide goes to the oldest; a prompt of one token is a prompt all the same. */
    expect_step(&f, "0:7+1! 1:26+7 3:26+7 4:0+1!");
    assert_int_equal(s->n_running, 3);
    expect_step(&f, "0:8+1! 1:33+7! 3:33+7!");
    expect_step(&f, "0:9+1! 1:40+1! 3:40+1!");
    assert_int_equal(s->counts.n_steps, 8);
    assert_int_equal(s->counts.wait_steps_max, 2);
    assert_int_equal(s->counts.n_finished, 1);
    assert_int_equal(s->counts.n_cancelled, 1);
    arena_free(&f.arena);
}

static void prompts_wait_for_those_who_decode_up_to_a_limit(void **state) {
    (void)state;
    struct fixture f;
    struct schedule_group group = group_of(4, 1000);
    struct schedule_options options = options_of(&group, 1);
    options.n_prompt_tokens = 3;
    struct schedule *s = start(&f, &options);
    submit(s, 20, 2);
    submit(s, 20, 2);
    expect_step(&f, "0:0+8 1:0+8"); /* nobody waits for this step */
    expect_step(&f, "0:8+8 1:8+8");
    submit(s, 9, 1);
    submit(s, 9, 1);
    expect_step(&f, "0:16+4! 1:16+4! 2:0+4 3:0+4");
    expect_step(&f, "0:20+1! 1:20+1! 2:4+2 3:4+1");
    expect_step(&f, "2:6+3! 3:5+4!");
    expect_step(&f, "");
    arena_free(&f.arena);
}

static void the_youngest_gives_its_pages_and_reads_its_tokens_again(void **state) {
    (void)state;
    struct fixture f;
    struct schedule_group group = group_of(2, 5);
    struct schedule_options options = options_of(&group, 1);
    struct schedule *s = start(&f, &options);
    submit(s, 4, 12);
    submit(s, 4, 12);
    expect_step(&f, "0:0+4! 1:0+4!");
    assert_int_equal(s->groups[0].n_pages_free, 3);
    expect_step(&f, "0:4+1! 1:4+1!"); /* a second page each */
    for (int i = 0; i < 3; i++) {
        schedule_plan(s);
        done(&f);
    }
    submit(s, 1, 1); /* it must not come before the older one that is about to wait */
    assert_int_equal(s->groups[0].n_pages_free, 1);
    const struct schedule_step *step = schedule_plan(s);
    assert_int_equal(step->n_rows, 1);
    assert_int_equal(step->n_preempted, 1);
    assert_int_equal(step->preempted[0], 1);
    assert_int_equal(step->rows[0].seq, 0);
    assert_int_equal(s->groups[0].n_pages_free, 2);
    assert_int_equal(s->waiting[0], 1);
    assert_int_equal(s->waiting[1], 2);
    assert_int_equal(s->counts.n_lost_tokens, 8);
    done(&f);
    for (int i = 0; i < 5; i++) {
        schedule_plan(s);
        done(&f);
    }
    expect_step(&f, "0:14+1!");
    assert_int_equal(s->n_running, 0);
    expect_step(&f, "1:0+9!");
    expect_step(&f, "1:9+1!");
    assert_int_equal(s->counts.n_preempted, 1);
    arena_free(&f.arena);
}

static void a_newcomer_leaves_pages_for_the_growth_of_others(void **state) {
    (void)state;
    struct fixture f;
    struct schedule_group group = group_of(8, 10);
    struct schedule_options options = options_of(&group, 1);
    options.n_step_tokens = 100;
    struct schedule *s = start(&f, &options);
    submit(s, 24, 4);
    schedule_plan(s);
    done(&f);
    submit(s, 12, 4); /* 3 pages; beside them one for each of the two */
    const struct schedule_step *step = schedule_plan(s);
    assert_int_equal(step->n_admitted, 0);
    done(&f);
    submit(s, 1, 1); /* it would fit and must not overtake */
    step = schedule_plan(s);
    assert_int_equal(step->n_admitted, 0);
    done(&f);
    schedule_plan(s);
    done(&f); /* the first ends */
    step = schedule_plan(s);
    assert_int_equal(step->n_admitted, 2);
    done(&f);
    arena_free(&f.arena);
}

static void a_sequence_lives_where_most_room_is(void **state) {
    (void)state;
    struct fixture f;
    struct schedule_group groups[] = {group_of(2, 6), group_of(2, 20), group_of(2, 20)};
    struct schedule_options options = options_of(groups, 3);
    options.n_step_tokens = 100;
    struct schedule *s = start(&f, &options);
    submit(s, 4, 2);
    submit(s, 4, 2);
    submit(s, 4, 2);
    submit(s, 40, 21);  /* needs 15 pages in the end: never in the first group */
    submit(s, 4, 1000); /* may take all of a large group */
    schedule_plan(s);
    assert_int_equal(s->seqs[0].group, 1);
    assert_int_equal(s->seqs[1].group, 2);
    assert_int_equal(s->seqs[2].group, 1);
    assert_int_equal(s->seqs[3].group, 2);
    assert_int_equal(s->seqs[4].state, SEQ_WAITING); /* the groups that could hold it are full */
    assert_int_equal(s->groups[0].n_slots_free, 2);
    assert_int_equal(s->groups[1].n_pages_free, 18);
    assert_int_equal(s->groups[2].n_pages_free, 9);
    arena_free(&f.arena);
}

/* Steps until the only sequence ends; *length: tokens it has had then. */
static uint32_t steps_to_end(struct fixture *f, uint32_t seq, uint32_t *length) {
    uint32_t n = 0;
    while (schedule_plan(&f->s)->n_rows > 0) {
        done(f);
        *length = f->s.seqs[seq].n_tokens;
        n++;
    }
    return n;
}

static void a_sequence_ends_where_context_or_pages_do(void **state) {
    (void)state;
    struct fixture f;
    struct schedule_group group = group_of(1, 3);
    struct schedule_options options = options_of(&group, 1);
    struct schedule *s = start(&f, &options);
    uint32_t length;
    /* 12 tokens in pages and one that needs no place, for it is never run. */
    assert_int_equal(steps_to_end(&f, submit(s, 5, 1000), &length), 8);
    assert_int_equal(length, 13);
    assert_int_equal(steps_to_end(&f, submit(s, 12, 5), &length), 1);
    assert_int_equal(s->counts.n_preempted, 0);
    arena_free(&f.arena);
    options.ctx_size = 7;
    s = start(&f, &options);
    assert_int_equal(steps_to_end(&f, submit(s, 5, UINT32_MAX), &length), 3);
    assert_int_equal(length, 8);
    arena_free(&f.arena);
    /* A network without attention needs no pages. */
    group = group_of(1, 0);
    options.page_tokens = 0;
    options.ctx_size = 100;
    s = start(&f, &options);
    assert_int_equal(steps_to_end(&f, submit(s, 50, 10), &length), 4 + 9);
    arena_free(&f.arena);
}

static void who_stops_or_fails_is_forgotten_at_once(void **state) {
    (void)state;
    struct fixture f;
    struct schedule_group group = group_of(3, 100);
    struct schedule_options options = options_of(&group, 1);
    struct schedule *s = start(&f, &options);
    for (int i = 0; i < 3; i++)
        submit(s, 6, 1 + (uint32_t)(i == 1));
    schedule_plan(s);
    enum schedule_end ends[] = {SEQ_FAILED, SEQ_STOPPED, SEQ_GOES_ON};
    schedule_done(s, ends);
    assert_int_equal(s->n_running, 1); /* two have read their prompts, the third part of it */
    schedule_plan(s);
    ends[0] = SEQ_GOES_ON;
    schedule_done(s, ends);
    assert_int_equal(ends[0], SEQ_LENGTH);
    assert_int_equal(s->n_running, 0);
    assert_int_equal(s->groups[0].n_pages_free, 100);
    assert_int_equal(s->groups[0].n_slots_free, 3);
    arena_free(&f.arena);
}

static void what_can_never_run_is_refused(void **state) {
    (void)state;
    struct fixture f;
    struct error err;
    uint32_t seq;
    struct schedule_group groups[] = {group_of(4, 10), group_of(4, 12)};
    struct schedule_options options = options_of(groups, 2);
    options.n_seqs_max = 2;
    struct schedule *s = start(&f, &options);
    assert_int_equal(schedule_submit(s, 49, 1, &seq, &err), ERR_LIMIT);
    assert_string_equal(err.text, "the prompt has 49 tokens, at most 48 fit");
    assert_int_equal(schedule_submit(s, 0, 1, &seq, &err), ERR_INPUT);
    assert_int_equal(schedule_submit(s, 1, 0, &seq, &err), ERR_INPUT);
    submit(s, 48, 1);
    submit(s, 1, 1);
    assert_int_equal(schedule_submit(s, 1, 1, &seq, &err), ERR_LIMIT);
    assert_string_equal(err.text, "2 sequences are waiting or running, which are all");
    arena_free(&f.arena);

    struct arena arena = {0};
    options.n_step_tokens = 7;
    assert_int_equal(schedule_init(s, &options, &arena, &err), ERR_LIMIT);
    assert_string_equal(err.text,
                        "8 sequences at once do not fit a step of 7 tokens: each needs one");
    options.n_step_tokens = 8;
    options.n_groups = 0;
    assert_int_equal(schedule_init(s, &options, &arena, &err), ERR_LIMIT);
    options.n_groups = 2;
    options.n_seqs_max = SCHEDULE_SEQS_MAX + 1;
    assert_int_equal(schedule_init(s, &options, &arena, &err), ERR_LIMIT);
    options.n_seqs_max = 1;
    groups[1].n_pages = 0;
    assert_int_equal(schedule_init(s, &options, &arena, &err), ERR_INPUT);
    assert_string_equal(err.text, "attention group 1: 4 slots and 0 pages");
    arena_free(&arena);
}

/* ---- random scenes ---- */

#define SCENE_SEQS  64
#define SCENE_STEPS 400 /* in which sequences arrive and are cancelled; then all run out */

/* What the caller of a schedule knows of a sequence. */
struct shadow {
    bool live, placed, in_step;
    bool fresh; /* placed in this step */
    uint32_t group;
    uint32_t n_prompt, n_new_max, n_known, n_done;
    uint32_t stops_at; /* tokens; it may have ended before */
    uint64_t arrival;
    uint64_t deadline; /* step by which its first token must be there */
};

struct scene {
    struct fixture f;
    struct schedule_group groups[3];
    struct schedule_options options;
    struct shadow shadows[SCENE_SEQS];
    uint64_t key, counter, n_arrived, n_ended, n_cancelled, n_preempted;
};

static uint32_t draw(struct scene *scene, uint32_t below) {
    return (uint32_t)(rng_u64(scene->key, scene->counter++) % below);
}

static void arrive(struct scene *scene) {
    struct schedule *s = &scene->f.s;
    struct error err;
    uint32_t seq, n_prompt = 1 + draw(scene, draw(scene, 4) ? 20 : 150);
    uint32_t n_new_max = 1 + draw(scene, draw(scene, 4) ? 60 : 200);
    enum status status = schedule_submit(s, n_prompt, n_new_max, &seq, &err);
    if (status != OK) {
        assert_int_equal(status, ERR_LIMIT);
        return;
    }
    struct shadow *q = &scene->shadows[seq];
    assert_false(q->live);
    *q = (struct shadow){.live = true,
                         .n_prompt = n_prompt,
                         .n_new_max = n_new_max,
                         .n_known = n_prompt,
                         .stops_at = n_prompt + 1 + draw(scene, 2 * n_new_max),
                         .arrival = scene->n_arrived++};
    /* Each step runs a token of the oldest sequence, and the oldest never starts anew: so when all
     * that are here now could have run everything, one token per step, this one has had its turn.
     */
    q->deadline = s->counts.n_steps;
    for (uint32_t i = 0; i < SCENE_SEQS; i++) {
        if (scene->shadows[i].live)
            q->deadline += scene->shadows[i].n_prompt + scene->shadows[i].n_new_max;
    }
}

static void cancel_one(struct scene *scene) {
    uint32_t seq = draw(scene, SCENE_SEQS);
    if (!scene->shadows[seq].live)
        return;
    schedule_cancel(&scene->f.s, seq);
    scene->shadows[seq].live = scene->shadows[seq].placed = false;
    scene->n_cancelled++;
}

/* Pages as an engine takes them: for tokens that were run, after this step. */
static void check_pages(const struct scene *scene) {
    const struct schedule *s = &scene->f.s;
    uint32_t n_pages[3] = {0}, n_owned[3] = {0}, n_slots[3] = {0}, page = s->options.page_tokens;
    for (uint32_t i = 0; i < SCENE_SEQS; i++) {
        const struct shadow *q = &scene->shadows[i];
        if (!q->placed)
            continue;
        uint32_t n_tokens = q->n_done;
        for (uint32_t r = 0; r < s->step.n_rows; r++)
            n_tokens += s->step.rows[r].seq == i ? s->step.rows[r].n_tokens : 0;
        uint32_t needs = page > 0 ? (n_tokens + page - 1) / page : 0;
        assert_true(needs <= s->seqs[i].n_pages);
        n_slots[q->group]++;
        n_pages[q->group] += needs;
        n_owned[q->group] += s->seqs[i].n_pages;
    }
    for (uint32_t g = 0; g < s->options.n_groups; g++) {
        assert_true(n_pages[g] <= scene->groups[g].n_pages);
        assert_int_equal(n_owned[g], scene->groups[g].n_pages - s->groups[g].n_pages_free);
        assert_int_equal(n_slots[g], scene->groups[g].n_slots - s->groups[g].n_slots_free);
    }
}

static void follow_moves(struct scene *scene) {
    const struct schedule *s = &scene->f.s;
    for (uint32_t i = 0; i < s->step.n_preempted; i++) {
        struct shadow *q = &scene->shadows[s->step.preempted[i]];
        assert_true(q->placed);
        q->placed = false;
        q->n_done = 0;
        scene->n_preempted++;
        for (uint32_t k = 0; k < SCENE_SEQS; k++) {
            const struct shadow *other = &scene->shadows[k];
            assert_false(other->placed && other->group == q->group && other->arrival > q->arrival);
        }
    }
    for (uint32_t i = 0; i < s->step.n_admitted; i++) {
        struct shadow *q = &scene->shadows[s->step.admitted[i]];
        assert_true(q->live && !q->placed);
        q->placed = q->fresh = true;
        q->group = s->seqs[s->step.admitted[i]].group;
        for (uint32_t k = 0; k < SCENE_SEQS; k++) {
            const struct shadow *other = &scene->shadows[k];
            assert_false(other->live && !other->placed && other->arrival < q->arrival);
        }
    }
}

/* Rows continue where their sequences are, decode first and oldest first, within the budget; if
 * there is budget left, nobody has a token that could have run. */
static void check_rows(struct scene *scene) {
    const struct schedule *s = &scene->f.s;
    uint32_t n_tokens = 0, n_prompt_tokens = 0, n_decode = 0;
    for (uint32_t i = 0; i < s->step.n_rows; i++) {
        const struct schedule_row *row = &s->step.rows[i];
        struct shadow *q = &scene->shadows[row->seq];
        assert_true(q->placed && !q->in_step && row->n_tokens > 0);
        assert_int_equal(row->begin, q->n_done);
        assert_true(row->begin + row->n_tokens <= q->n_known);
        assert_int_equal(row->output, row->begin + row->n_tokens == q->n_known);
        q->in_step = true;
        n_tokens += row->n_tokens;
        bool decodes = !q->fresh && q->n_known - q->n_done == 1;
        n_decode += decodes;
        n_prompt_tokens += decodes ? 0 : row->n_tokens;
        if (i > 0 && n_prompt_tokens != row->n_tokens)
            assert_true(scene->shadows[s->step.rows[i - 1].seq].arrival < q->arrival);
    }
    uint32_t limit = s->options.n_step_tokens - n_decode, asked = s->options.n_prompt_tokens;
    if (n_decode > 0 && asked > 0 && asked < limit)
        limit = asked;
    assert_true(n_tokens <= s->options.n_step_tokens && n_prompt_tokens <= limit);
    for (uint32_t i = 0; i < SCENE_SEQS; i++) {
        struct shadow *q = &scene->shadows[i];
        bool waits_for_budget = q->placed && n_prompt_tokens == limit;
        assert_true(q->in_step || !q->placed || waits_for_budget);
        q->in_step = q->fresh = false;
    }
}

static void finish_step(struct scene *scene) {
    struct schedule *s = &scene->f.s;
    struct schedule_step step = s->step;
    for (uint32_t i = 0; i < step.n_rows; i++) {
        struct shadow *q = &scene->shadows[step.rows[i].seq];
        q->n_done += step.rows[i].n_tokens;
        q->n_known += step.rows[i].output;
        bool stops = step.rows[i].output && q->n_known == q->stops_at;
        scene->f.ends[i] = stops ? SEQ_STOPPED : SEQ_GOES_ON;
        if (s->options.n_groups == 1 && step.rows[i].output)
            assert_true(q->n_known > q->n_prompt + 1 || s->counts.n_steps <= q->deadline);
    }
    schedule_done(s, scene->f.ends);
    for (uint32_t i = 0; i < step.n_rows; i++) {
        struct shadow *q = &scene->shadows[step.rows[i].seq];
        bool full = q->n_known == q->n_prompt + q->n_new_max || q->n_known > s->options.ctx_size;
        if (scene->f.ends[i] != SEQ_GOES_ON) {
            assert_true(full || scene->f.ends[i] == SEQ_STOPPED);
            q->live = q->placed = false;
            scene->n_ended++;
        } else {
            assert_false(full);
        }
    }
}

static bool run_step(struct scene *scene) {
    const struct schedule_step *step = schedule_plan(&scene->f.s);
    follow_moves(scene);
    check_rows(scene);
    check_pages(scene);
    if (step->n_rows == 0)
        return false;
    finish_step(scene);
    return true;
}

static void run_scene(uint64_t key, uint64_t *n_preempted) {
    struct scene scene = {.key = key};
    uint32_t page_tokens = draw(&scene, 6) ? 1 + draw(&scene, 16) : 0;
    uint32_t ctx_size = 20 + draw(&scene, 300), n_slots = 0;
    scene.options = (struct schedule_options){.groups = scene.groups,
                                              .n_groups = 1 + (draw(&scene, 3) == 0) * 2,
                                              .page_tokens = page_tokens,
                                              .ctx_size = ctx_size,
                                              .n_prompt_tokens = draw(&scene, 2) * draw(&scene, 40),
                                              .n_seqs_max = SCENE_SEQS};
    for (uint32_t g = 0; g < scene.options.n_groups; g++) {
        /* From one context for all to more than enough; at least one group holds a context. */
        uint32_t full = page_tokens ? (ctx_size + page_tokens - 1) / page_tokens : 0;
        uint32_t slots = 1 + draw(&scene, 12);
        uint32_t pages = full + draw(&scene, full * slots / (1 + draw(&scene, 4)) + 1);
        scene.groups[g] = group_of(slots, g > 0 && full > 1 ? pages / 2 + 1 : pages);
        n_slots += slots;
    }
    scene.options.n_step_tokens = n_slots + draw(&scene, 200);
    start(&scene.f, &scene.options);
    uint32_t arrivals = 1 + draw(&scene, 20); /* in ten steps, on average */
    for (int i = 0; i < SCENE_STEPS; i++) {
        for (int k = 0; k < 3; k++) {
            if (draw(&scene, 30) < arrivals)
                arrive(&scene);
        }
        if (draw(&scene, 10) == 0)
            cancel_one(&scene);
        run_step(&scene);
    }
    uint32_t n_left = 0;
    while (run_step(&scene))
        assert_true(++n_left < SCENE_SEQS * 350);
    assert_int_equal(scene.n_arrived, scene.n_ended + scene.n_cancelled);
    assert_int_equal(scene.f.s.n_waiting + scene.f.s.n_running, 0);
    assert_int_equal(scene.f.s.n_free_seqs, SCENE_SEQS);
    for (uint32_t g = 0; g < scene.options.n_groups; g++)
        assert_memory_equal(&scene.f.s.groups[g], &scene.groups[g], sizeof scene.groups[g]);
    assert_int_equal(scene.f.s.counts.n_preempted, scene.n_preempted);
    *n_preempted += scene.n_preempted;
    arena_free(&scene.f.arena);
}

static void whatever_comes_nothing_leaks_and_everybody_ends(void **state) {
    (void)state;
    uint64_t n_preempted = 0;
    for (uint64_t key = 0; key < 300; key++)
        run_scene(key, &n_preempted);
    assert_true(n_preempted > 1000); /* the scenes are tight enough to mean something */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_goes_first_and_prompts_share_the_rest),
        cmocka_unit_test(prompts_wait_for_those_who_decode_up_to_a_limit),
        cmocka_unit_test(the_youngest_gives_its_pages_and_reads_its_tokens_again),
        cmocka_unit_test(a_newcomer_leaves_pages_for_the_growth_of_others),
        cmocka_unit_test(a_sequence_lives_where_most_room_is),
        cmocka_unit_test(a_sequence_ends_where_context_or_pages_do),
        cmocka_unit_test(who_stops_or_fails_is_forgotten_at_once),
        cmocka_unit_test(what_can_never_run_is_refused),
        cmocka_unit_test(whatever_comes_nothing_leaks_and_everybody_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
