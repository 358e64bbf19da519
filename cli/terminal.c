/* SPDX-License-Identifier: Apache-2.0 */
/* Conventions: no-color.org, bixense.com/clicolors, and force-color.org. */
#include "cli/terminal.h"

#include "base/utf8.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define COLUMNS_DEFAULT 80u
#define COLUMNS_MIN     20u

static bool is_on(const char *value) {
    return value && strcmp(value, "0") != 0;
}

static bool wants_color(const struct terminal *terminal, const struct options *options,
                        bool is_tty) {
    enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER }; /* as in the option's row */
    uint32_t choice = options_choice(options, OPT_COLOR);
    if (choice != COLOR_AUTO)
        return choice == COLOR_ALWAYS;
    if (options_environment(options, "NO_COLOR"))
        return false;
    if (is_on(options_environment(options, "CLICOLOR_FORCE")) ||
        is_on(options_environment(options, "FORCE_COLOR")))
        return true;
    return is_tty && !terminal->is_dumb;
}

void terminal_init(struct terminal *terminal, const struct options *options, int err_fd) {
    const char *term = options_environment(options, "TERM");
    const char *columns = options_environment(options, "COLUMNS");
    unsigned long n = columns ? strtoul(columns, NULL, 10) : 0;
    *terminal = (struct terminal){
        .err_fd = err_fd,
        .in_is_tty = isatty(STDIN_FILENO),
        .out_is_tty = isatty(STDOUT_FILENO),
        .err_is_tty = isatty(err_fd),
        .is_dumb = !term || strcmp(term, "dumb") == 0,
        .is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
        .columns = n <= 10000 ? (uint32_t)n : 0,
    };
    terminal->color_out = wants_color(terminal, options, terminal->out_is_tty);
    terminal->color_err = wants_color(terminal, options, terminal->err_is_tty);
}

uint32_t terminal_width(const struct terminal *terminal) {
    struct winsize size;
    uint32_t width = COLUMNS_DEFAULT;
    if (ioctl(terminal->err_fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        width = size.ws_col;
    else if (terminal->columns)
        width = terminal->columns;
    return width < COLUMNS_MIN ? COLUMNS_MIN : width;
}

void terminal_write(FILE *to, struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t')
            fputc(c, to);
    }
}

uint32_t terminal_text_width(const char *text) {
    struct span rest = span_of(text);
    uint32_t width = 0;
    while (rest.len) {
        uint32_t code_point;
        size_t n = utf8_decode(rest, &code_point);
        int columns = n ? wcwidth((wchar_t)code_point) : 1;
        width += columns >= 0 ? (uint32_t)columns : 1;
        rest = span_from(rest, n ? n : 1);
    }
    return width;
}
