/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences stand in two short lists of numbers, which are moved as a whole when one leaves: with
 * thousands of sequences that is still less than a microsecond. */
#include "worker/schedule/schedule.h"

#include "base/size.h"

#include <assert.h>
#include <string.h>

#define NO_GROUP UINT32_MAX

static uint32_t pages_of(const struct schedule *s, uint32_t n_tokens) {
    return s->options.page_tokens ? (uint32_t)div_up(n_tokens, s->options.page_tokens) : 0;
}

static enum status check_options(const struct schedule_options *o, uint64_t *n_slots,
                                 struct error *err) {
    *n_slots = 0;
    if (o->n_groups == 0 || o->n_groups > SCHEDULE_GROUPS_MAX)
        return error_set(err, ERR_LIMIT, "%u attention groups; 1 to %u are possible", o->n_groups,
                         SCHEDULE_GROUPS_MAX);
    if (o->n_seqs_max == 0 || o->n_seqs_max > SCHEDULE_SEQS_MAX)
        return error_set(err, ERR_LIMIT, "%u sequences waiting and running; 1 to %u are possible",
                         o->n_seqs_max, SCHEDULE_SEQS_MAX);
    for (uint32_t g = 0; g < o->n_groups; g++) {
        *n_slots += o->groups[g].n_slots;
        if (o->groups[g].n_slots == 0 || (o->page_tokens && o->groups[g].n_pages == 0))
            return error_set(err, ERR_INPUT, "attention group %u: %u slots and %u pages", g,
                             o->groups[g].n_slots, o->groups[g].n_pages);
    }
    if (*n_slots > o->n_step_tokens)
        return error_set(err, ERR_LIMIT,
                         "%llu sequences at once do not fit a step of %u tokens: each needs one",
                         (unsigned long long)*n_slots, o->n_step_tokens);
    return OK;
}

enum status schedule_init(struct schedule *s, const struct schedule_options *options,
                          struct arena *arena, struct error *err) {
    uint64_t n_slots;
    TRY(check_options(options, &n_slots, err));
    *s = (struct schedule){.options = *options};
    uint32_t n_seqs = options->n_seqs_max;
    s->groups = arena_array(arena, options->n_groups, sizeof *s->groups);
    s->seqs = arena_array(arena, n_seqs, sizeof *s->seqs);
    s->free_seqs = arena_array(arena, n_seqs, sizeof *s->free_seqs);
    s->waiting = arena_array(arena, n_seqs, sizeof *s->waiting);
    s->running = arena_array(arena, n_slots, sizeof *s->running);
    s->rows = arena_array(arena, n_slots, sizeof *s->rows);
    s->preempted = arena_array(arena, n_slots, sizeof *s->preempted);
    s->admitted = arena_array(arena, n_slots, sizeof *s->admitted);
    if (!s->groups || !s->seqs || !s->free_seqs || !s->waiting || !s->running || !s->rows ||
        !s->preempted || !s->admitted)
        return error_set(err, ERR_NOMEM, "no memory to schedule %u sequences", n_seqs);
    memcpy(s->groups, options->groups, options->n_groups * sizeof *s->groups);
    s->options.groups = s->groups;
    for (uint32_t i = 0; i < n_seqs; i++)
        s->free_seqs[i] = n_seqs - 1 - i;
    s->n_free_seqs = n_seqs;
    return OK;
}

/* ---- the two lists, in order of arrival ---- */

static void list_insert(const struct schedule *s, uint32_t *list, uint32_t *n, uint32_t seq) {
    uint32_t at = *n;
    while (at > 0 && s->seqs[list[at - 1]].arrival > s->seqs[seq].arrival)
        at--;
    memmove(list + at + 1, list + at, (*n - at) * sizeof *list);
    list[at] = seq;
    ++*n;
}

static void list_remove(uint32_t *list, uint32_t *n, uint32_t seq) {
    uint32_t at = 0;
    while (list[at] != seq)
        at++;
    --*n;
    memmove(list + at, list + at + 1, (*n - at) * sizeof *list);
}

/* Tokens that an empty group could hold of one sequence. */
static uint32_t group_capacity(const struct schedule *s, uint32_t group) {
    uint64_t tokens = (uint64_t)s->groups[group].n_pages * s->options.page_tokens;
    bool by_pages = s->options.page_tokens && tokens < s->options.ctx_size;
    return by_pages ? (uint32_t)tokens : s->options.ctx_size;
}

enum status schedule_submit(struct schedule *s, uint32_t n_prompt, uint32_t n_new_max,
                            uint32_t *seq, struct error *err) {
    uint32_t capacity = 0;
    for (uint32_t g = 0; g < s->options.n_groups; g++) {
        if (group_capacity(s, g) > capacity)
            capacity = group_capacity(s, g);
    }
    if (n_prompt == 0 || n_new_max == 0)
        return error_set(err, ERR_INPUT, "%u tokens of prompt and %u to produce; at least 1 each",
                         n_prompt, n_new_max);
    if (n_prompt > capacity)
        return error_set(err, ERR_LIMIT, "the prompt has %u tokens, at most %u fit", n_prompt,
                         capacity);
    if (s->n_free_seqs == 0)
        return error_set(err, ERR_LIMIT, "%u sequences are waiting or running, which are all",
                         s->options.n_seqs_max);
    uint64_t n_tokens_max = (uint64_t)n_prompt + n_new_max;
    if (n_tokens_max > (uint64_t)capacity + 1)
        n_tokens_max = (uint64_t)capacity + 1;
    *seq = s->free_seqs[--s->n_free_seqs];
    s->seqs[*seq] = (struct schedule_seq){.state = SEQ_WAITING,
                                          .arrival = s->counts.n_submitted++,
                                          .n_tokens = n_prompt,
                                          .n_tokens_max = (uint32_t)n_tokens_max,
                                          .waits_since = s->counts.n_steps};
    list_insert(s, s->waiting, &s->n_waiting, *seq);
    return OK;
}

/* Slot and pages go back to the group. */
static void leave_group(struct schedule *s, uint32_t seq) {
    struct schedule_seq *q = &s->seqs[seq];
    s->groups[q->group].n_slots_free++;
    s->groups[q->group].n_pages_free += q->n_pages;
    q->n_pages = 0;
    list_remove(s->running, &s->n_running, seq);
}

static void forget(struct schedule *s, uint32_t seq) {
    if (s->seqs[seq].state == SEQ_RUNNING)
        leave_group(s, seq);
    else
        list_remove(s->waiting, &s->n_waiting, seq);
    s->seqs[seq].state = SEQ_FREE;
    s->free_seqs[s->n_free_seqs++] = seq;
}

void schedule_cancel(struct schedule *s, uint32_t seq) {
    assert(!s->planned && seq < s->options.n_seqs_max && s->seqs[seq].state != SEQ_FREE);
    forget(s, seq);
    s->counts.n_cancelled++;
}

static void preempt(struct schedule *s, uint32_t seq) {
    struct schedule_seq *q = &s->seqs[seq];
    assert(!q->in_step);
    leave_group(s, seq);
    s->counts.n_preempted++;
    s->counts.n_lost_tokens += q->n_done;
    q->n_done = 0;
    q->state = SEQ_WAITING;
    q->waits_since = s->counts.n_steps;
    list_insert(s, s->waiting, &s->n_waiting, seq);
    s->preempted[s->step.n_preempted++] = seq;
}

static uint32_t youngest_of(const struct schedule *s, uint32_t group) {
    uint32_t i = s->n_running - 1;
    while (s->seqs[s->running[i]].group != group)
        i--;
    return s->running[i];
}

/* Pages for all the tokens it knows; false: it was the youngest itself and has lost its place. */
static bool grow(struct schedule *s, uint32_t seq) {
    struct schedule_seq *q = &s->seqs[seq];
    struct schedule_group *group = &s->groups[q->group];
    while (pages_of(s, q->n_tokens) > q->n_pages) {
        while (group->n_pages_free == 0) {
            uint32_t victim = youngest_of(s, q->group);
            preempt(s, victim);
            if (victim == seq)
                return false;
        }
        group->n_pages_free--;
        q->n_pages++;
    }
    return true;
}

static void add_row(struct schedule *s, uint32_t seq, uint32_t n_tokens) {
    struct schedule_seq *q = &s->seqs[seq];
    s->rows[s->step.n_rows++] =
        (struct schedule_row){.seq = seq, .begin = q->n_done, .n_tokens = n_tokens};
    q->in_step = true;
}

/* The older ones first: whoever loses its pages to them is younger and has no row yet. */
static void plan_decode(struct schedule *s) {
    for (uint32_t i = 0; i < s->n_running;) {
        uint32_t seq = s->running[i];
        bool decodes = s->seqs[seq].n_tokens - s->seqs[seq].n_done == 1;
        if (decodes && !grow(s, seq))
            continue; /* the next one stands here now */
        if (decodes)
            add_row(s, seq, 1);
        i++;
    }
}

/* The group with most room that takes the sequence. Beside its own pages there must be one for
 * each that runs there, or the newcomer would soon be preempted by their growth. */
static uint32_t choose_group(const struct schedule *s, const struct schedule_seq *q) {
    uint32_t best = NO_GROUP;
    for (uint32_t g = 0; g < s->options.n_groups; g++) {
        const struct schedule_group *group = &s->groups[g];
        uint32_t n_others = group->n_slots - group->n_slots_free;
        uint64_t head_room = s->options.page_tokens && n_others ? n_others + 1 : 0;
        bool takes = group->n_slots_free > 0 && group_capacity(s, g) >= q->n_tokens_max - 1 &&
                     group->n_pages_free >= pages_of(s, q->n_tokens) + head_room;
        bool better = best == NO_GROUP || group->n_pages_free > s->groups[best].n_pages_free ||
                      (group->n_pages_free == s->groups[best].n_pages_free &&
                       group->n_slots_free > s->groups[best].n_slots_free);
        if (takes && better)
            best = g;
    }
    return best;
}

static void admit(struct schedule *s) {
    while (s->n_waiting > 0) {
        uint32_t seq = s->waiting[0];
        struct schedule_seq *q = &s->seqs[seq];
        uint32_t group = choose_group(s, q);
        if (group == NO_GROUP)
            return;
        q->group = group;
        q->n_pages = pages_of(s, q->n_tokens);
        s->groups[group].n_pages_free -= q->n_pages;
        s->groups[group].n_slots_free--;
        uint64_t waited = s->counts.n_steps - q->waits_since;
        if (waited > s->counts.wait_steps_max)
            s->counts.wait_steps_max = waited;
        list_remove(s->waiting, &s->n_waiting, seq);
        q->state = SEQ_RUNNING;
        list_insert(s, s->running, &s->n_running, seq);
        s->admitted[s->step.n_admitted++] = seq;
    }
}

/* Even shares of the budget, what one cannot use going to the others; what does not divide, to the
 * older. A short prompt beside a long one is thus read as soon as if there were only short ones. */
static void share_budget(const struct schedule *s, uint32_t budget, struct schedule_row *rows,
                         uint32_t n_rows) {
    uint32_t n_hungry = n_rows;
    while (budget > 0 && n_hungry > 0) {
        uint32_t share = budget < n_hungry ? 1 : budget / n_hungry;
        n_hungry = 0;
        for (uint32_t i = 0; i < n_rows && budget > 0; i++) {
            uint32_t wants = s->seqs[rows[i].seq].n_tokens - rows[i].begin - rows[i].n_tokens;
            uint32_t gets = wants < share ? wants : share;
            if (gets > budget)
                gets = budget;
            rows[i].n_tokens += gets;
            budget -= gets;
            n_hungry += wants > gets;
        }
    }
}

static void plan_prompts(struct schedule *s, uint32_t budget) {
    uint32_t first = s->step.n_rows, n_kept = first;
    for (uint32_t i = 0; i < s->n_running; i++) {
        if (!s->seqs[s->running[i]].in_step)
            add_row(s, s->running[i], 0);
    }
    share_budget(s, budget, s->rows + first, s->step.n_rows - first);
    for (uint32_t i = first; i < s->step.n_rows; i++) {
        struct schedule_row row = s->rows[i];
        s->counts.n_prompt_tokens += row.n_tokens;
        s->seqs[row.seq].in_step = row.n_tokens > 0;
        if (row.n_tokens > 0)
            s->rows[n_kept++] = row;
    }
    s->step.n_rows = n_kept;
}

const struct schedule_step *schedule_plan(struct schedule *s) {
    assert(!s->planned);
    s->step =
        (struct schedule_step){.rows = s->rows, .preempted = s->preempted, .admitted = s->admitted};
    plan_decode(s);
    uint32_t n_decode = s->step.n_rows, budget = s->options.n_step_tokens - n_decode;
    uint32_t limit = s->options.n_prompt_tokens;
    admit(s);
    plan_prompts(s, n_decode > 0 && limit > 0 && limit < budget ? limit : budget);
    for (uint32_t i = 0; i < s->step.n_rows; i++) {
        struct schedule_row *row = &s->rows[i];
        row->output = row->begin + row->n_tokens == s->seqs[row->seq].n_tokens;
    }
    s->counts.n_decode_tokens += n_decode;
    s->counts.n_steps += s->step.n_rows > 0;
    s->planned = s->step.n_rows > 0;
    return &s->step;
}

void schedule_done(struct schedule *s, enum schedule_end *ends) {
    assert(s->planned);
    s->planned = false;
    for (uint32_t i = 0; i < s->step.n_rows; i++) {
        const struct schedule_row *row = &s->rows[i];
        struct schedule_seq *q = &s->seqs[row->seq];
        q->in_step = false;
        q->n_done += row->n_tokens;
        q->n_tokens += row->output;
        if (q->n_tokens == q->n_tokens_max && ends[i] == SEQ_GOES_ON)
            ends[i] = SEQ_LENGTH;
        if (ends[i] != SEQ_GOES_ON) {
            forget(s, row->seq);
            s->counts.n_finished++;
        }
    }
}
