/* SPDX-License-Identifier: Apache-2.0 */
/* The bar is one line: carriage return, text, erase to the end. Ten redraws a second look smooth
 * and cost nothing over a slow link. */
#include "cli/progress.h"

#include "base/clock.h"
#include "cli/command.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>

#define REDRAW_NS 100000000u
#define CELLS_MAX 40u
#define CELLS_MIN 4u

void progress_begin(struct progress *progress, const struct cli *cli, const char *title,
                    uint64_t total, enum progress_unit unit) {
    *progress = (struct progress){
        .terminal = &cli->terminal,
        .log = &cli->log,
        .title = title,
        .total = total ? total : 1,
        .unit = unit,
        .draws = cli->terminal.err_is_tty && !cli->terminal.is_dumb,
        .begin_ns = clock_ns(),
    };
}

/* "44.1/69.9 GiB", the unit of the total for both. */
static void add_amounts(const struct progress *p, uint64_t done, struct text *out) {
    if (p->unit == PROGRESS_ITEMS) {
        text_printf(out, "%" PRIu64 "/%" PRIu64, done, p->total);
        return;
    }
    char total[16];
    format_bytes(p->total, total);
    const char *unit = strchr(total, ' ');
    double scale = 1;
    for (const char *prefix = "KMGTPE"; unit && unit[1] != 'B'; prefix++) {
        scale *= 1024;
        if (*prefix == unit[1])
            break;
    }
    const char *point = strchr(total, '.');
    int decimals = point && unit ? (int)(unit - point) - 1 : 0;
    text_printf(out, "%.*f/%s", decimals, (double)done / scale, total);
}

static void add_rate(const struct progress *p, double per_second, struct text *out) {
    char bytes[16];
    if (p->unit == PROGRESS_ITEMS) {
        text_printf(out, "%.*f/s", per_second < 10 ? 1 : 0, per_second);
        return;
    }
    format_bytes((uint64_t)per_second, bytes);
    text_printf(out, "%s/s", bytes);
}

static void add_duration(double seconds, struct text *out) {
    if (seconds < 90)
        text_printf(out, "%.0f s", seconds);
    else if (seconds < 5400)
        text_printf(out, "%.0f min", seconds / 60);
    else
        text_printf(out, "%.1f h", seconds / 3600);
}

static void add_bar(const struct progress_look *look, double fraction, uint32_t n_cells,
                    struct text *out) {
    uint32_t n_full = (uint32_t)(fraction * n_cells);
    for (uint32_t i = 0; i < n_cells; i++) {
        if (look->blocks)
            text_add_str(out, i < n_full ? "\u2588" : "\u2591");
        else
            text_add_char(out, i < n_full ? '#' : '-');
    }
}

void progress_format(const struct progress *p, const struct progress_look *look, struct text *out) {
    double fraction = (double)look->done / (double)p->total;
    struct text right = {0};
    text_printf(&right, "%3.0f %%  ", 100 * fraction);
    add_amounts(p, look->done, &right);
    if (look->done && look->seconds > 0) {
        double per_second = (double)look->done / look->seconds;
        text_add_str(&right, "  ");
        add_rate(p, per_second, &right);
        if (look->done < p->total) {
            text_add_str(&right, "  eta ");
            add_duration((double)(p->total - look->done) / per_second, &right);
        }
    }
    /* The bar takes what the numbers leave; where nothing is left, the numbers are the bar. */
    uint32_t taken = terminal_text_width(p->title) + (uint32_t)right.len + 4;
    uint32_t cells = look->width > taken ? look->width - taken : 0;
    text_printf(out, "%s  ", p->title);
    if (cells >= CELLS_MIN) {
        add_bar(look, fraction, cells < CELLS_MAX ? cells : CELLS_MAX, out);
        text_add_str(out, "  ");
    }
    text_add(out, text_span(&right));
    text_free(&right);
}

static void draw(struct progress *p, uint64_t done, uint64_t now_ns) {
    struct progress_look look = {
        .done = done,
        .seconds = (double)(now_ns - p->begin_ns) * 1e-9,
        .width = terminal_width(p->terminal) - 1, /* the last column would wrap */
        .blocks = p->terminal->is_utf8,
    };
    struct text line = {0};
    progress_format(p, &look, &line);
    fprintf(p->log->to, "\r%s\033[K", text_str(&line));
    fflush(p->log->to);
    text_free(&line);
    p->drawn_ns = now_ns;
}

void progress_update(struct progress *p, uint64_t done) {
    if (!p->log->to || p->log->level < LOG_INFO)
        return;
    if (done > p->total)
        done = p->total;
    uint64_t now_ns = clock_ns();
    if (p->draws) {
        if (now_ns - p->drawn_ns >= REDRAW_NS)
            draw(p, done, now_ns);
        return;
    }
    uint32_t tenths = (uint32_t)((double)done / (double)p->total * 10);
    if (tenths <= p->tenths)
        return;
    p->tenths = tenths;
    struct text amounts = {0};
    add_amounts(p, done, &amounts);
    log_info(p->log, "%s: %u %%, %s", p->title, tenths * 10, text_str(&amounts));
    text_free(&amounts);
}

void progress_end(struct progress *p) {
    if (p->draws && p->drawn_ns) {
        fputs("\r\033[K", p->log->to);
        fflush(p->log->to);
    }
}
