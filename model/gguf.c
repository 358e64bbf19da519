/* SPDX-License-Identifier: Apache-2.0 */
/* From parts to one file: names of parts, agreement between them, and the sorted indices. */
#define XXH_STATIC_LINKING_ONLY /* the hash state on the stack: nothing to allocate */
#include "model/gguf.h"

#include "model/gguf_part.h"

#include <xxhash.h>

#include <inttypes.h>
#include <stdlib.h>

#define PART_DIGITS 5
/* "-00001-of-00002.gguf" */
#define PART_SUFFIX_LEN (1 + PART_DIGITS + 4 + PART_DIGITS + 5)

struct part_name {
    bool is_part;
    struct span prefix;
    uint32_t number, n_parts; /* number counts from 1 */
};

static bool part_digits(struct span text, uint32_t *out) {
    *out = 0;
    for (size_t i = 0; i < PART_DIGITS; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *out = *out * 10 + (uint32_t)(text.data[i] - '0');
    }
    return true;
}

static struct part_name part_name_of(const char *path) {
    struct part_name name = {0};
    struct span text = span_of(path);
    if (text.len < PART_SUFFIX_LEN || !span_ends_with(text, ".gguf"))
        return name;
    struct span suffix = span_from(text, text.len - PART_SUFFIX_LEN);
    name.prefix = span_make(text.data, text.len - PART_SUFFIX_LEN);
    name.is_part = suffix.data[0] == '-' && part_digits(span_from(suffix, 1), &name.number) &&
                   span_starts_with(span_from(suffix, 1 + PART_DIGITS), "-of-") &&
                   part_digits(span_from(suffix, 1 + PART_DIGITS + 4), &name.n_parts);
    return name;
}

/* One of the split keys of a part, by a walk: parts after the first are not indexed. */
static enum status split_key(const struct gguf_part_tables *tables, const char *path,
                             const char *key, bool *found, uint64_t *out, struct error *err) {
    *found = false;
    for (uint32_t i = 0; i < tables->n_pairs; i++) {
        const struct gguf_value *value = &tables->pairs[i].value;
        if (!span_is(tables->pairs[i].key, key))
            continue;
        if (!gguf_is_integer(value->type)) {
            return error_set(err, ERR_INPUT, "%s: key '%s': is of type %s, must be an integer",
                             path, key, gguf_type_name(value->type));
        }
        *found = true;
        *out = value->u64; /* a negative number is larger than any count */
        return OK;
    }
    return OK;
}

/* A part says of itself what its name says. */
static enum status check_split(const struct gguf_part_tables *tables, const char *path,
                               uint32_t part_idx, uint32_t n_parts, struct error *err) {
    bool found;
    uint64_t count, no;
    TRY(split_key(tables, path, "split.count", &found, &count, err));
    if (!found && n_parts == 1)
        return OK;
    if (!found) {
        return error_set(err, ERR_INPUT, "%s: key 'split.count' is missing in a file of %u parts",
                         path, n_parts);
    }
    bool unsplit = n_parts == 1 && count == 0;
    if (count != n_parts && !unsplit) {
        return error_set(err, ERR_INPUT,
                         "%s: key 'split.count': is %" PRIu64 ", but the name says %u part%s "
                         "(parts are named like model-00001-of-00003.gguf)",
                         path, count, n_parts, n_parts == 1 ? "" : "s");
    }
    TRY(split_key(tables, path, "split.no", &found, &no, err));
    if (found ? no != part_idx : n_parts > 1) {
        return error_set(err, ERR_INPUT, "%s: key 'split.no': %s, must be %u", path,
                         found ? "is another part's number" : "is missing", part_idx);
    }
    return OK;
}

static enum status read_part(struct gguf *gguf, struct gguf_part_tables *tables, uint32_t part_idx,
                             struct error *err) {
    struct gguf_part *part = &gguf->parts[part_idx];
    TRY(gguf_part_read(tables, part->path, part->bytes, gguf->header_only, &gguf->arena, err));
    TRY(check_split(tables, part->path, part_idx, gguf->n_parts, err));
    part->header_bytes = tables->header_bytes;
    for (uint32_t i = 0; i < tables->n_tensors; i++)
        tables->tensors[i].part = part_idx;
    return OK;
}

/* One list of tensors in file order; `split.tensors.count` must agree. */
static enum status join_tensors(struct gguf *gguf, const struct gguf_part_tables *tables,
                                struct error *err) {
    const char *path = gguf->parts[0].path;
    uint64_t n = 0;
    for (uint32_t i = 0; i < gguf->n_parts; i++)
        n += tables[i].n_tensors;
    bool found;
    uint64_t expected;
    TRY(split_key(&tables[0], path, "split.tensors.count", &found, &expected, err));
    if (found && expected != n) {
        return error_set(err, ERR_INPUT,
                         "%s: key 'split.tensors.count': is %" PRIu64 ", the parts have %" PRIu64
                         " tensors",
                         path, expected, n);
    }
    if (n > GGUF_TENSORS_MAX) {
        return error_set(err, ERR_LIMIT, "%s: %" PRIu64 " tensors in all parts, at most %u", path,
                         n, GGUF_TENSORS_MAX);
    }
    gguf->n_tensors = (uint32_t)n;
    if (gguf->n_parts == 1) {
        gguf->tensors = tables[0].tensors;
        return OK;
    }
    gguf->tensors = arena_array(&gguf->arena, n, sizeof *gguf->tensors);
    if (!gguf->tensors)
        return error_set(err, ERR_NOMEM, "%s: no memory for %" PRIu64 " tensors", path, n);
    uint32_t begin = 0;
    for (uint32_t i = 0; i < gguf->n_parts; i++) {
        if (tables[i].n_tensors) {
            memcpy(gguf->tensors + begin, tables[i].tensors,
                   tables[i].n_tensors * sizeof *gguf->tensors);
        }
        begin += tables[i].n_tensors;
    }
    return OK;
}

static int compare_tensors(const void *a, const void *b, void *gguf) {
    const struct gguf_tensor *tensors = ((const struct gguf *)gguf)->tensors;
    return gguf_name_order(tensors[*(const uint32_t *)a].name, tensors[*(const uint32_t *)b].name);
}

static int compare_pairs(const void *a, const void *b, void *gguf) {
    const struct gguf_pair *pairs = ((const struct gguf *)gguf)->pairs;
    return gguf_name_order(pairs[*(const uint32_t *)a].key, pairs[*(const uint32_t *)b].key);
}

static uint32_t *sorted(struct gguf *gguf, uint32_t n,
                        int (*compare)(const void *, const void *, void *)) {
    uint32_t *out = arena_array(&gguf->arena, n, sizeof *out);
    if (!out)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
    qsort_r(out, n, sizeof *out, compare, gguf);
    return out;
}

/* The indices by name; equal neighbours are duplicates. */
static enum status build_indices(struct gguf *gguf, struct error *err) {
    gguf->pairs_by_key = sorted(gguf, gguf->n_pairs, compare_pairs);
    gguf->by_name = sorted(gguf, gguf->n_tensors, compare_tensors);
    if (!gguf->pairs_by_key || !gguf->by_name) {
        return error_set(err, ERR_NOMEM, "%s: no memory for the indices of %u tensors",
                         gguf->parts[0].path, gguf->n_tensors);
    }
    for (uint32_t i = 1; i < gguf->n_pairs; i++) {
        struct span key = gguf->pairs[gguf->pairs_by_key[i]].key;
        if (!span_eq(key, gguf->pairs[gguf->pairs_by_key[i - 1]].key))
            continue;
        return error_set(err, ERR_INPUT, "%s: byte %td: key '%.*s' stands twice",
                         gguf->parts[0].path, key.data - gguf->parts[0].bytes.data, (int)key.len,
                         key.data);
    }
    for (uint32_t i = 1; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *t = &gguf->tensors[gguf->by_name[i]];
        if (!span_eq(t->name, gguf->tensors[gguf->by_name[i - 1]].name))
            continue;
        return error_set(err, ERR_INPUT, "%s: byte %td: tensor '%.*s' stands twice",
                         gguf->parts[t->part].path, t->name.data - gguf->parts[t->part].bytes.data,
                         (int)t->name.len, t->name.data);
    }
    return OK;
}

static enum status read_parts(struct gguf *gguf, struct error *err) {
    struct gguf_part_tables *tables = arena_array(&gguf->arena, gguf->n_parts, sizeof *tables);
    if (!tables)
        return error_set(err, ERR_NOMEM, "%s: no memory", gguf->parts[0].path);
    for (uint32_t i = 0; i < gguf->n_parts; i++)
        TRY(read_part(gguf, &tables[i], i, err));
    gguf->n_pairs = tables[0].n_pairs;
    gguf->pairs = tables[0].pairs;
    TRY(join_tensors(gguf, tables, err));
    return build_indices(gguf, err);
}

static enum status map_parts(struct gguf *gguf, const char *path, struct error *err) {
    struct part_name name = part_name_of(path);
    uint32_t n_parts = name.is_part ? name.n_parts : 1;
    if (name.is_part && (name.number < 1 || name.number > name.n_parts)) {
        return error_set(err, ERR_INPUT, "%s: the name says part %u of %u", path, name.number,
                         name.n_parts);
    }
    if (n_parts > GGUF_PARTS_MAX) {
        return error_set(err, ERR_LIMIT, "%s: the name says %u parts, at most %u", path, n_parts,
                         GGUF_PARTS_MAX);
    }
    gguf->parts = arena_array(&gguf->arena, n_parts, sizeof *gguf->parts);
    if (!gguf->parts)
        return error_set(err, ERR_NOMEM, "%s: no memory for %u parts", path, n_parts);
    for (; gguf->n_parts < n_parts; gguf->n_parts++) {
        struct gguf_part *part = &gguf->parts[gguf->n_parts];
        part->path = name.is_part ? arena_printf(&gguf->arena, "%.*s-%05u-of-%05u.gguf",
                                                 (int)name.prefix.len, name.prefix.data,
                                                 gguf->n_parts + 1, n_parts)
                                  : arena_dup(&gguf->arena, span_of(path));
        if (!part->path)
            return error_set(err, ERR_NOMEM, "%s: no memory for its parts", path);
        TRY(mapped_file_open(&part->file, part->path, err));
        part->bytes = span_make((const char *)part->file.data, part->file.bytes);
    }
    return OK;
}

enum status gguf_open(struct gguf *gguf, const char *path, struct error *err) {
    *gguf = (struct gguf){0};
    enum status status = map_parts(gguf, path, err);
    if (!status)
        status = read_parts(gguf, err);
    if (status)
        gguf_close(gguf);
    return status;
}

enum status gguf_parse(struct gguf *gguf, const char *path, struct span bytes, bool header_only,
                       struct error *err) {
    *gguf = (struct gguf){.header_only = header_only};
    enum status status = OK;
    gguf->parts = arena_array(&gguf->arena, 1, sizeof *gguf->parts);
    char *path_copy = arena_dup(&gguf->arena, span_of(path));
    if (!gguf->parts || !path_copy) {
        status = error_set(err, ERR_NOMEM, "%s: no memory", path);
    } else {
        gguf->n_parts = 1;
        gguf->parts[0] = (struct gguf_part){.path = path_copy, .bytes = bytes};
        status = read_parts(gguf, err);
    }
    if (status)
        gguf_close(gguf);
    return status;
}

void gguf_close(struct gguf *gguf) {
    for (uint32_t i = 0; i < gguf->n_parts; i++)
        mapped_file_close(&gguf->parts[i].file);
    arena_free(&gguf->arena);
    *gguf = (struct gguf){0};
}

uint64_t gguf_header_hash(const struct gguf *gguf) {
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (uint32_t i = 0; i < gguf->n_parts; i++)
        XXH3_64bits_update(&state, gguf->parts[i].bytes.data, gguf->parts[i].header_bytes);
    return XXH3_64bits_digest(&state);
}
