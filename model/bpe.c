/* SPDX-License-Identifier: Apache-2.0 */
/* The table of pairs holds ranks only, 4 bytes a slot: with 248 thousand merges, table and list
 * take 5 MB together, where a table of whole pairs alone would take 8. */
#include "model/bpe.h"

#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

#define RANK_NONE  UINT32_MAX
#define NOWHERE    UINT32_MAX
#define SHORT_WORD 32 /* bytes: nearly every word; its tokens and ranks stay on the stack */

static uint32_t pair_slot(const struct bpe *bpe, uint32_t left, uint32_t right) {
    return (uint32_t)rng_mix((uint64_t)left << 32 | right) & bpe->mask;
}

/* The rank of the pair, or RANK_NONE. */
static uint32_t pair_rank(const struct bpe *bpe, uint32_t left, uint32_t right) {
    for (uint32_t at = pair_slot(bpe, left, right);; at = (at + 1) & bpe->mask) {
        uint32_t entry = bpe->slots[at];
        if (entry == 0)
            return RANK_NONE;
        const struct bpe_merge *m = &bpe->merges[entry - 1];
        if (m->left == left && m->right == right)
            return entry - 1;
    }
}

enum status bpe_init(struct bpe *bpe, const struct bpe_merge *merges, uint32_t n_merges,
                     struct arena *arena, struct error *err) {
    uint32_t n_slots = 2;
    while (n_slots / 2 < n_merges && n_slots < UINT32_C(1) << 31)
        n_slots *= 2;
    bpe->merges = merges;
    bpe->n_merges = n_merges;
    bpe->mask = n_slots - 1;
    bpe->slots = arena_array(arena, n_slots, sizeof *bpe->slots);
    if (!bpe->slots)
        return error_set(err, ERR_NOMEM, "merges: no memory for %u of them", n_merges);
    for (uint32_t rank = 0; rank < n_merges; rank++) {
        uint32_t earlier = pair_rank(bpe, merges[rank].left, merges[rank].right);
        if (earlier != RANK_NONE)
            return error_set(err, ERR_INPUT, "merges[%u]: the same pair as merges[%u]", rank,
                             earlier);
        uint32_t at = pair_slot(bpe, merges[rank].left, merges[rank].right);
        while (bpe->slots[at])
            at = (at + 1) & bpe->mask;
        bpe->slots[at] = rank + 1;
    }
    return OK;
}

static void encode_short(const struct bpe *bpe, struct span word, struct token_ids *out) {
    uint32_t ids[SHORT_WORD];
    uint32_t ranks[SHORT_WORD]; /* of the pair (i, i + 1) */
    size_t n = word.len;
    for (size_t i = 0; i < n; i++)
        ids[i] = bpe->byte_ids[(unsigned char)word.data[i]];
    for (size_t i = 0; i + 1 < n; i++)
        ranks[i] = pair_rank(bpe, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (ranks[i] < ranks[best])
                best = i;
        }
        if (ranks[best] == RANK_NONE)
            break;
        ids[best] = bpe->merges[ranks[best]].id;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
        if (best > 0)
            ranks[best - 1] = pair_rank(bpe, ids[best - 1], ids[best]);
        if (best + 1 < n)
            ranks[best] = pair_rank(bpe, ids[best], ids[best + 1]);
    }
    for (size_t i = 0; i < n; i++)
        token_ids_add(out, (int32_t)ids[i]);
}

/* One token of the word so far. Merging writes into the left one and unlinks the right one. */
struct bpe_symbol {
    uint32_t id;
    uint32_t prev, next; /* places in the array, NOWHERE at the ends */
    uint32_t rank;       /* of the pair with the next one; RANK_NONE also once unlinked */
};

/* A heap entry orders by rank, then by place: the leftmost pair of the lowest rank is on top. It
 * is stale if the symbol at that place has another rank by now. */
struct heap {
    uint64_t *entries;
    size_t n;
};

static void heap_sink(struct heap *heap, size_t at) {
    uint64_t entry = heap->entries[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->n)
            break;
        if (child + 1 < heap->n && heap->entries[child + 1] < heap->entries[child])
            child++;
        if (heap->entries[child] >= entry)
            break;
        heap->entries[at] = heap->entries[child];
        at = child;
    }
    heap->entries[at] = entry;
}

static void heap_push(struct heap *heap, uint64_t entry) {
    size_t at = heap->n++;
    while (at > 0 && heap->entries[(at - 1) / 2] > entry) {
        heap->entries[at] = heap->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->entries[at] = entry;
}

static uint64_t heap_pop(struct heap *heap) {
    uint64_t top = heap->entries[0];
    heap->entries[0] = heap->entries[--heap->n];
    if (heap->n > 0)
        heap_sink(heap, 0);
    return top;
}

/* The rank of the pair that begins at `at` has changed. */
static void pair_changed(const struct bpe *bpe, struct bpe_symbol *symbols, uint32_t at,
                         struct heap *heap) {
    struct bpe_symbol *s = &symbols[at];
    s->rank = s->next == NOWHERE ? RANK_NONE : pair_rank(bpe, s->id, symbols[s->next].id);
    if (s->rank != RANK_NONE)
        heap_push(heap, (uint64_t)s->rank << 32 | at);
}

/* A merge takes one entry from the heap and adds at most two, and there are fewer than n merges:
 * the heap never holds 2 n entries. */
static bool scratch_reserve(struct bpe_scratch *scratch, size_t n) {
    if (n <= scratch->room)
        return true;
    if (n > SIZE_MAX / 2 / sizeof(struct bpe_symbol))
        return false;
    bpe_scratch_free(scratch);
    scratch->symbols = malloc(n * sizeof *scratch->symbols);
    scratch->heap = malloc(2 * n * sizeof *scratch->heap);
    if (!scratch->symbols || !scratch->heap) {
        bpe_scratch_free(scratch);
        return false;
    }
    scratch->room = n;
    return true;
}

static struct heap word_begin(const struct bpe *bpe, struct span word,
                              struct bpe_scratch *scratch) {
    struct bpe_symbol *symbols = scratch->symbols;
    struct heap heap = {.entries = scratch->heap};
    uint32_t n = (uint32_t)word.len;
    for (uint32_t i = 0; i < n; i++) {
        symbols[i] = (struct bpe_symbol){
            .id = bpe->byte_ids[(unsigned char)word.data[i]],
            .prev = i ? i - 1 : NOWHERE,
            .next = i + 1 < n ? i + 1 : NOWHERE,
            .rank = RANK_NONE,
        };
    }
    for (uint32_t i = 0; i + 1 < n; i++) {
        symbols[i].rank = pair_rank(bpe, symbols[i].id, symbols[i + 1].id);
        if (symbols[i].rank != RANK_NONE)
            heap.entries[heap.n++] = (uint64_t)symbols[i].rank << 32 | i;
    }
    for (size_t i = heap.n / 2; i > 0; i--)
        heap_sink(&heap, i - 1);
    return heap;
}

static bool encode_long(const struct bpe *bpe, struct span word, struct bpe_scratch *scratch,
                        struct token_ids *out) {
    if (!scratch_reserve(scratch, word.len))
        return false;
    struct bpe_symbol *symbols = scratch->symbols;
    struct heap heap = word_begin(bpe, word, scratch);
    while (heap.n > 0) {
        uint64_t entry = heap_pop(&heap);
        scratch->n_pops++;
        uint32_t at = (uint32_t)entry;
        uint32_t rank = (uint32_t)(entry >> 32);
        struct bpe_symbol *left = &symbols[at];
        if (left->rank != rank)
            continue;
        struct bpe_symbol *right = &symbols[left->next];
        left->id = bpe->merges[rank].id;
        left->next = right->next;
        right->rank = RANK_NONE;
        if (left->next != NOWHERE)
            symbols[left->next].prev = at;
        pair_changed(bpe, symbols, at, &heap);
        if (left->prev != NOWHERE)
            pair_changed(bpe, symbols, left->prev, &heap);
    }
    for (uint32_t at = 0; at != NOWHERE; at = symbols[at].next)
        token_ids_add(out, (int32_t)symbols[at].id);
    return !out->failed;
}

bool bpe_encode(const struct bpe *bpe, struct span word, struct bpe_scratch *scratch,
                struct token_ids *out) {
    if (word.len > SHORT_WORD)
        return encode_long(bpe, word, scratch, out);
    encode_short(bpe, word, out);
    return !out->failed;
}

void bpe_scratch_free(struct bpe_scratch *scratch) {
    free(scratch->symbols);
    free(scratch->heap);
    scratch->symbols = NULL;
    scratch->heap = NULL;
    scratch->room = 0;
}
