/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs are functions of (sequence, token) alone; a step gathers its rows and scatters results. */
#include "tests/kernels/check_attention.h"

#include "base/size.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

/* The layer lies behind others in a page, and others lie behind it. */
#define LAYER_OFFSET 128
#define LAYER_BEHIND 64

/* The heads of a rank, counted among all. */
struct heads {
    uint32_t begin, n;
    uint32_t kv_begin, n_kv;
    uint32_t per_kv;
};

static struct heads heads_of(const struct attention_case *c) {
    uint32_t end = c->own_end ? c->own_end : c->n_heads, per_kv = c->n_heads / c->n_kv_heads;
    uint32_t kv_begin = c->own_begin / per_kv;
    return (struct heads){.begin = c->own_begin,
                          .n = end - c->own_begin,
                          .kv_begin = kv_begin,
                          .n_kv = (end - 1) / per_kv + 1 - kv_begin,
                          .per_kv = per_kv};
}

uint32_t attention_case_heads(const struct attention_case *c) {
    return heads_of(c).n;
}

struct paged_cache {
    struct kv_layer kv;
    uint32_t *pages; /* [n_sequences, pages_per_sequence] */
    uint32_t pages_per_sequence;
};

static uint32_t sequence_tokens(const struct attention_case *c, uint32_t sequence) {
    return c->n_tokens - 3 * sequence;
}

static size_t sequence_begin(const struct attention_case *c, uint32_t sequence) {
    size_t begin = 0;
    for (uint32_t s = 0; s < sequence; s++)
        begin += sequence_tokens(c, s);
    return begin;
}

size_t attention_case_floats(const struct attention_case *c) {
    return sequence_begin(c, c->n_sequences) * attention_case_heads(c) * c->d_head;
}

/* Neighbouring positions of a sequence never have neighbouring pages. */
static struct paged_cache cache_make(const struct attention_case *c, struct arena *arena) {
    uint32_t per_sequence = (uint32_t)div_up(c->n_tokens, KV_PAGE_TOKENS);
    uint32_t n_pages = per_sequence * c->n_sequences, n_kv_heads = heads_of(c).n_kv;
    size_t layer_bytes =
        (size_t)2 * n_kv_heads * KV_PAGE_TOKENS * dtype_row_bytes(c->dtype, c->d_head);
    struct paged_cache cache = {
        .kv = {.page_bytes = LAYER_OFFSET + layer_bytes + LAYER_BEHIND,
               .layer_offset = LAYER_OFFSET,
               .dtype = c->dtype,
               .n_kv_heads = n_kv_heads,
               .d_head = c->d_head},
        .pages = arena_array(arena, n_pages, sizeof *cache.pages),
        .pages_per_sequence = per_sequence,
    };
    cache.kv.pages = arena_array(arena, n_pages, cache.kv.page_bytes);
    assert_non_null(cache.kv.pages);
    memset(cache.kv.pages, 0xff, n_pages * cache.kv.page_bytes);
    for (uint32_t s = 0; s < c->n_sequences; s++) {
        for (uint32_t i = 0; i < per_sequence; i++)
            cache.pages[s * per_sequence + i] = n_pages - 1 - (i * c->n_sequences + s);
    }
    return cache;
}

/* One step's arrays. A gate stands beside a query, as in the projection: [n_heads][2][d_head]. */
struct step_rows {
    float *q, *gate, *key, *value, *out;
    float *all; /* [n_heads][2][d_head]: what is drawn for one token */
    struct kv_rows *entries;
    uint32_t n_entries, n_rows;
};

static struct step_rows rows_make(const struct attention_case *c, size_t n_rows,
                                  struct arena *arena) {
    struct heads own = heads_of(c);
    size_t d_q = (size_t)own.n * c->d_head, d_kv = (size_t)own.n_kv * c->d_head;
    struct step_rows rows = {.q = floats(arena, n_rows * d_q),
                             .gate = floats(arena, n_rows * 2 * d_q),
                             .key = floats(arena, n_rows * d_kv),
                             .value = floats(arena, n_rows * d_kv),
                             .out = floats(arena, n_rows * d_q),
                             .all = floats(arena, (size_t)2 * c->n_heads * c->d_head),
                             .entries = arena_array(arena, c->n_sequences, sizeof *rows.entries)};
    assert_non_null(rows.entries);
    return rows;
}

/* Elements begin .. begin + n - 1 of a random row of n_all. */
static void fill_own(float *own, size_t begin, size_t n, float *all, size_t n_all, uint64_t key,
                     float size) {
    fill_random(all, n_all, key, size);
    memcpy(own, all + begin, n * sizeof *own);
}

static void add_rows(const struct attention_case *c, const struct paged_cache *cache,
                     uint32_t sequence, uint32_t pos, uint32_t n, struct step_rows *rows) {
    struct heads own = heads_of(c);
    size_t d = c->d_head, d_q = own.n * d, d_kv = own.n_kv * d;
    size_t q_begin = own.begin * d, kv_begin = own.kv_begin * d;
    size_t n_q = c->n_heads * d, n_kv = c->n_kv_heads * d;
    rows->entries[rows->n_entries++] =
        (struct kv_rows){.pages = cache->pages + (size_t)sequence * cache->pages_per_sequence,
                         .row_begin = rows->n_rows,
                         .n_rows = n,
                         .pos_begin = pos};
    for (uint32_t i = 0; i < n; i++, rows->n_rows++) {
        uint64_t key = (uint64_t)10 * (pos + i) + ((uint64_t)sequence << 32);
        size_t row = rows->n_rows;
        fill_own(rows->q + row * d_q, q_begin, d_q, rows->all, n_q, key, c->size);
        fill_own(rows->key + row * d_kv, kv_begin, d_kv, rows->all, n_kv, key + 1, c->size);
        fill_own(rows->value + row * d_kv, kv_begin, d_kv, rows->all, n_kv, key + 2, 1);
        fill_own(rows->gate + row * 2 * d_q, 2 * q_begin, 2 * d_q, rows->all, 2 * n_q, key + 3, 3);
    }
}

static void append_rows(const struct paged_cache *cache, const struct kernels *kernels,
                        struct kernel_ctx *k, const struct step_rows *rows) {
    struct kv_append_args append = {.kv = &cache->kv,
                                    .key = rows->key,
                                    .value = rows->value,
                                    .rows = rows->entries,
                                    .n_rows_entries = rows->n_entries};
    kernels->kv_append(k, &append);
}

static void attend_rows(const struct attention_case *c, const struct paged_cache *cache,
                        const struct kernels *kernels, struct kernel_ctx *k,
                        const struct step_rows *rows) {
    struct heads own = heads_of(c);
    struct attention_args attention = {.out = rows->out,
                                       .q = rows->q,
                                       .gate = c->gated ? rows->gate + c->d_head : NULL,
                                       .gate_token_stride = (uint64_t)2 * own.n * c->d_head,
                                       .gate_head_stride = (uint64_t)2 * c->d_head,
                                       .kv = &cache->kv,
                                       .rows = rows->entries,
                                       .n_rows_entries = rows->n_entries,
                                       .n_tokens = rows->n_rows,
                                       .n_heads = own.n,
                                       .heads_per_kv = own.per_kv,
                                       .first_head = own.begin - own.kv_begin * own.per_kv,
                                       .scale = 1 / sqrtf((float)c->d_head)};
    kernels->attention(k, &attention);
}

float *attention_case_run(const struct attention_case *c, const struct kernels *kernels,
                          struct kernel_ctx *k, uint32_t chunk, struct arena *arena) {
    size_t d_q = (size_t)attention_case_heads(c) * c->d_head;
    struct paged_cache cache = cache_make(c, arena);
    float *out = floats(arena, attention_case_floats(c));
    size_t n_rows = (size_t)c->n_sequences * (chunk < c->n_tokens ? chunk : c->n_tokens);
    struct step_rows rows = rows_make(c, n_rows, arena);
    for (uint32_t done = 0; done < c->n_tokens; done += chunk) {
        rows.n_entries = rows.n_rows = 0;
        for (uint32_t s = 0; s < c->n_sequences && done < sequence_tokens(c, s); s++) {
            uint32_t left = sequence_tokens(c, s) - done;
            add_rows(c, &cache, s, done, left < chunk ? left : chunk, &rows);
        }
        append_rows(&cache, kernels, k, &rows);
        attend_rows(c, &cache, kernels, k, &rows);
        for (uint32_t s = 0; s < rows.n_entries; s++) {
            const struct kv_rows *entry = &rows.entries[s];
            memcpy(out + (sequence_begin(c, s) + done) * d_q, rows.out + entry->row_begin * d_q,
                   entry->n_rows * d_q * sizeof(float));
        }
    }
    return out;
}

float *attention_case_decode(const struct attention_case *c, const struct kernels *kernels,
                             struct kernel_ctx *k, struct arena *arena) {
    const uint32_t chunk = 1024;
    struct paged_cache cache = cache_make(c, arena);
    struct step_rows rows = rows_make(c, chunk, arena);
    for (uint32_t done = 0; done < c->n_tokens; done += chunk) {
        uint32_t left = c->n_tokens - done;
        rows.n_entries = rows.n_rows = 0;
        add_rows(c, &cache, 0, done, left < chunk ? left : chunk, &rows);
        append_rows(&cache, kernels, k, &rows);
    }
    rows.n_entries = rows.n_rows = 0;
    add_rows(c, &cache, 0, c->n_tokens - 1, 1, &rows);
    attend_rows(c, &cache, kernels, k, &rows);
    return rows.out;
}
