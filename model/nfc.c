/* SPDX-License-Identifier: Apache-2.0 */
/* The text is cut into plain characters, which are copied, and clusters: one plain character and
 * the run of others behind it. Composition never crosses a plain character to the left. */
#include "model/nfc.h"

#include "base/utf8.h"

#include <utf8proc.h>

#include <stdlib.h>

#define DECOMPOSED_MAX 32  /* code points of one character; the longest today has 4 */
#define N_CLASSES      256 /* canonical combining classes */

/* The code points of one cluster. */
struct cluster {
    utf8proc_int32_t *points;
    utf8proc_int32_t *sorted; /* scratch of the same room */
    size_t n, room;
};

/* Class 0, no canonical decomposition, and never the second of a composition. Seconds are marks,
 * the vowels and finals of Hangul, and (since Unicode 16) vowel signs of Kirat Rai, which are
 * letters. U+11A7, one before the first final, must be plain: utf8proc 2.8 takes it for a final
 * and loses it, but never sees it behind a syllable when a cluster ends before it. */
static bool is_plain(uint32_t c) {
    if (c < 0xc0)
        return true;
    bool vowel = c >= 0x1161 && c <= 0x1175;
    bool final = c >= 0x11a8 && c <= 0x11c2;
    if (vowel || final || (c >= 0x16d40 && c <= 0x16d7f))
        return false;
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    bool mark = p->category == UTF8PROC_CATEGORY_MN || p->category == UTF8PROC_CATEGORY_MC ||
                p->category == UTF8PROC_CATEGORY_ME;
    bool decomposes = p->decomp_seqindex != UINT16_MAX && p->decomp_type == 0;
    return p->combining_class == 0 && !mark && !decomposes;
}

/* How many bytes at the front are plain characters; *last is where the last of them begins. */
static size_t plain_prefix(struct span utf8, size_t *last) {
    size_t at = 0;
    *last = 0;
    while (at < utf8.len) {
        uint32_t c = (unsigned char)utf8.data[at];
        size_t n = 1;
        if (c >= 0x80) {
            n = utf8_decode(span_from(utf8, at), &c);
            if (n == 0 || !is_plain(c))
                break;
        }
        *last = at;
        at += n;
    }
    return at;
}

bool nfc_is_plain(struct span utf8) {
    size_t last;
    return plain_prefix(utf8, &last) == utf8.len;
}

static bool cluster_reserve(struct cluster *cluster, size_t more) {
    if (cluster->n + more <= cluster->room)
        return true;
    size_t room = cluster->room ? 2 * cluster->room : 4 * DECOMPOSED_MAX;
    utf8proc_int32_t *points = realloc(cluster->points, room * sizeof *points);
    if (!points)
        return false;
    cluster->points = points;
    utf8proc_int32_t *sorted = realloc(cluster->sorted, room * sizeof *sorted);
    if (!sorted)
        return false;
    cluster->sorted = sorted;
    cluster->room = room;
    return true;
}

static bool cluster_add(struct cluster *cluster, uint32_t c) {
    if (!cluster_reserve(cluster, DECOMPOSED_MAX))
        return false;
    utf8proc_int32_t *to = cluster->points + cluster->n;
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, to, DECOMPOSED_MAX,
                                                 UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > DECOMPOSED_MAX) {
        to[0] = (utf8proc_int32_t)c;
        n = 1;
    }
    cluster->n += (size_t)n;
    return true;
}

static uint8_t combining_class(utf8proc_int32_t c) {
    return (uint8_t)utf8proc_get_property(c)->combining_class;
}

/* Stable sort by combining class of a run without starters: by counting when it is long. */
static void sort_marks(utf8proc_int32_t *points, utf8proc_int32_t *scratch, size_t n) {
    if (n < N_CLASSES / 8) {
        for (size_t i = 1; i < n; i++) {
            utf8proc_int32_t c = points[i];
            size_t at = i;
            for (; at > 0 && combining_class(points[at - 1]) > combining_class(c); at--)
                points[at] = points[at - 1];
            points[at] = c;
        }
        return;
    }
    size_t begin[N_CLASSES + 1] = {0};
    for (size_t i = 0; i < n; i++)
        begin[combining_class(points[i]) + 1]++;
    for (size_t i = 1; i <= N_CLASSES; i++)
        begin[i] += begin[i - 1];
    for (size_t i = 0; i < n; i++)
        scratch[begin[combining_class(points[i])]++] = points[i];
    for (size_t i = 0; i < n; i++)
        points[i] = scratch[i];
}

static void cluster_sort(struct cluster *cluster) {
    size_t i = 0;
    while (i < cluster->n) {
        size_t begin = i;
        while (i < cluster->n && combining_class(cluster->points[i]) != 0)
            i++;
        sort_marks(cluster->points + begin, cluster->sorted, i - begin);
        i += i < cluster->n;
    }
}

static void cluster_append(struct cluster *cluster, struct text *out) {
    cluster_sort(cluster);
    utf8proc_ssize_t n = utf8proc_normalize_utf32(cluster->points, (utf8proc_ssize_t)cluster->n,
                                                  UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char bytes[4];
        text_add(out, span_make(bytes, utf8_encode((uint32_t)cluster->points[i], bytes)));
    }
    cluster->n = 0;
}

/* Reads one cluster, which begins at `at`; returns where it ends, 0 if memory is gone. */
static size_t cluster_read(struct cluster *cluster, struct span utf8, size_t at) {
    size_t begin = at;
    while (at < utf8.len) {
        uint32_t c = 0;
        size_t n = utf8_decode(span_from(utf8, at), &c);
        if (n == 0 || (at > begin && is_plain(c)))
            break;
        if (!cluster_add(cluster, c))
            return 0;
        at += n;
    }
    return at;
}

enum status nfc_append(struct text *out, struct span utf8, struct error *err) {
    struct cluster cluster = {0};
    bool failed = false;
    while (utf8.len && !failed) {
        size_t last;
        size_t end = plain_prefix(utf8, &last);
        if (end < utf8.len) {
            text_add(out, span_make(utf8.data, last));
            end = cluster_read(&cluster, utf8, last);
            failed = end == 0;
            if (!failed)
                cluster_append(&cluster, out);
        } else {
            text_add(out, utf8);
        }
        utf8 = span_from(utf8, end);
    }
    free(cluster.points);
    free(cluster.sorted);
    if (failed || out->failed)
        return error_set(err, ERR_NOMEM, "normalising text: no memory");
    return OK;
}
