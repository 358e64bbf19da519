/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts are static: pressing Tab starts no program. Choices complete to their words, all
 * other values and operands to file names. */
#include "cli/completion.h"

#include "cli/command.h"
#include "cli/help.h"

#include <string.h>

/* "a|b|c" with the bars replaced. */
static void write_choices(FILE *to, const char *choices, char separator) {
    for (; *choices; choices++)
        fputc(*choices == '|' ? separator : *choices, to);
}

/* For single-quoted text of any of the three shells. */
static void write_quoted(FILE *to, const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", to);
        else
            fputc(*text, to);
    }
}

static bool has_no_form(const struct option *row) {
    return row->kind == OPTION_FLAG && row->fallback && strcmp(row->fallback, "on") == 0;
}

static void bash_words(void *user, enum option_id id, const struct option *row) {
    (void)id;
    FILE *to = user;
    fprintf(to, "--%s ", row->name);
    if (has_no_form(row))
        fprintf(to, "--no-%s ", row->name);
}

static void bash_choices(void *user, enum option_id id, const struct option *row) {
    (void)id;
    FILE *to = user;
    if (row->kind != OPTION_CHOICE)
        return;
    fprintf(to, "        --%s", row->name);
    const char *shorts = row->shorts;
    struct span word;
    while (option_next_word(&shorts, ' ', &word))
        fprintf(to, "|-%.*s", (int)word.len, word.data);
    fputs(") words='", to);
    write_choices(to, row->metavar, ' ');
    fputs("' ;;\n", to);
}

static void each_group(FILE *to, enum command_id command, option_visit *visit) {
    for (uint32_t i = 0; i < GROUP_N; i++)
        option_each(command, option_group_at(i), visit, to);
}

void completion_bash(FILE *to) {
    fputs("# bash completion of shoal: source <(shoal completion bash)\n"
          "_shoal() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local words=\n"
          "    COMPREPLY=()\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        words='",
          to);
    for (enum command_id id = 0; id < CMD_N; id++)
        fprintf(to, "%s ", command_row(id)->name);
    fputs("'\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "        return\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          to);
    for (enum command_id id = 0; id < CMD_N; id++) {
        fprintf(to, "    %s)\n        case $previous in\n", command_row(id)->name);
        each_group(to, id, bash_choices);
        fputs("        *) [[ $current == -* ]] && words='", to);
        each_group(to, id, bash_words);
        fputs("' ;;\n        esac ;;\n", to);
    }
    fputs("    esac\n"
          "    if [[ -n $words ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "    else\n"
          "        COMPREPLY=($(compgen -f -- \"$current\"))\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _shoal shoal\n",
          to);
}

/* _arguments wants colons and brackets in explanations escaped. */
static void zsh_option(void *user, enum option_id id, const struct option *row) {
    (void)id;
    FILE *to = user;
    fprintf(to, "            '--%s[", row->name);
    for (const char *c = row->help; *c; c++) {
        if (*c == '[' || *c == ']' || *c == ':')
            fputc('\\', to);
        write_quoted(to, (char[]){*c, '\0'});
    }
    fputc(']', to);
    if (row->kind == OPTION_CHOICE) {
        fputs(":value:(", to);
        write_choices(to, row->metavar, ' ');
        fputc(')', to);
    } else if (row->kind != OPTION_FLAG) {
        fputs(":value:_files", to);
    }
    fputs("' \\\n", to);
}

void completion_zsh(FILE *to) {
    fputs("#compdef shoal\n"
          "_shoal() {\n"
          "    local -a commands\n"
          "    commands=(\n",
          to);
    for (enum command_id id = 0; id < CMD_N; id++) {
        fprintf(to, "        '%s:", command_row(id)->name);
        write_quoted(to, command_row(id)->purpose);
        fputs("'\n", to);
    }
    fputs("    )\n"
          "    if ((CURRENT == 2)); then\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    case ${words[2]} in\n",
          to);
    for (enum command_id id = 0; id < CMD_N; id++) {
        fprintf(to, "    %s)\n        _arguments \\\n", command_row(id)->name);
        each_group(to, id, zsh_option);
        fputs("            '*:file:_files' ;;\n", to);
    }
    fputs("    esac\n"
          "}\n"
          /* as a file of $fpath the function is called, as `source <(...)` it is registered */
          "if [[ $funcstack[1] == _shoal ]]; then _shoal \"$@\"; else compdef _shoal shoal; fi\n",
          to);
}

struct fish_writer {
    FILE *to;
    const char *command;
};

static void fish_option(void *user, enum option_id id, const struct option *row) {
    (void)id;
    struct fish_writer *w = user;
    fprintf(w->to, "complete -c shoal -n '__fish_seen_subcommand_from %s' -l %s", w->command,
            row->name);
    const char *shorts = row->shorts;
    struct span word;
    while (option_next_word(&shorts, ' ', &word))
        fprintf(w->to, " -%c %.*s", word.len == 1 ? 's' : 'o', (int)word.len, word.data);
    if (row->kind == OPTION_CHOICE) {
        fputs(" -x -a '", w->to);
        write_choices(w->to, row->metavar, ' ');
        fputc('\'', w->to);
    } else if (row->kind != OPTION_FLAG) {
        fputs(" -r", w->to);
    }
    fputs(" -d '", w->to);
    write_quoted(w->to, row->help);
    fputs("'\n", w->to);
}

void completion_fish(FILE *to) {
    for (enum command_id id = 0; id < CMD_N; id++)
        fprintf(to, "complete -c shoal -n __fish_use_subcommand -f -a %s -d '%s'\n",
                command_row(id)->name, command_row(id)->purpose);
    for (enum command_id id = 0; id < CMD_N; id++) {
        struct fish_writer w = {.to = to, .command = command_row(id)->name};
        for (uint32_t i = 0; i < GROUP_N; i++)
            option_each(id, option_group_at(i), fish_option, &w);
    }
}

int command_completion(struct cli *cli) {
    static const struct {
        const char *shell;
        void (*write)(FILE *to);
    } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
    const char *shell = cli->options->n_operands ? cli->options->operands[0] : "";
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shell, shells[i].shell) == 0) {
            shells[i].write(cli->out);
            return CLI_OK;
        }
    }
    struct error err;
    error_set(&err, ERR_INPUT, "which shell? allowed are bash, zsh and fish, not '%.60s'", shell);
    return cli_fail(cli, DURING_USAGE, &err);
}
