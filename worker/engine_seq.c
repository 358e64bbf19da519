/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences: opened and closed by the leader at once, by the other ranks with the next plan. */
#include "worker/engine_state.h"

#include <assert.h>

static void drop_tokens(struct engine *e, uint32_t seq) {
    struct sequence *s = &e->seqs[seq];
    e->use[seq_group(e, seq)].n_pages -= s->n_pages;
    for (; s->n_pages > 0; s->n_pages--) {
        if (s->pages)
            kv_cache_release(&e->kv, s->pages[s->n_pages - 1]);
    }
    s->n_tokens = 0;
}

void engine_seq_reset(struct engine *e, uint32_t seq, bool open) {
    struct sequence *s = &e->seqs[seq];
    struct group_use *use = &e->use[seq_group(e, seq)];
    drop_tokens(e, seq);
    use->n_open += (uint32_t)open - (uint32_t)s->open;
    s->open = open;
    if (open && s->pages)
        state_cache_clear(&e->states, seq % e->seqs_each);
}

static void change(struct engine *e, uint32_t seq, bool open) {
    engine_seq_reset(e, seq, open);
    e->seqs[seq].changed = true;
}

uint32_t engine_n_groups(const struct engine *e) {
    return e->n_groups;
}

struct engine_room engine_room(const struct engine *e, uint32_t group) {
    assert(group < e->n_groups);
    const struct group_use *use = &e->use[group];
    return (struct engine_room){.n_seqs = e->seqs_each,
                                .n_seqs_free = e->seqs_each - use->n_open,
                                .n_pages = e->memory.n_kv_pages,
                                .n_pages_free = e->memory.n_kv_pages - use->n_pages};
}

enum status engine_seq_open_in(struct engine *e, uint32_t group, uint32_t *seq, struct error *err) {
    assert(group < e->n_groups && engine_is_leader(e));
    for (uint32_t i = group * e->seqs_each; i < (group + 1) * e->seqs_each; i++) {
        if (!e->seqs[i].open) {
            change(e, i, true);
            *seq = i;
            return OK;
        }
    }
    return error_set(err, ERR_LIMIT, "all %u sequences are in use", e->seqs_each);
}

enum status engine_seq_open(struct engine *e, uint32_t *seq, struct error *err) {
    uint32_t best = 0;
    for (uint32_t g = 1; g < e->n_groups; g++) {
        const struct group_use *use = &e->use[g], *least = &e->use[best];
        if (use->n_open < least->n_open ||
            (use->n_open == least->n_open && use->n_pages < least->n_pages))
            best = g;
    }
    return engine_seq_open_in(e, best, seq, err);
}

void engine_seq_clear(struct engine *e, uint32_t seq) {
    if (engine_seq_length(e, seq) > 0)
        change(e, seq, true);
}

void engine_seq_close(struct engine *e, uint32_t seq) {
    assert(seq < engine_n_seqs(e) && e->seqs[seq].open);
    change(e, seq, false);
}

uint32_t engine_seq_length(const struct engine *e, uint32_t seq) {
    assert(seq < engine_n_seqs(e) && e->seqs[seq].open);
    return e->seqs[seq].n_tokens;
}
