/* SPDX-License-Identifier: Apache-2.0 */
/* The work is cut into chunks of about a megabyte that threads take one after the other: small
 * enough for a cache, large enough for a disk. Who fills a chunk does not change it. */
#include "cli/synth_file.h"

#include "base/thread_pool.h"

#include <stdatomic.h>
#include <stdlib.h>

#define CHUNK_BYTES (1u << 20)

/* synth_fill may write this many bytes behind the last block. */
#define CHUNK_SLACK 8

static enum status add_split_keys(struct synth_file *file, struct error *err) {
    if (file->n_parts == 1)
        return OK;
    if (file->n_parts > GGUF_PARTS_MAX) {
        return error_set(err, ERR_LIMIT, "%u parts, at most %u; choose a larger --split-max-size",
                         file->n_parts, GGUF_PARTS_MAX);
    }
    for (uint32_t i = 0; i < file->n_parts; i++) {
        gguf_writer_u16(&file->writers[i], "split.no", (uint16_t)i);
        gguf_writer_u16(&file->writers[i], "split.count", (uint16_t)file->n_parts);
        gguf_writer_i32(&file->writers[i], "split.tensors.count", (int32_t)file->tensors->n);
    }
    return OK;
}

enum status synth_file_init(struct synth_file *file, struct synth_tensors *tensors,
                            uint64_t part_bytes_max, struct error *err) {
    *file = (struct synth_file){.tensors = tensors, .n_parts = 1};
    uint64_t part_bytes = 0;
    for (uint32_t i = 0; i < tensors->n; i++) {
        struct synth_tensor *t = &tensors->list[i];
        if (part_bytes_max && part_bytes > 0 && part_bytes + t->bytes > part_bytes_max) {
            file->n_parts++;
            part_bytes = 0;
        }
        part_bytes += t->bytes;
        t->part = file->n_parts - 1;
    }
    file->writers = arena_array(&file->arena, file->n_parts, sizeof *file->writers);
    if (!file->writers)
        return error_set(err, ERR_NOMEM, "no memory for %u parts", file->n_parts);
    for (uint32_t i = 0; i < file->n_parts; i++)
        gguf_writer_init(&file->writers[i]);
    for (uint32_t i = 0; i < tensors->n; i++) {
        struct synth_tensor *t = &tensors->list[i];
        t->idx =
            gguf_writer_tensor(&file->writers[t->part], t->name, t->dtype, t->n_dims, t->shape);
    }
    enum status status = add_split_keys(file, err);
    if (status)
        synth_file_free(file);
    return status;
}

void synth_file_free(struct synth_file *file) {
    for (uint32_t i = 0; i < file->n_parts && file->writers; i++)
        gguf_writer_free(&file->writers[i]);
    arena_free(&file->arena);
    *file = (struct synth_file){0};
}

struct filling {
    struct synth_file *file;
    uint64_t seed;
    struct progress *progress;
    const struct interrupt *interrupt;
    uint64_t *first_chunk;  /* [n tensors + 1]: number of the first chunk of each tensor */
    unsigned char *buffers; /* [n_threads, CHUNK_BYTES + CHUNK_SLACK] */
    _Atomic uint64_t next_chunk, bytes_done;
    _Atomic bool failed;
    struct error *errors; /* [n_threads] */
};

/* Blocks of a whole chunk: what one thread fills at a time. */
static uint64_t chunk_blocks(const struct synth_tensor *t) {
    uint64_t n = CHUNK_BYTES / dtype_info(t->dtype)->block_bytes;
    return n - n % SYNTH_FILL_BLOCKS;
}

/* The tensor whose chunks contain this one. */
static uint32_t tensor_of_chunk(const struct filling *f, uint64_t chunk) {
    uint32_t low = 0, high = f->file->tensors->n;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (f->first_chunk[middle] <= chunk)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static enum status fill_chunk(struct filling *f, uint64_t chunk, unsigned char *buffer,
                              struct error *err) {
    uint32_t i = tensor_of_chunk(f, chunk);
    const struct synth_tensor *t = &f->file->tensors->list[i];
    struct synth_fill fill = {.dtype = t->dtype,
                              .values = t->values,
                              .std = t->std,
                              .key = synth_fill_key(f->seed, t->name)};
    uint64_t first = (chunk - f->first_chunk[i]) * chunk_blocks(t);
    uint64_t n = t->n_blocks - first < chunk_blocks(t) ? t->n_blocks - first : chunk_blocks(t);
    uint32_t block_bytes = dtype_info(t->dtype)->block_bytes;
    synth_fill(buffer, &fill, first, n);
    TRY(gguf_writer_put(&f->file->writers[t->part], t->idx, first * block_bytes,
                        span_make((const char *)buffer, n * block_bytes), err));
    atomic_fetch_add(&f->bytes_done, n * block_bytes);
    return OK;
}

static void fill_chunks(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct filling *f = arg;
    (void)n_threads;
    uint64_t n_chunks = f->first_chunk[f->file->tensors->n];
    unsigned char *buffer = f->buffers + thread_idx * (uint64_t)(CHUNK_BYTES + CHUNK_SLACK);
    while (!atomic_load(&f->failed)) {
        uint64_t chunk = atomic_fetch_add(&f->next_chunk, 1);
        if (chunk >= n_chunks)
            return;
        if (fill_chunk(f, chunk, buffer, &f->errors[thread_idx]))
            atomic_store(&f->failed, true);
        if (thread_idx > 0)
            continue;
        progress_update(f->progress, atomic_load(&f->bytes_done));
        if (interrupt_came(f->interrupt)) {
            error_set(&f->errors[0], ERR_CANCELLED, "interrupted");
            atomic_store(&f->failed, true);
        }
    }
}

static enum status fill_all(struct synth_file *file, const struct synth_write_options *o,
                            struct error *err) {
    const struct synth_tensors *tensors = file->tensors;
    struct filling f = {
        .file = file, .seed = o->seed, .progress = o->progress, .interrupt = o->interrupt};
    struct thread_pool *pool;
    f.first_chunk = arena_array(&file->arena, tensors->n + 1u, sizeof *f.first_chunk);
    f.buffers = arena_array(&file->arena, o->n_threads, CHUNK_BYTES + CHUNK_SLACK);
    f.errors = arena_array(&file->arena, o->n_threads, sizeof *f.errors);
    if (!f.first_chunk || !f.buffers || !f.errors)
        return error_set(err, ERR_NOMEM, "no memory for %u buffers of 1 MiB", o->n_threads);
    for (uint32_t i = 0; i < tensors->n; i++) {
        uint64_t per_chunk = chunk_blocks(&tensors->list[i]);
        f.first_chunk[i + 1] =
            f.first_chunk[i] + (tensors->list[i].n_blocks + per_chunk - 1) / per_chunk;
    }
    TRY(thread_pool_open(&pool, &(struct thread_pool_options){.n_threads = o->n_threads}, err));
    thread_pool_run(pool, fill_chunks, &f);
    thread_pool_close(pool);
    for (uint32_t i = 0; i < o->n_threads; i++) {
        if (f.errors[i].status)
            return error_set(err, f.errors[i].status, "%s", f.errors[i].text);
    }
    return OK;
}

/* "model.gguf" becomes "model-00002-of-00003.gguf". */
static const char *part_path(struct synth_file *file, const char *path, uint32_t part_idx) {
    if (file->n_parts == 1)
        return path;
    struct span stem = span_of(path);
    if (span_ends_with(stem, ".gguf"))
        stem.len -= strlen(".gguf");
    return arena_printf(&file->arena, "%.*s-%05u-of-%05u.gguf", (int)stem.len, stem.data,
                        part_idx + 1, file->n_parts);
}

enum status synth_file_write(struct synth_file *file, const struct synth_write_options *o,
                             struct error *err) {
    for (uint32_t i = 0; i < file->n_parts; i++) {
        const char *path = part_path(file, o->path, i);
        if (!path)
            return error_set(err, ERR_NOMEM, "%s: no memory", o->path);
        TRY(gguf_writer_create(&file->writers[i], path, o->replace, err));
    }
    TRY(fill_all(file, o, err));
    for (uint32_t i = 0; i < file->n_parts; i++)
        TRY(gguf_writer_finish(&file->writers[i], err));
    return OK;
}
