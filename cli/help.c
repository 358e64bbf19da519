/* SPDX-License-Identifier: Apache-2.0 */
/* Two columns; a left side that is too wide gets a line of its own. */
#include "cli/help.h"

#include "cli/command.h"
#include "cli/manpage.h"

#include <ctype.h>
#include <string.h>

#define LEFT_COLUMNS 34u /* "  -ub, --ubatch-size N" and its like fit */

enum option_group option_group_at(uint32_t i) {
    static const enum option_group order[GROUP_N] = {GROUP_COMMAND, GROUP_SAMPLING, GROUP_MODEL,
                                                     GROUP_WORKERS, GROUP_OUTPUT,   GROUP_GENERAL};
    return order[i];
}

const char *option_group_title(enum option_group group) {
    static const char *const titles[GROUP_N] = {
        [GROUP_COMMAND] = "Options of this command",
        [GROUP_SAMPLING] = "Sampling",
        [GROUP_MODEL] = "Model and engine",
        [GROUP_WORKERS] = "Several workers",
        [GROUP_OUTPUT] = "Output",
        [GROUP_GENERAL] = "General",
    };
    return titles[group];
}

void option_each(enum command_id command, enum option_group group, option_visit *visit,
                 void *user) {
    for (enum option_id id = 0; id < OPT_N; id++) {
        const struct option *row = option_row(id);
        if (row->group == group && option_belongs(id, command) && !(row->traits & OPTION_HIDDEN))
            visit(user, id, row);
    }
}

void option_spelled(const struct option *row, struct text *out) {
    const char *shorts = row->shorts;
    struct span word;
    while (option_next_word(&shorts, ' ', &word))
        text_printf(out, "-%.*s, ", (int)word.len, word.data);
    bool on = row->kind == OPTION_FLAG && row->fallback && strcmp(row->fallback, "on") == 0;
    text_printf(out, "--%s%s", on ? "[no-]" : "", row->name);
    if (row->metavar)
        text_printf(out, row->traits & OPTION_MAY_LACK ? "[=%s]" : " %s", row->metavar);
}

void option_explained(const struct option *row, struct text *out) {
    text_add_str(out, row->help);
    if (row->fallback)
        text_printf(out, " (default: %s)", row->fallback);
}

/* Words of `text` from column `indent` on; the cursor stands at column `at`. */
static void write_wrapped(FILE *to, const char *text, uint32_t at, uint32_t indent) {
    uint32_t column = at;
    struct span word;
    while (option_next_word(&text, ' ', &word)) {
        uint32_t n = (uint32_t)word.len;
        if (column > indent && column + 1 + n > HELP_COLUMNS) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", (int)word.len, word.data);
        column += n;
    }
    fputc('\n', to);
}

static void write_row(FILE *to, const char *left, const char *right) {
    int n = fprintf(to, "  %s", left);
    uint32_t column = n > 0 ? (uint32_t)n : 0;
    if (column + 2 > LEFT_COLUMNS) {
        fputc('\n', to);
        column = 0;
    }
    fprintf(to, "%*s", (int)(LEFT_COLUMNS - column), "");
    write_wrapped(to, right, LEFT_COLUMNS, LEFT_COLUMNS);
}

static void write_sentence(FILE *to, const char *text) {
    struct text sentence = {0};
    text_printf(&sentence, "%c%s.", toupper((unsigned char)text[0]), text + 1);
    write_wrapped(to, text_str(&sentence), 0, 0);
    text_free(&sentence);
}

struct option_writer {
    FILE *to;
    const char *title; /* NULL once written */
    bool with_rare;
};

static void write_option(void *user, enum option_id id, const struct option *row) {
    (void)id;
    struct option_writer *w = user;
    if ((row->traits & OPTION_RARE) && !w->with_rare)
        return;
    if (w->title)
        fprintf(w->to, "\n%s:\n", w->title);
    w->title = NULL;
    struct text left = {0}, right = {0};
    option_spelled(row, &left);
    option_explained(row, &right);
    write_row(w->to, text_str(&left), text_str(&right));
    text_free(&left);
    text_free(&right);
}

void help_command(FILE *to, enum command_id command, bool with_rare) {
    const struct command *row = command_row(command);
    fprintf(to, "Usage: shoal %s [OPTIONS]%s%s\n\n", row->name, row->operands[0] ? " " : "",
            row->operands);
    write_sentence(to, row->purpose);
    if (row->about[0])
        write_wrapped(to, row->about, 0, 0);
    for (uint32_t i = 0; i < GROUP_N; i++) {
        enum option_group group = option_group_at(i);
        struct option_writer w = {
            .to = to, .title = option_group_title(group), .with_rare = with_rare};
        option_each(command, group, write_option, &w);
    }
    if (row->examples[0])
        fputs("\nExamples:\n", to);
    for (const char *const *example = row->examples; *example; example += 2)
        fprintf(to, "  %s\n      %s\n", example[0], example[1]);
    fputs("\nEvery option has an environment name (SHOAL_CTX_SIZE) and a config key (ctx-size).\n",
          to);
}

void help_overview(FILE *to) {
    fputs("Usage: shoal COMMAND [OPTIONS]\n\n"
          "Runs the Qwen3.5 mixture-of-experts models.\n\nCommands:\n",
          to);
    for (enum command_id id = 0; id < CMD_N; id++) {
        struct text left = {0};
        const struct command *row = command_row(id);
        text_printf(&left, "%s %s", row->name, row->operands);
        write_row(to, text_str(&left), row->purpose);
        text_free(&left);
    }
    fputs("\nExamples:\n"
          "  shoal run\n      chat with the demonstration model\n"
          "  shoal help run\n      the options of one command\n",
          to);
}

void help_version(FILE *to) {
    fprintf(to, "shoal %s (%s%scpu)\n", SHOAL_VERSION, SHOAL_COMMIT, SHOAL_COMMIT[0] ? ", " : "");
}

void help_config(FILE *to, const struct options *options) {
    for (enum option_id id = 0; id < OPT_N; id++) {
        const struct option *row = option_row(id);
        if (!option_belongs(id, options->command) || (row->traits & OPTION_LINE_ONLY))
            continue;
        struct text origin = {0};
        options_origin_text(options, id, &origin);
        uint32_t n = options_n_items(options, id);
        for (uint32_t i = 0; i < (n ? n : 1); i++) {
            const char *value = n ? options_item(options, id, i) : "";
            int width = fprintf(to, "%s = %s", row->name, value);
            fprintf(to, "%*s# %s\n", width < 39 ? 40 - width : 1, "", text_str(&origin));
        }
        text_free(&origin);
    }
}

int command_version(struct cli *cli) {
    help_version(cli->out);
    return CLI_OK;
}

int command_help(struct cli *cli) {
    const struct options *options = cli->options;
    const char *man_dir = options_string(options, OPT_MAN);
    struct error err;
    if (man_dir) {
        if (manpage_write_all(man_dir, &err) != OK)
            return cli_fail(cli, DURING_WORK, &err);
        return CLI_OK;
    }
    if (options->n_operands == 0) {
        help_overview(cli->out);
        return CLI_OK;
    }
    enum command_id command;
    if (!command_find(options->operands[0], &command)) {
        command_unknown(options->operands[0], &err);
        return cli_fail(cli, DURING_USAGE, &err);
    }
    help_command(cli->out, command, false);
    return CLI_OK;
}
