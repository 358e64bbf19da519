/* SPDX-License-Identifier: Apache-2.0 */
/* The header is collected as text in file order: what is described is already encoded. */
#include "model/gguf_writer.h"

#include "base/size.h"

#include <assert.h>
#include <inttypes.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define VERSION 3

void gguf_writer_init(struct gguf_writer *w) {
    *w = (struct gguf_writer){.fd = -1};
}

void gguf_writer_free(struct gguf_writer *w) {
    if (w->fd >= 0) {
        close(w->fd);
        unlink(w->partial_path);
    }
    text_free(&w->pairs);
    text_free(&w->infos);
    text_free(&w->offsets);
    arena_free(&w->arena);
    gguf_writer_init(w);
}

static void add_little_endian(struct text *out, uint64_t value, size_t n) {
    char bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(value >> (8 * i) & 0xff);
    text_add(out, span_make(bytes, n));
}

static void add_string(struct text *out, struct span string) {
    add_little_endian(out, string.len, 8);
    text_add(out, string);
}

static void begin_pair(struct gguf_writer *w, const char *key, enum gguf_type type) {
    add_string(&w->pairs, span_of(key));
    add_little_endian(&w->pairs, type, 4);
    w->n_pairs++;
}

static void begin_array(struct gguf_writer *w, const char *key, enum gguf_type type, uint64_t n) {
    begin_pair(w, key, GGUF_ARRAY);
    add_little_endian(&w->pairs, type, 4);
    add_little_endian(&w->pairs, n, 8);
}

void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value) {
    begin_pair(w, key, GGUF_U32);
    add_little_endian(&w->pairs, value, 4);
}

void gguf_writer_i32(struct gguf_writer *w, const char *key, int32_t value) {
    begin_pair(w, key, GGUF_I32);
    add_little_endian(&w->pairs, (uint32_t)value, 4);
}

void gguf_writer_u16(struct gguf_writer *w, const char *key, uint16_t value) {
    begin_pair(w, key, GGUF_U16);
    add_little_endian(&w->pairs, value, 2);
}

void gguf_writer_f32(struct gguf_writer *w, const char *key, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    begin_pair(w, key, GGUF_F32);
    add_little_endian(&w->pairs, bits, 4);
}

void gguf_writer_bool(struct gguf_writer *w, const char *key, bool value) {
    begin_pair(w, key, GGUF_BOOL);
    add_little_endian(&w->pairs, value, 1);
}

void gguf_writer_string(struct gguf_writer *w, const char *key, struct span value) {
    begin_pair(w, key, GGUF_STRING);
    add_string(&w->pairs, value);
}

void gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *values, uint64_t n) {
    begin_array(w, key, GGUF_I32, n);
    for (uint64_t i = 0; i < n; i++)
        add_little_endian(&w->pairs, (uint32_t)values[i], 4);
}

void gguf_writer_strings(struct gguf_writer *w, const char *key, uint64_t n) {
    begin_array(w, key, GGUF_STRING, n);
}

void gguf_writer_add_string(struct gguf_writer *w, struct span string) {
    add_string(&w->pairs, string);
}

uint64_t gguf_writer_tensor(struct gguf_writer *w, const char *name, enum dtype dtype,
                            uint32_t n_dims, const uint64_t *shape) {
    assert(n_dims >= 1 && n_dims <= GGUF_DIMS_MAX);
    assert(shape[n_dims - 1] % dtype_info(dtype)->block_elements == 0);
    uint64_t bytes = dtype_row_bytes(dtype, shape[n_dims - 1]);
    add_string(&w->infos, span_of(name));
    add_little_endian(&w->infos, n_dims, 4);
    for (uint32_t i = n_dims; i-- > 0;) {
        add_little_endian(&w->infos, shape[i], 8);
        if (i + 1 < n_dims)
            bytes *= shape[i];
    }
    add_little_endian(&w->infos, dtype_info(dtype)->ggml_id, 4);
    add_little_endian(&w->infos, w->data_bytes, 8);
    text_add(&w->offsets, span_make((const char *)&w->data_bytes, sizeof w->data_bytes));
    w->data_bytes = align_up(w->data_bytes + bytes, GGUF_WRITER_ALIGNMENT);
    return w->n_tensors++;
}

/* Magic, version and two counts stand before the pairs. */
static uint64_t header_bytes(const struct gguf_writer *w) {
    return align_up(4 + 4 + 8 + 8 + w->pairs.len + w->infos.len, GGUF_WRITER_ALIGNMENT);
}

uint64_t gguf_writer_file_bytes(const struct gguf_writer *w) {
    return header_bytes(w) + w->data_bytes;
}

enum status gguf_writer_header(const struct gguf_writer *w, struct text *out, struct error *err) {
    size_t end = out->len + header_bytes(w);
    text_add_str(out, "GGUF");
    add_little_endian(out, VERSION, 4);
    add_little_endian(out, w->n_tensors, 8);
    add_little_endian(out, w->n_pairs, 8);
    text_add(out, text_span(&w->pairs));
    text_add(out, text_span(&w->infos));
    while (out->len < end && !out->failed)
        text_add_char(out, '\0');
    if (out->failed || w->pairs.failed || w->infos.failed || w->offsets.failed)
        return error_set(err, ERR_NOMEM, "no memory for the header of a model file");
    return OK;
}

static enum status write_all(int fd, const char *path, uint64_t at, struct span bytes,
                             struct error *err) {
    while (bytes.len > 0) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, ERR_IO, "%s: %s", path, strerror(n < 0 ? errno : EIO));
        bytes = span_from(bytes, (size_t)n);
        at += (uint64_t)n;
    }
    return OK;
}

static enum status check_room(const struct gguf_writer *w, struct error *err) {
    struct statvfs disk;
    if (fstatvfs(w->fd, &disk) != 0)
        return error_set(err, ERR_IO, "%s: %s", w->partial_path, strerror(errno));
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize, need = gguf_writer_file_bytes(w);
    if (need > room) {
        return error_set(err, ERR_LIMIT,
                         "%s: needs %" PRIu64 " bytes, the disk has %" PRIu64 " free", w->path,
                         need, room);
    }
    return OK;
}

static enum status write_header(struct gguf_writer *w, struct error *err) {
    struct text header = {0};
    enum status status = gguf_writer_header(w, &header, err);
    if (!status)
        status = write_all(w->fd, w->partial_path, 0, text_span(&header), err);
    text_free(&header);
    if (status)
        return status;
    if (ftruncate(w->fd, (off_t)gguf_writer_file_bytes(w)) != 0)
        return error_set(err, ERR_IO, "%s: %s", w->partial_path, strerror(errno));
    return OK;
}

enum status gguf_writer_create(struct gguf_writer *w, const char *path, bool replace,
                               struct error *err) {
    w->path = arena_dup(&w->arena, span_of(path));
    w->partial_path = arena_printf(&w->arena, "%s.partial", path);
    if (!w->path || !w->partial_path)
        return error_set(err, ERR_NOMEM, "%s: no memory", path);
    struct stat info;
    if (!replace && stat(path, &info) == 0)
        return error_set(err, ERR_INPUT, "%s: exists already", path);
    w->fd = open(w->partial_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return error_set(err, ERR_IO, "%s: %s", w->partial_path, strerror(errno));
    w->data_start = header_bytes(w);
    TRY(check_room(w, err));
    return write_header(w, err);
}

enum status gguf_writer_put(const struct gguf_writer *w, uint64_t tensor_idx, uint64_t offset,
                            struct span bytes, struct error *err) {
    assert(tensor_idx < w->n_tensors);
    uint64_t tensor_offset;
    memcpy(&tensor_offset, w->offsets.data + tensor_idx * sizeof tensor_offset,
           sizeof tensor_offset);
    return write_all(w->fd, w->partial_path, w->data_start + tensor_offset + offset, bytes, err);
}

enum status gguf_writer_finish(struct gguf_writer *w, struct error *err) {
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0 || rename(w->partial_path, w->path) != 0) {
        enum status status = error_set(err, ERR_IO, "%s: %s", w->path, strerror(errno));
        unlink(w->partial_path);
        return status;
    }
    return OK;
}
