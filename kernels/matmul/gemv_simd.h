/* SPDX-License-Identifier: Apache-2.0 */
/* One token times a panel: the weights go from memory to the sums without a tile between.
 *
 * Writing a tile and reading it again takes as long as a single token's product. Here a unit's
 * columns (columns.h) are multiplied where they are unpacked. The sums are those of tile_dot,
 * integer for integer and step for step. */
#ifndef SHOAL_KERNELS_MATMUL_GEMV_SIMD_H
#define SHOAL_KERNELS_MATMUL_GEMV_SIMD_H

#include "kernels/matmul/panel.h"
#include "kernels/matmul/tile_dot_choose_simd.h"
#include "kernels/quant/tile_simd.h"

/* Where a block of a panel lies, and how far the next ones are. */
struct panel_place {
    const uint8_t *words, *heads;
    size_t words_each, heads_each; /* bytes to the next block */
    size_t panel_bytes;            /* to the same block of the next panel */
    uint32_t block;                /* columns of a block */
};

/* The panel's first block. */
static inline struct panel_place panel_place(const struct matrix *w, uint32_t panel) {
    const struct panel_format f = panel_format(w->dtype);
    const uint64_t bytes = panel_bytes(w->dtype, w->d_in);
    const uint8_t *first = (const uint8_t *)w->data + panel * bytes;
    return (struct panel_place){.words = first,
                                .heads = first + panel_heads_offset(w->dtype, w->d_in),
                                .words_each = (size_t)f.n_words * 64,
                                .heads_each = (size_t)f.head_bytes * PANEL_ROWS,
                                .panel_bytes = bytes,
                                .block = dtype_info(w->dtype)->block_elements};
}

/* The block that begins with a column. */
static ALWAYS_INLINE struct panel_place panel_at(const struct panel_place *first, uint32_t column) {
    struct panel_place at = *first;
    size_t n_blocks = column / at.block;
    at.words += n_blocks * at.words_each;
    at.heads += n_blocks * at.heads_each;
    return at;
}

/* The integer sums of a unit. */
struct unit_sums {
    const struct act_block *x;        /* of the unit's first block */
    const int8_t (*apart)[ACT_BLOCK]; /* the same in the order of columns that lie apart */
    i32x16 sum[2 * UNIT_RUNS_MAX];    /* of each sub-block */
    unsigned sub;
    bool wide;
};

#if SIMD_AVX512

/* Activations of a super-block in the order of columns that lie apart (columns.h): 4 k + i is
 * column k + 8 i of its run. Through memory, because a load broadcasts for nothing and a register
 * takes the port of the permutations. */
static inline void activations_apart(const struct act_block *x,
                                     int8_t apart[BLOCK_SUPER / ACT_BLOCK][ACT_BLOCK]) {
    const __m256i order = _mm256_setr_epi32(0x18100800, 0x19110901, 0x1a120a02, 0x1b130b03,
                                            0x1c140c04, 0x1d150d05, 0x1e160e06, 0x1f170f07);
    for (unsigned i = 0; i < BLOCK_SUPER / ACT_BLOCK; i++) {
        __m256i q = _mm256_loadu_si256((const __m256i *)(const void *)x[i].q);
        _mm256_store_si256((__m256i *)(void *)apart[i], _mm256_permutexvar_epi8(order, q));
    }
}

static ALWAYS_INLINE i32x16 half_sums(const struct act_block *x, i32x16 factors, i32x16 start) {
    return _mm512_dpwssd_epi32(start, factors, broadcast4(x->half_sum));
}

static ALWAYS_INLINE i32x16 gemv_add(i32x16 sum, i32x16 q, const int8_t *x, bool wide) {
    (void)wide;
    return _mm512_dpbusd_epi32(sum, q, broadcast4(x));
}

#else

static ALWAYS_INLINE i32x16 half_sums(const struct act_block *x, i32x16 factors, i32x16 start) {
    __m256i halves = broadcast4(x->half_sum);
    i32x16 bias = {_mm256_madd_epi16(factors.lo, halves), _mm256_madd_epi16(factors.hi, halves)};
    return i32x16_add(start, bias);
}

static ALWAYS_INLINE __m256i gemv_products(__m256i q, __m256i four, bool wide) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i pairs = wide ? _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(four, q))
                         : _mm256_maddubs_epi16(q, four);
    return _mm256_madd_epi16(pairs, ones);
}

static ALWAYS_INLINE i32x16 gemv_add(i32x16 sum, i32x16 q, const int8_t *x, bool wide) {
    __m256i four = broadcast4(x);
    return (i32x16){_mm256_add_epi32(sum.lo, gemv_products(q.lo, four, wide)),
                    _mm256_add_epi32(sum.hi, gemv_products(q.hi, four, wide))};
}

#endif

static ALWAYS_INLINE void unit_put(void *to, unsigned group, i32x16 q) {
    struct unit_sums *s = to;
    unsigned i = group / (s->sub / 4);
    s->sum[i] = gemv_add(s->sum[i], q, s->x[group / 8].q + 4 * (group % 8), s->wide);
}

static ALWAYS_INLINE void unit_put_apart(void *to, unsigned group, i32x16 q) {
    struct unit_sums *s = to;
    unsigned run = group / 8;
    s->sum[run] = gemv_add(s->sum[run], q, s->apart[run] + 4 * (group % 8), s->wide);
}

static ALWAYS_INLINE i32x16 pairs_set1(int16_t low, int16_t high) {
    return i32x16_set1((int32_t)((uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16));
}

/* start + first * half_sum[0] + second * half_sum[1] */
static ALWAYS_INLINE i32x16 gemv_start(int32_t start, const struct act_block *x, int16_t first,
                                       int16_t second) {
    i32x16 s = i32x16_set1(start);
    return first || second ? half_sums(x, pairs_set1(first, second), s) : s;
}

/* One run of 32 columns: from integer sums to the float one, as matmul.h says. */
static ALWAYS_INLINE f32x16 unit_finish(const struct unit_sums *s, unsigned run,
                                        struct quant_traits t, const float (*scale)[16],
                                        const float (*min)[16], f32x16 sum) {
    const struct act_block *x = &s->x[run];
    unsigned i = t.sub == 32 ? run : 2 * run;
    f32x16 ws = f32x16_load(scale[i]), u;
    if (t.whole_scale)
        u = f32x16_mul(ws, i32x16_to_f32(s->sum[i]));
    else
        u = f32x16_fma(ws, f32x16_from_bits(s->sum[i]), f32x16_mul(ws, f32x16_set1(-SUM_START)));
    if (t.sub == 16)
        u = f32x16_fma(f32x16_load(scale[i + 1]), i32x16_to_f32(s->sum[i + 1]), u);
    sum = f32x16_fma(f32x16_set1(x->scale), u, sum);
    if (!t.has_min)
        return sum;
    if (t.sub == 32)
        return f32x16_fma(f32x16_load(min[i]), f32x16_set1(x->scaled_sum), sum);
    sum = f32x16_fma(f32x16_load(min[i]), f32x16_set1(x->scaled_half_sum[0]), sum);
    return f32x16_fma(f32x16_load(min[i + 1]), f32x16_set1(x->scaled_half_sum[1]), sum);
}

/* The start of a unit's sums: what the bias of its weights adds too much, and for the first of a
 * run the float trick (tile_dot.h). */
static ALWAYS_INLINE void unit_begin(struct unit_sums *s, struct quant_traits t, unsigned n_runs) {
    const int32_t start = t.whole_scale ? 0 : SUM_START_BITS;
    const int16_t bias = (int16_t)-tile_bias(t);
    UNROLL for (unsigned r = 0; r < n_runs; r++) {
        if (t.sub == 32) {
            s->sum[r] = gemv_start(start, &s->x[r], bias, bias);
        } else {
            s->sum[2 * r] = gemv_start(start, &s->x[r], bias, 0);
            s->sum[2 * r + 1] = gemv_start(0, &s->x[r], 0, bias);
        }
    }
}

/* The blocks of one run of columns; `at` is the place of its first. */
static ALWAYS_INLINE f32x16 gemv_run(enum dtype dtype, struct panel_place at, uint32_t n_blocks,
                                     const struct act_block *x, f32x16 sum) {
    const struct quant_traits t = quant_traits(dtype);
    const struct block_units units = block_units(dtype);
    column_put *const put = block_columns_apart(dtype) ? unit_put_apart : unit_put;
    alignas(64) float scale[QUANT_SUBS_MAX][16], min[QUANT_SUBS_MAX][16];
    alignas(32) int8_t apart[BLOCK_SUPER / ACT_BLOCK][ACT_BLOCK];
    for (uint32_t b = 0; b < n_blocks; b++) {
        /* The heads lie behind the panel's words: asking ahead along the words comes too late. */
        _mm_prefetch((const char *)((uintptr_t)at.heads + at.panel_bytes), _MM_HINT_T1);
        block_scales(dtype, at.words, at.heads, scale, min);
#if SIMD_AVX512 /* what lies apart needs a tile on AVX2 */
        if (block_columns_apart(dtype))
            activations_apart(x, apart);
#endif
        for (unsigned u = 0; u < units.n; u++) {
            struct unit_sums s = {.x = x,
                                  .apart = apart + u * units.n_runs,
                                  .sub = t.sub,
                                  .wide = !SIMD_AVX512 && quant_is_wide(t)};
            words_ahead(at.words, at.words_each, u, units.n, units.ahead);
            unit_begin(&s, t, units.n_runs);
            block_columns(dtype, at.words, u, put, &s);
            unsigned first = u * units.n_runs * (32 / t.sub);
            UNROLL for (unsigned r = 0; r < units.n_runs; r++) sum =
                unit_finish(&s, r, t, scale + first, min + first, sum);
            x += units.n_runs;
        }
        at.words += at.words_each;
        at.heads += at.heads_each;
    }
    return sum;
}

struct gemv_args {
    const struct matrix *w;
    const struct ksplit *split;
    uint32_t part, panel;
    const struct act_block *x;
    float *out; /* [PANEL_ROWS] */
};

static ALWAYS_INLINE void gemv_part_of(enum dtype dtype, const void *args) {
    const struct gemv_args *a = args;
    const struct ksplit *split = a->split;
    const struct panel_place first = panel_place(a->w, a->panel);
    f32x16 sum = f32x16_zero();
    for (uint32_t r = split->part_begin[a->part]; r < split->part_begin[a->part + 1]; r++) {
        const struct krun run = split->runs[r];
        sum = gemv_run(dtype, panel_at(&first, run.begin), (run.end - run.begin) / first.block,
                       a->x + run.begin / ACT_BLOCK, sum);
    }
    f32x16_store(a->out, sum);
}

/* One part of the sum: out[row] for the 16 rows of the panel. False for the types whose columns are
 * not read 16 rows at a time (codebooks on AVX2): they need a tile. */
static inline bool gemv_part(const struct matrix *w, const struct ksplit *split, uint32_t part,
                             uint32_t panel, const struct act_block *x, float out[PANEL_ROWS]) {
    const struct gemv_args args = {
        .w = w, .split = split, .part = part, .panel = panel, .x = x, .out = out};
    return with_known_dtype(w->dtype, gemv_part_of, &args);
}

#endif
