/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, in the manner of GNU getopt_long, with two additions that people of this field
 * type: short options of several letters (-np 4, -ctk f16), and --no-x for every flag. getopt_long
 * itself is not used: it knows neither, keeps global state, and prints its own messages. */
#include "cli/option_value.h"
#include "cli/spelling.h"

#include <assert.h>
#include <string.h>

/* One pass over argv. */
struct line {
    struct options *options;
    const struct options_input *input;
    int next;         /* index of the next argument */
    bool has_command; /* the first operand was seen: its options are known now */
};

/* Before the command is known, only options that every command has can stand there. */
static bool is_candidate(const struct option *row, enum command_id command) {
    uint32_t every = (1u << CMD_N) - 1u;
    return row->name &&
           (command == CMD_N ? row->commands == every : (row->commands >> command & 1u) != 0);
}

bool option_find_long(enum command_id command, struct span name, enum option_id *id,
                      bool *negated) {
    *negated = false;
    for (int pass = 0; pass < 2; pass++) {
        for (enum option_id i = 0; i < OPT_N; i++) {
            const struct option *row = option_row(i);
            if (is_candidate(row, command) &&
                (span_is(name, row->name) || option_word_in(row->aliases, name)) &&
                (!*negated || (row->kind == OPTION_FLAG && !row->writes))) {
                *id = i;
                return true;
            }
        }
        if (!span_starts_with(name, "no-"))
            return false;
        name = span_from(name, strlen("no-"));
        *negated = true;
    }
    return false;
}

bool option_find_short(enum command_id command, struct span name, enum option_id *id) {
    for (enum option_id i = 0; i < OPT_N; i++) {
        const struct option *row = option_row(i);
        if (is_candidate(row, command) && option_word_in(row->shorts, name)) {
            *id = i;
            return true;
        }
    }
    return false;
}

static enum status unknown_option(const struct line *line, struct span name, struct error *err) {
    struct spelling spelling = {.word = name};
    enum command_id command = line->has_command ? line->options->command : CMD_N;
    for (enum option_id i = 0; i < OPT_N; i++) {
        const struct option *row = option_row(i);
        if (!is_candidate(row, command) || (row->traits & OPTION_HIDDEN))
            continue;
        spelling_offer(&spelling, span_of(row->name));
        const char *aliases = row->aliases;
        struct span alias;
        while (option_next_word(&aliases, ' ', &alias))
            spelling_offer(&spelling, alias);
    }
    int n = (int)(name.len < 60 ? name.len : 60);
    if (spelling.best.len)
        return error_set(err, ERR_INPUT, "unknown option '--%.*s', did you mean '--%.*s'?", n,
                         name.data, (int)spelling.best.len, spelling.best.data);
    if (!line->has_command)
        return error_set(err, ERR_INPUT, "option '--%.*s' must stand behind the command", n,
                         name.data);
    return error_set(err, ERR_INPUT, "unknown option '--%.*s'", n, name.data);
}

static enum status assign(struct line *line, enum option_id id, const char *text,
                          const char *spelled, struct error *err) {
    static const struct option_source source = {.origin = ORIGIN_LINE};
    const struct option *row = option_row(id);
    if (row->writes) {
        id = row->target;
        text = row->writes;
    }
    enum status status = options_assign(line->options, id, text, &source, err);
    if (status != OK)
        error_wrap(err, "%s", spelled);
    return status;
}

/* The value in the next argument, or NULL. A value that may lack is only taken if it looks like
 * one: a pattern, not a file name. */
static const char *next_value(struct line *line, const struct option *row) {
    if (line->next >= line->input->argc)
        return NULL;
    const char *value = line->input->argv[line->next];
    if ((row->traits & OPTION_MAY_LACK) && !strpbrk(value, "*?["))
        return NULL;
    line->next++;
    return value;
}

static enum status take_value(struct line *line, enum option_id id, const char *attached,
                              const char *spelled, struct error *err) {
    const struct option *row = option_row(id);
    const char *value = attached ? attached : next_value(line, row);
    if (!value && (row->traits & OPTION_MAY_LACK))
        value = "";
    if (!value)
        return error_set(err, ERR_INPUT, "%s needs a value: %s", spelled, row->metavar);
    return assign(line, id, value, spelled, err);
}

static enum status read_long(struct line *line, const char *argument, struct error *err) {
    const char *equals = strchrnul(argument, '=');
    struct span name = span_make(argument + 2, (size_t)(equals - argument) - 2);
    const char *attached = *equals ? equals + 1 : NULL;
    enum option_id id;
    bool negated;
    if (!option_find_long(line->has_command ? line->options->command : CMD_N, name, &id, &negated))
        return unknown_option(line, name, err);
    char spelled[SPELLING_WORD_MAX + 8] = "--";
    assert(name.len <= SPELLING_WORD_MAX); /* it is one of ours */
    memcpy(spelled + 2, name.data, name.len);
    if (option_row(id)->kind != OPTION_FLAG)
        return take_value(line, id, attached, spelled, err);
    if (attached && (negated || option_row(id)->writes))
        return error_set(err, ERR_INPUT, "%s takes no value", spelled);
    return assign(line, id, attached ? attached : (negated ? "off" : "on"), spelled, err);
}

/* -np 4, -np=4, -t8, -t 8, -vq. The whole word is tried first, so that -np is never -n with "p". */
static enum status read_short(struct line *line, const char *argument, struct error *err) {
    enum command_id command = line->has_command ? line->options->command : CMD_N;
    const char *equals = strchrnul(argument, '=');
    char spelled[8] = "-";
    enum option_id id;
    struct span word = span_make(argument + 1, (size_t)(equals - argument) - 1);
    if (word.len > 1 && option_find_short(command, word, &id)) {
        memcpy(spelled + 1, word.data, word.len);
        return take_value(line, id, *equals ? equals + 1 : NULL, spelled, err);
    }
    for (const char *letter = argument + 1; *letter; letter++) {
        spelled[1] = *letter;
        if (!option_find_short(command, span_make(letter, 1), &id))
            return error_set(err, ERR_INPUT, "unknown option '%.60s'%s", argument,
                             line->has_command ? "" : ", or it must stand behind the command");
        if (option_row(id)->kind != OPTION_FLAG) {
            const char *rest = letter[1] == '=' ? letter + 2 : letter + 1;
            return take_value(line, id, letter[1] ? rest : NULL, spelled, err);
        }
        TRY(assign(line, id, "on", spelled, err));
    }
    return OK;
}

static enum status read_operand(struct line *line, const char *argument, struct error *err) {
    struct options *options = line->options;
    if (!line->has_command) {
        if (!line->input->command_of(argument, &options->command))
            return line->input->command_unknown(argument, err);
        line->has_command = true;
        return OK;
    }
    if (options->n_operands == OPTION_OPERANDS_MAX)
        return error_set(err, ERR_LIMIT, "more than %u operands", OPTION_OPERANDS_MAX);
    options->operands[options->n_operands++] = argument;
    return OK;
}

/* MODEL may be given as an operand; then it is the option, so that nobody looks twice. */
static enum status take_model_operand(struct options *options, struct error *err) {
    static const struct option_source source = {.origin = ORIGIN_LINE};
    uint32_t at = options->command == CMD_BENCH ? 1 : 0; /* behind "model" of "bench model" */
    if (!option_belongs(OPT_MODEL, options->command) || options->n_operands <= at ||
        options->values[OPT_MODEL].origin == ORIGIN_LINE)
        return OK;
    const char *model = options->operands[at];
    options->n_operands--;
    for (uint32_t i = at; i < options->n_operands; i++)
        options->operands[i] = options->operands[i + 1];
    options->operands[options->n_operands] = NULL;
    return options_assign(options, OPT_MODEL, model, &source, err);
}

enum status options_read_line(struct options *options, const struct options_input *input,
                              struct error *err) {
    struct line line = {.options = options, .input = input, .next = 1};
    options->command = CMD_HELP;
    bool only_operands = false;
    while (line.next < input->argc) {
        const char *argument = input->argv[line.next++];
        if (only_operands || argument[0] != '-' || argument[1] == '\0')
            TRY(read_operand(&line, argument, err));
        else if (strcmp(argument, "--") == 0)
            only_operands = true;
        else if (argument[1] == '-')
            TRY(read_long(&line, argument, err));
        else
            TRY(read_short(&line, argument, err));
    }
    return take_model_operand(options, err);
}
