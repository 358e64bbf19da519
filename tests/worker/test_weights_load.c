/* SPDX-License-Identifier: Apache-2.0 */
/* Loading against panel_pack over the file's rows, for every type and row count that rounds badly,
 * on any number of threads; what it tells, what it gives back, how it fails. */
#include "worker/weights/weights_load.h"

#include "base/rng.h"
#include "base/size.h"
#include "tensor/panels.h"
#include "tests/worker/support_demo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES (24u << 20)
#define N_LAYERS   2

/* A network of matrices that are views of one file of random bytes. Nothing computes with it. */
struct network {
    struct arena arena;
    char path[32];
    struct gguf_part part;
    struct gguf gguf;
    size_t used; /* bytes of the file that have an owner */
    struct hparams hp;
    struct bound_layer layers[N_LAYERS];
    struct forward f;
};

static void write_file(struct network *n) {
    struct error err;
    snprintf(n->path, sizeof n->path, "/tmp/shoal-load-XXXXXX");
    int fd = mkstemp(n->path);
    assert_true(fd >= 0);
    uint64_t *bytes = malloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES / sizeof *bytes; i++)
        bytes[i] = rng_u64(1, i);
    assert_int_equal(write(fd, bytes, FILE_BYTES), FILE_BYTES);
    close(fd);
    free(bytes);
    n->part.path = n->path;
    if (mapped_file_open(&n->part.file, n->path, &err) != OK)
        fail_msg("%s", err.text);
    n->gguf = (struct gguf){.n_parts = 1, .parts = &n->part};
}

/* The next rows of the file. */
static const void *take(struct network *n, uint64_t bytes) {
    const unsigned char *at = n->part.file.data + n->used;
    n->used = align_up(n->used + bytes, 32); /* the alignment of tensors in a file */
    assert_true(n->used <= n->part.file.bytes);
    return at;
}

static void fill_linear(struct network *n, struct linear *linear, enum dtype dtype, uint32_t d_out,
                        uint32_t d_in) {
    uint64_t row_bytes = dtype_row_bytes(dtype, d_in);
    linear->w = (struct matrix){.dtype = dtype,
                                .d_out = d_out,
                                .d_in = d_in,
                                .row_bytes = row_bytes,
                                .data = take(n, d_out * row_bytes)};
    linear->file_row_bytes = row_bytes;
}

/* With two halves the experts of both are rows of one tensor, as gate and up of merged files are.
 */
static void fill_experts(struct network *n, struct expert_matrices *experts[], uint32_t n_halves,
                         enum dtype dtype, uint32_t d_out) {
    enum { N_EXPERTS = 5, D_IN = 512 };
    uint64_t row_bytes = dtype_row_bytes(dtype, D_IN);
    const unsigned char *first = take(n, N_EXPERTS * n_halves * d_out * row_bytes);
    for (uint32_t half = 0; half < n_halves; half++) {
        const void **data = arena_array(&n->arena, N_EXPERTS, sizeof *data);
        for (uint32_t e = 0; e < N_EXPERTS; e++)
            data[e] = first + (e * n_halves + half) * d_out * row_bytes;
        *experts[half] = (struct expert_matrices){.dtype = dtype,
                                                  .n_experts = N_EXPERTS,
                                                  .d_out = d_out,
                                                  .d_in = D_IN,
                                                  .row_bytes = row_bytes,
                                                  .data = data};
    }
}

/* Every type once or more, rows that do and do not fill panels; the head is larger than a piece. */
static void open_network(struct network *n) {
    static const uint32_t rows[] = {16, 1, 40, 15, 33, 17};
    *n = (struct network){.hp = {.n_layers = N_LAYERS}};
    write_file(n);
    uint32_t k = 0;
    for (uint32_t i = 0; i < N_LAYERS; i++) {
        struct layer_linears linears = forward_layer_linears(&n->layers[i]);
        for (size_t j = 0; j < LAYER_LINEARS; j++, k++)
            fill_linear(n, linears.all[j], (enum dtype)(k % DTYPE_N_COMPUTE), rows[k % 6], 768);
    }
    struct bound_ffn *merged = &n->layers[0].ffn, *apart = &n->layers[1].ffn;
    fill_experts(n, (struct expert_matrices *[]){&merged->gate_exps, &merged->up_exps}, 2,
                 DTYPE_IQ2_XXS, 40);
    fill_experts(n, (struct expert_matrices *[]){&merged->down_exps}, 1, DTYPE_Q6_K, 47);
    fill_experts(n, (struct expert_matrices *[]){&apart->gate_exps}, 1, DTYPE_BF16, 9);
    fill_experts(n, (struct expert_matrices *[]){&apart->up_exps}, 1, DTYPE_Q8_0, 16);
    fill_experts(n, (struct expert_matrices *[]){&apart->down_exps}, 1, DTYPE_MXFP4, 21);
    n->f = (struct forward){.hp = &n->hp, .layers = n->layers};
    fill_linear(n, &n->f.head, DTYPE_Q4_K, 7003, 2048);
    n->f.embedding = n->f.head.w;
}

static void close_network(struct network *n) {
    mapped_file_close(&n->part.file);
    remove(n->path);
    arena_free(&n->arena);
}

/* What the contract of panels.h makes of these rows. */
static void expect_packed(const struct matrix *was, const struct matrix *is) {
    const unsigned char *rows = was->data, *loaded = is->data;
    assert_true(is->data != was->data);
    assert_int_equal((uintptr_t)is->data % PANEL_ALIGNMENT, 0);
    assert_int_equal(is->d_out, was->d_out);
    assert_int_equal(is->row_bytes, was->row_bytes);
    if (!dtype_is_quantised(was->dtype)) {
        assert_int_equal(is->layout, MATRIX_ROWS);
        assert_memory_equal(loaded, rows, was->d_out * was->row_bytes);
        return;
    }
    assert_int_equal(is->layout, MATRIX_PANELS);
    uint64_t bytes = panel_bytes(was->dtype, was->d_in);
    unsigned char *panel = malloc(bytes);
    for (uint32_t row = 0; row < was->d_out; row += PANEL_ROWS) {
        uint32_t left = was->d_out - row;
        struct panel_rows shape = {.dtype = was->dtype,
                                   .d_in = was->d_in,
                                   .n_rows = left < PANEL_ROWS ? left : PANEL_ROWS,
                                   .row_bytes = was->row_bytes};
        memset(panel, 0, bytes);
        panel_pack(&shape, rows + row * was->row_bytes, panel);
        assert_memory_equal(loaded + row / PANEL_ROWS * bytes, panel, bytes);
    }
    free(panel);
}

static void expect_experts(const struct expert_matrices *was, const struct expert_matrices *is) {
    for (uint32_t e = 0; e < was->n_experts; e++) {
        struct matrix a = expert_matrix(was, e), b = expert_matrix(is, e);
        expect_packed(&a, &b);
    }
}

static void expect_layer(struct bound_layer *was, struct bound_layer *is) {
    struct layer_linears a = forward_layer_linears(was), b = forward_layer_linears(is);
    for (size_t i = 0; i < LAYER_LINEARS; i++) {
        if (a.all[i]->w.d_out > 0)
            expect_packed(&a.all[i]->w, &b.all[i]->w);
    }
    expect_experts(&was->ffn.gate_exps, &is->ffn.gate_exps);
    expect_experts(&was->ffn.up_exps, &is->ffn.up_exps);
    expect_experts(&was->ffn.down_exps, &is->ffn.down_exps);
}

static struct weights_load_options options_of(struct thread_pool *pool, const struct gguf *gguf) {
    return (struct weights_load_options){.pool = pool, .gguf = gguf, .quantised = MATRIX_PANELS};
}

static struct thread_pool *open_pool(uint32_t n_threads) {
    struct thread_pool *pool = NULL;
    struct error err;
    if (thread_pool_open(&pool, &(struct thread_pool_options){.n_threads = n_threads}, &err) != OK)
        fail_msg("%s", err.text);
    return pool;
}

static void every_matrix_is_its_rows_packed(void **state) {
    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 5; n_threads += 2) {
        struct network was, is;
        struct weights_load load;
        struct error err;
        open_network(&was);
        open_network(&is);
        struct thread_pool *pool = open_pool(n_threads);
        struct weights_load_options options = options_of(pool, &is.gguf);
        struct weights_load_size size = weights_load_size(&is.f, MATRIX_PANELS);
        if (weights_load(&load, &is.f, &options, &err) != OK)
            fail_msg("%s", err.text);
        assert_int_equal(load.bytes, size.memory_bytes);
        assert_true(size.memory_bytes >= size.file_bytes && size.file_bytes > 4u << 20);
        for (uint32_t i = 0; i < N_LAYERS; i++)
            expect_layer(&was.layers[i], &is.layers[i]);
        expect_packed(&was.f.head.w, &is.f.head.w);
        assert_ptr_equal(is.f.embedding.data, is.f.head.w.data); /* they were one in the file */
        assert_int_equal(is.f.embedding.layout, MATRIX_PANELS);
        weights_load_free(&load);
        thread_pool_close(pool);
        close_network(&was);
        close_network(&is);
    }
}

static void the_demonstration_model_is_loaded_whole(void **state) {
    (void)state;
    struct demo demo;
    struct arena arena = {0};
    struct forward was, is;
    struct weights_load load;
    struct error err;
    demo_open(&demo, true);
    struct forward_options bind = {
        .hp = &demo.model.hp, .weights = &demo.model.weights, .n_seqs_max = 1};
    assert_int_equal(forward_bind(&was, &bind, &arena, &err), OK);
    assert_int_equal(forward_bind(&is, &bind, &arena, &err), OK);
    struct thread_pool *pool = open_pool(2);
    struct weights_load_options options = options_of(pool, demo.model.weights.gguf);
    assert_int_equal(weights_load(&load, &is, &options, &err), OK);
    for (uint32_t i = 0; i < demo.model.hp.n_layers; i++)
        expect_layer(&was.layers[i], &is.layers[i]);
    assert_non_null(is.mtp);
    expect_packed(&was.mtp->eh_proj.w, &is.mtp->eh_proj.w);
    expect_layer(&was.mtp->layer, &is.mtp->layer);
    expect_packed(&was.head.w, &is.head.w);
    bool tied = was.embedding.data == was.head.w.data;
    assert_ptr_equal(is.embedding.data, tied ? is.head.w.data : was.embedding.data);
    weights_load_free(&load);
    thread_pool_close(pool);
    arena_free(&arena);
    demo_close(&demo);
}

struct told {
    uint64_t done, all;
    uint32_t n_calls, n_calls_max;
};

static bool note(void *user, uint64_t bytes_done, uint64_t bytes_all) {
    struct told *told = user;
    assert_true(bytes_done >= told->done && bytes_done <= bytes_all);
    assert_true(told->n_calls > 0 || bytes_done == 0);
    told->done = bytes_done;
    told->all = bytes_all;
    return ++told->n_calls < told->n_calls_max;
}

static void progress_goes_from_nothing_to_all(void **state) {
    (void)state;
    struct network n;
    struct weights_load load;
    struct error err;
    struct told told = {.n_calls_max = UINT32_MAX};
    open_network(&n);
    struct thread_pool *pool = open_pool(2);
    struct weights_load_options options = options_of(pool, &n.gguf);
    options.progress = note;
    options.user = &told;
    uint64_t all = weights_load_size(&n.f, MATRIX_PANELS).file_bytes;
    assert_int_equal(weights_load(&load, &n.f, &options, &err), OK);
    assert_true(told.n_calls >= 2);
    assert_int_equal(told.all, all);
    assert_int_equal(told.done, all);
    weights_load_free(&load);
    thread_pool_close(pool);
    close_network(&n);
}

static void loading_can_be_stopped(void **state) {
    (void)state;
    struct network n;
    struct weights_load load;
    struct error err;
    struct told told = {.n_calls_max = 1};
    open_network(&n);
    struct thread_pool *pool = open_pool(1);
    struct weights_load_options options = options_of(pool, &n.gguf);
    options.progress = note;
    options.user = &told;
    const void *was = n.f.head.w.data;
    assert_int_equal(weights_load(&load, &n.f, &options, &err), ERR_CANCELLED);
    assert_string_equal(err.text, "loading was interrupted");
    assert_ptr_equal(n.f.head.w.data, was);
    assert_int_equal(n.f.head.w.layout, MATRIX_ROWS);
    assert_null(load.memory);
    thread_pool_close(pool);
    close_network(&n);
}

static void a_file_that_shrinks_is_an_error(void **state) {
    (void)state;
#ifndef MADV_POPULATE_READ
    skip();
#endif
    struct network n;
    struct weights_load load;
    struct error err;
    char begin[64];
    open_network(&n);
    struct thread_pool *pool = open_pool(1);
    struct weights_load_options options = options_of(pool, &n.gguf);
    assert_int_equal(truncate(n.path, 4096), 0);
    assert_int_equal(weights_load(&load, &n.f, &options, &err), ERR_IO);
    snprintf(begin, sizeof begin, "%s: ", n.path);
    assert_memory_equal(err.text, begin, strlen(begin));
    assert_non_null(strstr(err.text, "the file has become shorter"));
    assert_int_equal(n.f.head.w.layout, MATRIX_ROWS);
    thread_pool_close(pool);
    close_network(&n);
}

static uint64_t resident_file_bytes(void) {
    unsigned long long all = 0, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu %llu %llu", &all, &resident, &shared), 3);
    fclose(file);
    return shared * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void nothing_stays_in_memory_twice(void **state) {
    (void)state;
    struct network n;
    struct weights_load load;
    struct error err;
    open_network(&n);
    struct thread_pool *pool = open_pool(1);
    struct weights_load_options options = options_of(pool, &n.gguf);
    uint64_t before = resident_file_bytes();
    assert_int_equal(weights_load(&load, &n.f, &options, &err), OK);
    /* A window of 64 KiB around the last pages, and the loader's own code. */
    assert_true(resident_file_bytes() < before + (1u << 20));
    void *memory = load.memory;
    weights_load_free(&load);
    assert_int_equal(msync(memory, 4096, MS_ASYNC), -1); /* no mapping is there any more */
    assert_null(load.memory);
    thread_pool_close(pool);
    close_network(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_matrix_is_its_rows_packed),
        cmocka_unit_test(the_demonstration_model_is_loaded_whole),
        cmocka_unit_test(progress_goes_from_nothing_to_all),
        cmocka_unit_test(loading_can_be_stopped),
        cmocka_unit_test(a_file_that_shrinks_is_an_error),
        cmocka_unit_test(nothing_stays_in_memory_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
