/* SPDX-License-Identifier: Apache-2.0 */
/* Products of a rank that owns some parts of K: one for each subtree of parts that lies in its
 * own. Each reads its own columns only, and the sums of all ranks make the whole sum, bit for
 * bit. */
#include "kernels/matmul/matmul.h"

#include "tests/kernels/check_matmul.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#define N(array) (sizeof(array) / sizeof(array)[0])

/* Parts of unequal numbers of runs, parts that are empty, parts of two runs each. */
static const struct matmul_case shapes[] = {
    {.d_out = 18, .d_in = 2560, .split = SPLIT_RUNS},
    {.d_out = 33, .d_in = 1024, .split = SPLIT_RUNS},
    {.d_out = 16, .d_in = 4096, .split = SPLIT_DELTA},
};

/* Where the ranks' own parts begin: nobody else, two unequal ranks, one that owns no subtree of
 * two, a rank for every part. */
static const uint32_t cuts[][9] = {{0, 8}, {0, 3, 8}, {0, 1, 6, 7, 8}, {0, 1, 2, 3, 4, 5, 6, 7, 8}};

/* The product of one root. */
struct root {
    struct leaf_range parts;
    struct matmul_data data;
    float *y;
};

/* Columns outside the split become NaN: whoever reads them is found. */
static void poison(struct matmul_data *data, struct arena *arena) {
    uint32_t d_in = data->w.d_in, n_tokens = data->x.n_tokens;
    const float *x = data->x.x;
    const struct act_block *blocks = data->x.blocks;
    float *poisoned = floats(arena, (size_t)n_tokens * d_in);
    data->x = activation_of(arena, poisoned, n_tokens, d_in);
    bool *own = arena_array(arena, d_in, sizeof *own);
    assert_non_null(own);
    const struct ksplit *split = &data->split;
    for (uint32_t r = split->part_begin[0]; r < split->part_begin[split->n_parts]; r++)
        memset(own + split->runs[r].begin, 1, split->runs[r].end - split->runs[r].begin);
    for (size_t i = 0; i < (size_t)n_tokens * d_in; i++) {
        poisoned[i] = own[i % d_in] ? x[i] : NAN;
        if (i % ACT_BLOCK != 0)
            continue;
        struct act_block *block = &data->x.blocks[i / ACT_BLOCK];
        *block = blocks[i / ACT_BLOCK];
        if (!own[i % d_in])
            block->scale = block->scaled_sum = block->scaled_half_sum[0] =
                block->scaled_half_sum[1] = NAN;
    }
}

/* The roots of a rank's own parts within first .. first + n - 1; subtrees without columns have
 * none. */
static uint32_t find_roots(const struct matmul_data *data, struct leaf_range own, uint32_t first,
                           uint32_t n, struct root *roots) {
    const uint32_t *begin = data->split.part_begin;
    if (first >= own.end || first + n <= own.begin || begin[first] == begin[first + n])
        return 0;
    if (first < own.begin || first + n > own.end) {
        uint32_t n_left = find_roots(data, own, first, n / 2, roots);
        return n_left + find_roots(data, own, first + n / 2, n / 2, roots + n_left);
    }
    *roots = (struct root){.parts = {first, first + n}, .data = *data};
    roots->data.split = split_parts(&data->split, roots->parts);
    return 1;
}

/* All products of a rank at once; the fast variants' results are those of the definition. */
static void run_rank(struct root *roots, uint32_t n, const struct kernels *kernels,
                     struct kernel_ctx *k, struct arena *arena) {
    struct matmul_args products[KSPLIT_PARTS];
    if (n == 0)
        return;
    struct matrix w = matrix_for(kernels, &roots[0].data.w, arena);
    size_t n_y = (size_t)roots[0].data.x.n_tokens * w.d_out;
    for (uint32_t i = 0; i < n; i++) {
        struct matmul_data *data = &roots[i].data;
        poison(data, arena);
        roots[i].y = floats(arena, n_y);
        products[i] = (struct matmul_args){
            .y = roots[i].y, .y_stride = w.d_out, .x = &data->x, .w = &w, .split = &data->split};
    }
    kernels->matmul(k, products, n);
    for (uint32_t i = 0; i < n && !kernels->exact; i++)
        assert_true(same_bits(roots[i].y, matmul_data_define(&roots[i].data, arena), n_y));
}

static void check_cut(const struct matmul_data *data, const uint32_t *cut,
                      const struct kernels *kernels, struct kernel_ctx *k) {
    struct arena arena = {0};
    struct root roots[KSPLIT_PARTS];
    uint32_t n = 0;
    for (; *cut < KSPLIT_PARTS; cut++) {
        struct leaf_range own = {cut[0], cut[1]};
        uint32_t n_own = find_roots(data, own, 0, KSPLIT_PARTS, roots + n);
        run_rank(roots + n, n_own, kernels, k, &arena);
        n += n_own;
    }
    struct tree_term terms[KSPLIT_PARTS];
    struct tree_add adds[KSPLIT_PARTS];
    for (uint32_t i = 0; i < n; i++)
        terms[i] = (struct tree_term){.leaf = roots[i].parts.begin, .term = i};
    struct leaf_range all = {0, KSPLIT_PARTS};
    assert_int_equal(tree_fold(KSPLIT_PARTS, all, terms, n, adds), 1);
    size_t n_y = (size_t)data->x.n_tokens * data->w.d_out;
    for (uint32_t j = 0; j + 1 < n; j++) {
        for (size_t i = 0; i < n_y; i++)
            roots[adds[j].to].y[i] += roots[adds[j].from].y[i];
    }
    assert_true(same_bits(roots[0].y, matmul_data_run(data, kernels, k, &arena), n_y));
    arena_free(&arena);
}

static void parts_of_ranks_make_the_whole_sum(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    for (int d = 0; d < DTYPE_N_COMPUTE; d++) {
        for (uint32_t n_tokens = 1; n_tokens <= 6; n_tokens += 5) {
            for (size_t i = 0; i < N(shapes) * N(cuts); i++) {
                struct matmul_case c = shapes[i / N(cuts)];
                struct arena arena = {0};
                c.dtype = (enum dtype)d;
                c.n_tokens = n_tokens;
                struct matmul_data data = matmul_case_data(&c, &arena);
                for (size_t v = 0; v < variants.n; v++)
                    check_cut(&data, cuts[i % N(cuts)], &variants.table[v], &k);
                arena_free(&arena);
            }
        }
    }
    kernel_ctx_close(&k);
}

/* A rank may have no rows of the step, or none of a matrix, beside others that it has. */
static void products_without_tokens_or_rows_do_nothing(void **state) {
    (void)state;
    const struct matmul_case c = {
        .dtype = DTYPE_Q8_0, .d_out = 40, .d_in = 64, .n_tokens = 3, .split = SPLIT_WHOLE};
    struct variants variants;
    variants_init(&variants);
    struct kernel_ctx k = kernel_ctx_open(2);
    struct arena arena = {0};
    struct matmul_data data = matmul_case_data(&c, &arena);
    for (size_t v = 0; v < variants.n; v++) {
        struct matrix w = matrix_for(&variants.table[v], &data.w, &arena), no_rows = w, nothing = w;
        struct activation no_tokens = {.d = c.d_in}, no_columns = {.n_tokens = c.n_tokens};
        struct ksplit no_parts = {.n_parts = 1};
        no_rows.d_out = nothing.d_out = nothing.d_in = 0;
        no_rows.data = nothing.data = NULL;
        size_t n = (size_t)c.n_tokens * c.d_out;
        float *y = floats(&arena, n),
              *want = matmul_data_run(&data, &variants.table[v], &k, &arena);
        const struct matmul_args full = {
            .y = y, .y_stride = c.d_out, .x = &data.x, .w = &w, .split = &data.split};
        struct matmul_args products[] = {full, full, full, full};
        products[0].w = &no_rows;
        products[1].x = &no_tokens;
        products[2].w = &nothing;
        products[2].x = &no_columns;
        products[2].split = &no_parts;
        for (uint32_t i = 0; i < 3; i++)
            products[i].y = NULL;
        variants.table[v].matmul(&k, products, 0);
        variants.table[v].matmul(&k, products, 3);
        variants.table[v].matmul(&k, products, 4);
        assert_true(same_bits(y, want, n));
    }
    arena_free(&arena);
    kernel_ctx_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_ranks_make_the_whole_sum),
        cmocka_unit_test(products_without_tokens_or_rows_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
