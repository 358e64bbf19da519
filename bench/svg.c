/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers are written with two decimals, which no eye resolves; every string goes through one
 * function that knows what XML does not allow. */
#include "bench/svg.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* XML 1.0 (fifth edition), production 2: of the control characters only these three. */
static bool is_xml_char(uint32_t c) {
    return (c >= 0x20 && c != 0xFFFE && c != 0xFFFF) || c == '\t' || c == '\n' || c == '\r';
}

static void add_escaped(struct text *out, const char *string) {
    struct span rest = span_of(string);
    while (rest.len) {
        uint32_t c = 0xFFFD;
        size_t n = utf8_decode(rest, &c);
        struct span bytes = span_make(rest.data, n);
        if (n == 0 || !is_xml_char(c))
            text_add_str(out, "\xEF\xBF\xBD");
        else if (c == '&')
            text_add_str(out, "&amp;");
        else if (c == '<')
            text_add_str(out, "&lt;");
        else if (c == '>')
            text_add_str(out, "&gt;");
        else if (c == '"')
            text_add_str(out, "&quot;");
        else
            text_add(out, bytes);
        rest = span_from(rest, n ? n : 1);
    }
}

/* <name class="..."  */
static void open_element(struct svg *svg, const char *name, const char *class) {
    text_printf(&svg->text, "<%s class=\"", name);
    add_escaped(&svg->text, class);
    text_add_char(&svg->text, '"');
}

void svg_begin(struct svg *svg, const struct svg_head *head) {
    text_clear(&svg->text);
    text_printf(&svg->text,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
                "viewBox=\"0 0 %u %u\" role=\"img\">\n<title>",
                head->width, head->height, head->width, head->height);
    add_escaped(&svg->text, head->title);
    text_add_str(&svg->text, "</title>\n<style>");
    add_escaped(&svg->text, head->style);
    text_add_str(&svg->text, "</style>\n");
}

void svg_line(struct svg *svg, const char *class, struct svg_point from, struct svg_point to) {
    open_element(svg, "line", class);
    text_printf(&svg->text, " x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\"/>\n", from.x, from.y,
                to.x, to.y);
}

void svg_polyline(struct svg *svg, const char *class, const struct svg_point *points, uint32_t n) {
    open_element(svg, "polyline", class);
    text_add_str(&svg->text, " points=\"");
    for (uint32_t i = 0; i < n; i++)
        text_printf(&svg->text, "%s%.2f,%.2f", i ? " " : "", points[i].x, points[i].y);
    text_add_str(&svg->text, "\"/>\n");
}

void svg_circle(struct svg *svg, const char *class, struct svg_point centre, double radius) {
    open_element(svg, "circle", class);
    text_printf(&svg->text, " cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\"/>\n", centre.x, centre.y, radius);
}

void svg_rect(struct svg *svg, const char *class, struct svg_point corner, struct svg_point size,
              const char *tip) {
    open_element(svg, "rect", class);
    text_printf(&svg->text, " x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"", corner.x,
                corner.y, size.x, size.y);
    if (tip) {
        text_add_str(&svg->text, "><title>");
        add_escaped(&svg->text, tip);
        text_add_str(&svg->text, "</title></rect>\n");
    } else {
        text_add_str(&svg->text, "/>\n");
    }
}

void svg_text(struct svg *svg, const char *class, struct svg_point at, const char *text) {
    open_element(svg, "text", class);
    text_printf(&svg->text, " x=\"%.2f\" y=\"%.2f\">", at.x, at.y);
    add_escaped(&svg->text, text);
    text_add_str(&svg->text, "</text>\n");
}

enum status svg_end(struct svg *svg, const char *path, struct error *err) {
    text_add_str(&svg->text, "</svg>\n");
    enum status status = OK;
    FILE *to = svg->text.failed ? NULL : fopen(path, "we");
    if (svg->text.failed)
        status = error_set(err, ERR_NOMEM, "%s: no memory for the drawing", path);
    else if (!to)
        status = error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (to) {
        bool written = fwrite(svg->text.data, 1, svg->text.len, to) == svg->text.len;
        if (fclose(to) != 0 || !written)
            status = error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    }
    text_free(&svg->text);
    return status;
}
