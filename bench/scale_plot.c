/* SPDX-License-Identifier: Apache-2.0 */
/* Both axes of the speed-up are linear, so that what is lost shows at its size. Colours are those
 * of Okabe and Ito (2008), which colour-blind eyes tell apart and which stand out on white and on
 * black; ink and paper follow the viewer's scheme. */
#include "bench/scale_plot.h"

#include "bench/svg.h"

#include <math.h>
#include <stdio.h>

#define WIDTH     960u
#define MARGIN    24.0
#define HUES      7u /* colours, before they come again */
#define N_COLUMNS 4u /* of panels with bars */

static const char style[] =
    "text{font-family:system-ui,sans-serif;font-size:12px;fill:#1f2328}"
    ".paper{fill:#ffffff}"
    ".head{font-size:16px;font-weight:600}"
    ".right{text-anchor:end}.middle{text-anchor:middle}"
    ".axis{stroke:#59636e}.grid{stroke:#d1d9e0}"
    ".ideal{stroke:#59636e;stroke-dasharray:2 4;fill:none}"
    ".s{fill:none;stroke-width:2}.weak{stroke-dasharray:7 4}"
    ".s0{stroke:#0072b2}.s1{stroke:#e69f00}.s2{stroke:#009e73}.s3{stroke:#cc79a7}"
    ".s4{stroke:#56b4e9}.s5{stroke:#d55e00}.s6{stroke:#8c8c8c}"
    ".p0{fill:#0072b2}.p1{fill:#e69f00}.p2{fill:#009e73}.p3{fill:#cc79a7}"
    ".p4{fill:#56b4e9}.p5{fill:#d55e00}.p6{fill:#8c8c8c}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.paper{fill:#0d1117}"
    ".axis,.ideal{stroke:#9198a1}.grid{stroke:#30363d}}";

struct box {
    double x, y, width, height; /* of the area inside the axes */
};

static const struct box speedup_box = {64, 84, 560, 320};
#define LEGEND_X     648.0
#define LEGEND_STEP  20.0
#define PANEL_STEP_X ((WIDTH - 2 * MARGIN) / N_COLUMNS)
#define PANEL_STEP_Y 196.0

double scale_plot_step(double max, uint32_t n) {
    double rough = max / n, power = pow(10, floor(log10(rough)));
    static const double steps[] = {1, 2, 5};
    for (int i = 0; i < 3; i++) {
        if (steps[i] * power >= rough)
            return steps[i] * power;
    }
    return 10 * power;
}

static struct svg_point point(double x, double y) {
    return (struct svg_point){x, y};
}

static void series_name(const struct scale_series *s, char *out, size_t room) {
    char test[64];
    model_bench_name(&s->test, test, sizeof test);
    uint32_t n = s->test.n_seqs;
    if (s->is_weak)
        snprintf(out, room, "%s, %u seq%s per rank (weak)", test, n, n == 1 ? "" : "s");
    else
        snprintf(out, room, "%s, %u seq%s", test, n, n == 1 ? "" : "s");
}

/* ---- speed-up ---- */

struct axes {
    struct box box;
    double x_max, y_max;
};

static struct svg_point place(const struct axes *axes, double x, double y) {
    const struct box *b = &axes->box;
    return point(b->x + b->width * x / axes->x_max, b->y + b->height * (1 - y / axes->y_max));
}

static struct axes find_axes(const struct scale_plot *plot) {
    struct axes axes = {.box = speedup_box, .x_max = 1, .y_max = 1};
    for (uint32_t i = 0; i < plot->n_series; i++) {
        const struct scale_series *s = plot->series[i];
        for (uint32_t k = 0; k < s->n_points; k++) {
            axes.x_max = fmax(axes.x_max, s->points[k].n_ranks);
            axes.y_max = fmax(axes.y_max, s->points[k].speedup);
        }
    }
    axes.y_max = fmax(axes.y_max, axes.x_max) * 1.04;
    axes.x_max *= 1.04;
    return axes;
}

static void draw_axes(struct svg *svg, const struct scale_plot *plot, const struct axes *axes) {
    char text[32];
    double step = scale_plot_step(axes->y_max, 6), last_x = -1e9;
    for (double y = 0; y <= axes->y_max; y += step) {
        struct svg_point at = place(axes, 0, y);
        svg_line(svg, "grid", at, place(axes, axes->x_max, y));
        snprintf(text, sizeof text, "%g", y);
        svg_text(svg, "right", point(at.x - 8, at.y + 4), text);
    }
    const struct scale_series *first = plot->series[0];
    for (uint32_t k = 0; k < first->n_points; k++) {
        struct svg_point at = place(axes, first->points[k].n_ranks, 0);
        svg_line(svg, "axis", at, point(at.x, at.y + 4));
        if (at.x - last_x < 22) /* small groups stand close together beside large ones */
            continue;
        last_x = at.x;
        snprintf(text, sizeof text, "%u", first->points[k].n_ranks);
        svg_text(svg, "middle", point(at.x, at.y + 18), text);
    }
    const struct box *b = &axes->box;
    svg_line(svg, "axis", place(axes, 0, 0), place(axes, axes->x_max, 0));
    svg_text(svg, "middle", point(b->x + b->width / 2, b->y + b->height + 36), "ranks");
    svg_text(svg, "", point(b->x - 40, b->y - 12), "speed-up");
    double ideal = fmin(axes->x_max, axes->y_max);
    svg_line(svg, "ideal", place(axes, 0, 0), place(axes, ideal, ideal));
}

static void draw_speedup(struct svg *svg, const struct scale_plot *plot) {
    struct axes axes = find_axes(plot);
    double y = axes.box.y + 8;
    draw_axes(svg, plot, &axes);
    svg_line(svg, "ideal", point(LEGEND_X, y - 4), point(LEGEND_X + 28, y - 4));
    svg_text(svg, "", point(LEGEND_X + 36, y), "ideal");
    for (uint32_t i = 0; i < plot->n_series; i++) {
        const struct scale_series *s = plot->series[i];
        struct svg_point points[SCALE_SIZES_MAX];
        char line[32], dot[32], name[96];
        snprintf(line, sizeof line, "s s%u%s", i % HUES, s->is_weak ? " weak" : "");
        snprintf(dot, sizeof dot, "p%u", i % HUES);
        for (uint32_t k = 0; k < s->n_points; k++)
            points[k] = place(&axes, s->points[k].n_ranks, s->points[k].speedup);
        svg_polyline(svg, line, points, s->n_points);
        for (uint32_t k = 0; k < s->n_points; k++)
            svg_circle(svg, dot, points[k], 3.5);
        y += LEGEND_STEP;
        svg_line(svg, line, point(LEGEND_X, y - 4), point(LEGEND_X + 28, y - 4));
        series_name(s, name, sizeof name);
        svg_text(svg, "", point(LEGEND_X + 36, y), name);
    }
}

/* ---- shares ---- */

/* Of the first row's areas: below the axes, or a legend that is longer than they. */
static double panels_y(const struct scale_plot *plot) {
    double axes = speedup_box.y + speedup_box.height + 48;
    double legend = speedup_box.y + LEGEND_STEP * (plot->n_series + 1);
    return fmax(axes, legend) + 72;
}

static void draw_bars(struct svg *svg, const struct scale_series *s, const struct box *b) {
    char text[96];
    series_name(s, text, sizeof text);
    svg_text(svg, "", point(b->x, b->y - 8), text);
    double step = b->width / s->n_points, width = fmin(step * 0.7, 36);
    for (uint32_t k = 0; k < s->n_points; k++) {
        const struct scale_point *p = &s->points[k];
        double x = b->x + step * (k + 0.5), y = b->y + b->height;
        for (int part = 0; part < SCALE_PARTS_N; part++) {
            double height = b->height * p->shares[part];
            if (!(height > 0)) /* nothing, or unknown */
                continue;
            y -= height;
            char class[8];
            snprintf(class, sizeof class, "p%d", part);
            snprintf(text, sizeof text, "%u ranks: %s %.1f %%", p->n_ranks,
                     scale_part_name((enum scale_part)part), 100 * p->shares[part]);
            svg_rect(svg, class, point(x - width / 2, y), point(width, height), text);
        }
        snprintf(text, sizeof text, "%u", p->n_ranks);
        if (step >= 16 || k % 2 == 0)
            svg_text(svg, "middle", point(x, b->y + b->height + 16), text);
    }
    svg_line(svg, "axis", point(b->x, b->y + b->height), point(b->x + b->width, b->y + b->height));
}

static void draw_shares(struct svg *svg, const struct scale_plot *plot) {
    double top = panels_y(plot), legend_x = MARGIN + 320;
    svg_text(svg, "head", point(MARGIN, top - 44), "Where the time of the ranks goes");
    for (int part = 0; part < SCALE_PARTS_N; part++) {
        char class[8];
        snprintf(class, sizeof class, "p%d", part);
        double x = legend_x + 84.0 * part;
        svg_rect(svg, class, point(x, top - 54), point(11, 11), NULL);
        svg_text(svg, "", point(x + 16, top - 44), scale_part_name((enum scale_part)part));
    }
    for (uint32_t i = 0; i < plot->n_series; i++) {
        struct box box = {MARGIN + PANEL_STEP_X * (i % N_COLUMNS),
                          top + PANEL_STEP_Y * (i / N_COLUMNS), PANEL_STEP_X - 24, 132};
        draw_bars(svg, plot->series[i], &box);
    }
}

enum status scale_plot_write(const struct scale_plot *plot, const char *path, struct error *err) {
    uint32_t n_rows = (plot->n_series + N_COLUMNS - 1) / N_COLUMNS;
    struct svg svg = {0};
    char title[300];
    snprintf(title, sizeof title, "Scaling of %s", plot->title);
    struct svg_head head = {.width = WIDTH,
                            .height = (uint32_t)(panels_y(plot) + PANEL_STEP_Y * n_rows),
                            .title = title,
                            .style = style};
    svg_begin(&svg, &head);
    svg_rect(&svg, "paper", point(0, 0), point(head.width, head.height), NULL);
    svg_text(&svg, "head", point(MARGIN, 36), title);
    draw_speedup(&svg, plot);
    draw_shares(&svg, plot);
    return svg_end(&svg, path, err);
}
