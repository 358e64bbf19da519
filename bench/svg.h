/* SPDX-License-Identifier: Apache-2.0 */
/* Drawings as SVG 1.1 (W3C Recommendation, 2011), as much of it as a diagram needs: shapes with a
 * class, texts, and a style sheet of the caller's with colours for light and dark. Coordinates are
 * pixels from the upper left corner. */
#ifndef SHOAL_BENCH_SVG_H
#define SHOAL_BENCH_SVG_H

#include "base/error.h"
#include "base/text.h"

#include <stdint.h>

struct svg {
    struct text text; /* grows; `failed` if memory was gone */
};

struct svg_point {
    double x, y;
};

/* `title` is read aloud and shown by browsers; `style` is CSS. */
struct svg_head {
    uint32_t width, height;
    const char *title, *style;
};
void svg_begin(struct svg *svg, const struct svg_head *head);
void svg_line(struct svg *svg, const char *class, struct svg_point from, struct svg_point to);
void svg_polyline(struct svg *svg, const char *class, const struct svg_point *points, uint32_t n);
void svg_circle(struct svg *svg, const char *class, struct svg_point centre, double radius);
/* `tip` is shown where the pointer rests; NULL: none. */
void svg_rect(struct svg *svg, const char *class, struct svg_point corner, struct svg_point size,
              const char *tip);
/* Any bytes: what is no text in XML becomes U+FFFD. */
void svg_text(struct svg *svg, const char *class, struct svg_point at, const char *text);

/* Ends the drawing, writes it and frees the memory. ERR_IO names the file; ERR_NOMEM. */
enum status svg_end(struct svg *svg, const char *path, struct error *err);

#endif
