/* SPDX-License-Identifier: Apache-2.0 */
/* Everything in bold or italics is written by one function, which is also the one that escapes. */
#include "cli/manpage.h"

#include "cli/command.h"
#include "cli/help.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* Literal text: backslashes, hyphens that must stay minus signs, and quotes and dots that roff
 * would take as its own at the beginning of a line. */
static void write_escaped(FILE *to, const char *text) {
    if (*text == '.' || *text == '\'')
        fputs("\\&", to);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", to);
        else if (*text == '-')
            fputs("\\-", to);
        else if (*text == '\'')
            fputs("\\(aq", to);
        else
            fputc(*text, to);
    }
}

static void write_head(FILE *to, const char *page, const char *purpose) {
    fputs(".TH ", to);
    for (const char *c = page; *c; c++)
        fputc(toupper((unsigned char)*c), to);
    fprintf(to, " 1 \"\" \"shoal %s\" \"User Commands\"\n.SH NAME\n%s \\- ", SHOAL_VERSION, page);
    write_escaped(to, purpose);
    fputs("\n.SH SYNOPSIS\n", to);
}

static void write_sections_of_all(FILE *to) {
    static const char *const statuses[][2] = {
        {"0", "success"},
        {"1", "failed while running"},
        {"2", "wrong command line"},
        {"3", "config file or environment invalid"},
        {"4", "model missing, damaged or unsupported"},
        {"5", "does not fit into memory"},
        {"6", "a device or the workers failed to start"},
        {"8", "a worker was lost while running"},
        {"130", "interrupted"},
        {"143", "terminated"},
    };
    fputs(".SH EXIT STATUS\n", to);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        fprintf(to, ".TP\n.B %s\n%s\n", statuses[i][0], statuses[i][1]);
    fputs(".SH ENVIRONMENT\nEvery option is also read from\n.B SHOAL_\nand its long name in "
          "capitals with underscores, for example\n.BR SHOAL_CTX_SIZE .\nFlags take 1, true, on, "
          "yes and their opposites.\n"
          ".SH FILES\n.TP\n.I /etc/shoal/shoal.ini\n.TQ\n.I $XDG_CONFIG_HOME/shoal/shoal.ini\n"
          "Config files: \"key = value\" with long option names as keys, in the sections "
          "[default], [COMMAND] and [model \"NAME\"].\n"
          "The command line wins over the environment, that over the config files, those over "
          "the model file, and that over the defaults.\n",
          to);
}

struct option_writer {
    FILE *to;
    const char *title; /* NULL once written */
};

static void write_option(void *user, enum option_id id, const struct option *row) {
    (void)id;
    struct option_writer *w = user;
    if (w->title)
        fprintf(w->to, ".SS %s\n", w->title);
    w->title = NULL;
    struct text spelled = {0}, explained = {0};
    option_spelled(row, &spelled);
    option_explained(row, &explained);
    fputs(".TP\n\\fB", w->to);
    write_escaped(w->to, text_str(&spelled));
    fputs("\\fR\n", w->to);
    write_escaped(w->to, text_str(&explained));
    fputc('\n', w->to);
    text_free(&spelled);
    text_free(&explained);
}

static void write_options(FILE *to, enum command_id command) {
    fputs(".SH OPTIONS\n", to);
    for (uint32_t i = 0; i < GROUP_N; i++) {
        enum option_group group = option_group_at(i);
        struct option_writer w = {.to = to, .title = option_group_title(group)};
        option_each(command, group, write_option, &w);
    }
}

void manpage_command(FILE *to, enum command_id command) {
    const struct command *row = command_row(command);
    char page[64];
    snprintf(page, sizeof page, "shoal-%s", row->name);
    write_head(to, page, row->purpose);
    fprintf(to, ".B shoal %s\n[OPTIONS]\n", row->name);
    write_escaped(to, row->operands);
    fputs(row->operands[0] ? "\n" : "", to);
    if (row->about[0]) {
        fputs(".SH DESCRIPTION\n", to);
        write_escaped(to, row->about);
        fputc('\n', to);
    }
    write_options(to, command);
    if (row->examples[0])
        fputs(".SH EXAMPLES\n", to);
    for (const char *const *example = row->examples; *example; example += 2) {
        fputs(".TP\n\\fB", to);
        write_escaped(to, example[0]);
        fputs("\\fR\n", to);
        write_escaped(to, example[1]);
        fputc('\n', to);
    }
    write_sections_of_all(to);
    fputs(".SH SEE ALSO\n.BR shoal (1)\n", to);
}

void manpage_overview(FILE *to) {
    write_head(to, "shoal", "run the Qwen3.5 mixture-of-experts models");
    fputs(".B shoal\nCOMMAND [OPTIONS]\n.SH DESCRIPTION\nRuns the models of the Qwen3.5 family "
          "from GGUF files. Results go to standard output, everything else to standard error.\n"
          ".SH COMMANDS\n",
          to);
    for (enum command_id id = 0; id < CMD_N; id++) {
        const struct command *row = command_row(id);
        fprintf(to, ".TP\n\\fB%s\\fR ", row->name);
        write_escaped(to, row->operands);
        fputc('\n', to);
        write_escaped(to, row->purpose);
        fputc('\n', to);
    }
    write_sections_of_all(to);
    fputs(".SH SEE ALSO\n", to);
    for (enum command_id id = 0; id < CMD_N; id++)
        fprintf(to, ".BR shoal\\-%s (1)%s\n", command_row(id)->name, id + 1 < CMD_N ? "," : "");
}

/* CMD_N: the overview. */
static enum status write_page(const char *dir, enum command_id command, struct error *err) {
    struct text path = {0};
    text_printf(&path, "%s/shoal", dir);
    if (command < CMD_N)
        text_printf(&path, "-%s", command_row(command)->name);
    text_add_str(&path, ".1");
    FILE *to = fopen(text_str(&path), "w");
    if (to && command < CMD_N)
        manpage_command(to, command);
    else if (to)
        manpage_overview(to);
    enum status status = OK;
    if (!to || fclose(to) != 0)
        status = error_set(err, ERR_IO, "%s: %s", text_str(&path), strerror(errno));
    text_free(&path);
    return status;
}

enum status manpage_write_all(const char *dir, struct error *err) {
    for (enum command_id command = 0; command <= CMD_N; command++)
        TRY(write_page(dir, command, err));
    return OK;
}
