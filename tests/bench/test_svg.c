/* SPDX-License-Identifier: Apache-2.0 */
/* Drawings are XML whatever the texts in them are. The check here knows the XML that we write: one
 * declaration, elements with quoted attributes, texts, the five named references. */
#include "bench/scale_plot.h"
#include "bench/svg.h"

#include "base/utf8.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DEPTH_MAX 16

struct xml {
    const char *at;
    char open[DEPTH_MAX][32]; /* names of open elements */
    uint32_t depth, n_elements;
};

static void check_reference(const char *at) {
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncmp(at, names[i], strlen(names[i])) == 0)
            return;
    }
    fail_msg("no reference: %.20s", at);
}

static void read_name(struct xml *x, char *name) {
    size_t n = 0;
    while (isalnum((unsigned char)*x->at) || *x->at == '-' || *x->at == ':') {
        assert_true(n + 1 < sizeof x->open[0]);
        name[n++] = *x->at++;
    }
    name[n] = '\0';
    assert_true(n > 0);
}

static void read_attributes(struct xml *x) {
    char name[32];
    while (*x->at == ' ') {
        x->at++;
        read_name(x, name);
        assert_true(x->at[0] == '=' && x->at[1] == '"');
        for (x->at += 2; *x->at != '"'; x->at++) {
            assert_true(*x->at && *x->at != '<');
            if (*x->at == '&')
                check_reference(x->at);
        }
        x->at++;
    }
}

static void read_tag(struct xml *x) {
    char name[32];
    bool closes = x->at[1] == '/';
    x->at += closes ? 2 : 1;
    read_name(x, name);
    if (closes) {
        assert_true(x->depth > 0);
        assert_string_equal(name, x->open[--x->depth]);
    } else {
        read_attributes(x);
        x->n_elements++;
        if (*x->at == '/') {
            x->at++;
        } else {
            assert_true(x->depth < DEPTH_MAX);
            memcpy(x->open[x->depth++], name, sizeof name);
        }
    }
    assert_int_equal(*x->at, '>');
    x->at++;
}

/* Returns the number of elements. */
static uint32_t check_xml(const char *text) {
    static const char declaration[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    struct xml x = {.at = text};
    assert_true(utf8_valid(span_of(text)));
    assert_memory_equal(text, declaration, strlen(declaration));
    for (x.at += strlen(declaration); *x.at;) {
        if (*x.at == '<') {
            read_tag(&x);
            continue;
        }
        if (*x.at == '&')
            check_reference(x.at);
        assert_true((unsigned char)*x.at >= 0x20 || *x.at == '\n');
        assert_true(x.depth > 0 || *x.at == '\n');
        x.at++;
    }
    assert_int_equal(x.depth, 0);
    return x.n_elements;
}

/* The file at `path`, which is removed; to be freed. */
static char *take_file(const char *path) {
    char *bytes = calloc(1, 1 << 20);
    FILE *file = fopen(path, "re");
    assert_non_null(bytes);
    assert_non_null(file);
    assert_true(fread(bytes, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    unlink(path);
    return bytes;
}

static void make_path(char path[64]) {
    snprintf(path, 64, "/tmp/shoal-svg-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static void texts_cannot_break_the_drawing(void **state) {
    (void)state;
    static const char *const texts[] = {
        "plain",      "a & b <c> \"d\" 'e'", "]]>",          "<!-- no -->",
        "\x01\x1f",   "broken \xff\xc3",     "\xef\xbf\xbf", "caf\xc3\xa9 \xf0\x9f\x90\x9f",
        "</svg><svg>"};
    char path[64];
    make_path(path);
    struct svg svg = {0};
    struct error err;
    struct svg_head head = {.width = 10, .height = 10, .title = texts[1], .style = ".a{fill:red}"};
    svg_begin(&svg, &head);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        svg_text(&svg, texts[i], (struct svg_point){1, 2}, texts[i]);
        svg_rect(&svg, "a", (struct svg_point){0, 0}, (struct svg_point){1, 1}, texts[i]);
    }
    assert_int_equal(svg_end(&svg, path, &err), OK);
    char *text = take_file(path);
    /* svg, title, style; of each text a text, a rect and its title. */
    assert_int_equal(check_xml(text), 3 + 3 * sizeof texts / sizeof texts[0]);
    assert_non_null(strstr(text, "a &amp; b &lt;c&gt;"));
    assert_non_null(strstr(text, "caf\xc3\xa9 \xf0\x9f\x90\x9f"));
    free(text);
}

static void what_cannot_be_written_is_told(void **state) {
    (void)state;
    struct svg svg = {0};
    struct error err;
    struct svg_head head = {.width = 10, .height = 10, .title = "", .style = ""};
    svg_begin(&svg, &head);
    assert_int_equal(svg_end(&svg, "/nowhere/at/all.svg", &err), ERR_IO);
    assert_non_null(strstr(err.text, "/nowhere/at/all.svg"));
    svg_begin(&svg, &head);
    if (access("/dev/full", W_OK) == 0)
        assert_int_equal(svg_end(&svg, "/dev/full", &err), ERR_IO);
    text_free(&svg.text);
}

/* More series than colours, more than a row of panels, sizes that stand close together. */
static void a_plot_of_many_series_is_whole(void **state) {
    (void)state;
    enum { N_SERIES = 19, N_POINTS = 8 };
    struct scale_series *all = calloc(N_SERIES, sizeof *all);
    const struct scale_series *series[N_SERIES];
    assert_non_null(all);
    for (uint32_t i = 0; i < N_SERIES; i++) {
        struct scale_series *s = &all[i];
        *s = (struct scale_series){
            .test = {.n_gen = 8, .n_seqs = i + 1}, .is_weak = i % 2, .n_points = N_POINTS};
        for (uint32_t k = 0; k < N_POINTS; k++)
            s->points[k] = (struct scale_point){.n_ranks = 1u << k,
                                                .n_rounds = 1,
                                                .speedup = 0.3 * k + 1,
                                                .shares = {0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0}};
        series[i] = s;
    }
    char path[64];
    struct error err;
    make_path(path);
    struct scale_plot plot = {.title = "<m> & \"n\"", .series = series, .n_series = N_SERIES};
    assert_int_equal(scale_plot_write(&plot, path, &err), OK);
    char *text = take_file(path);
    assert_true(check_xml(text) > N_SERIES * N_POINTS * 6);
    assert_non_null(strstr(text, "prefers-color-scheme:dark"));
    assert_non_null(strstr(text, "128 ranks: sum 10.0 %"));
    assert_null(strstr(text, "nan"));
    free(text);
    free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_cannot_break_the_drawing),
        cmocka_unit_test(what_cannot_be_written_is_told),
        cmocka_unit_test(a_plot_of_many_series_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
