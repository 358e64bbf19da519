/* SPDX-License-Identifier: Apache-2.0 */
/* Values and their origins. Sources may be read in any order: each value keeps the rank of its
 * origin, and a lower one never replaces a higher one. */
#include "cli/options.h"

#include "cli/option_value.h"

#include <assert.h>
#include <string.h>

#define ORIGIN_LEVELS 16u

static enum status add_item(struct options *options, struct option_value *value, const char *text,
                            struct error *err) {
    if (value->n_items == OPTION_ITEMS_MAX)
        return error_set(err, ERR_LIMIT, "given more than %u times", OPTION_ITEMS_MAX);
    if (value->n_items == value->items_room) {
        uint32_t room = value->items_room ? 2 * value->items_room : 1;
        const char **items = arena_array(&options->arena, room, sizeof *items);
        if (!items)
            return error_set(err, ERR_NOMEM, "no memory");
        for (uint32_t i = 0; i < value->n_items; i++)
            items[i] = value->items[i];
        value->items = items;
        value->items_room = room;
    }
    value->items[value->n_items++] = text;
    return OK;
}

enum status options_assign(struct options *options, enum option_id id, const char *text,
                           const struct option_source *source, struct error *err) {
    const struct option *row = option_row(id);
    struct option_value *value = &options->values[id];
    struct option_value parsed = {0};
    TRY(option_value_parse(row, text, &parsed, err));
    uint32_t rank = (uint32_t)source->origin * ORIGIN_LEVELS + source->level;
    if (rank < value->rank)
        return OK;
    if (rank > value->rank || !(row->traits & OPTION_REPEATS))
        value->n_items = 0;
    TRY(add_item(options, value, text, err));
    value->integer = parsed.integer;
    if (row->kind == OPTION_DOUBLE)
        value->real = parsed.real;
    else if (row->kind == OPTION_FLAG)
        value->flag = parsed.flag;
    value->rank = rank;
    value->origin = source->origin;
    value->where = source->where;
    return OK;
}

const char *options_environment(const struct options *options, const char *name) {
    size_t n = strlen(name);
    for (const char *const *entry = options->environment; entry && *entry; entry++) {
        if (strncmp(*entry, name, n) == 0 && (*entry)[n] == '=')
            return (*entry)[n + 1] ? *entry + n + 1 : NULL;
    }
    return NULL;
}

static enum status read_defaults(struct options *options, struct error *err) {
    static const struct option_source source = {.origin = ORIGIN_DEFAULT};
    for (enum option_id id = 0; id < OPT_N; id++) {
        const struct option *row = option_row(id);
        const char *fallback = row->fallback;
        if (!fallback && row->kind == OPTION_FLAG && !row->writes)
            fallback = "off";
        if (fallback && option_belongs(id, options->command))
            TRY(options_assign(options, id, fallback, &source, err));
    }
    return OK;
}

static enum status read_environment(struct options *options, struct error *err) {
    struct text name = {0};
    enum status status = OK;
    for (enum option_id id = 0; id < OPT_N && status == OK; id++) {
        const struct option *row = option_row(id);
        if (!option_belongs(id, options->command) || (row->traits & OPTION_LINE_ONLY))
            continue;
        text_clear(&name);
        option_env_name(row, &name);
        const char *text = options_environment(options, text_str(&name));
        if (!text)
            continue;
        struct option_source source = {.origin = ORIGIN_ENVIRONMENT,
                                       .where = arena_dup(&options->arena, text_span(&name))};
        status = options_assign(options, id, text, &source, err);
        if (status != OK)
            error_wrap(err, "environment %s", text_str(&name));
    }
    text_free(&name);
    return status;
}

/* Help must work although a config file is broken. */
static bool needs_config(const struct options *options) {
    return options->command != CMD_HELP && options->command != CMD_VERSION &&
           options->command != CMD_COMPLETION && !options_flag(options, OPT_HELP) &&
           !options_flag(options, OPT_HELP_ALL) && !options_flag(options, OPT_VERSION);
}

enum status options_read(struct options *options, const struct options_input *input,
                         enum options_phase *phase, struct error *err) {
    *options = (struct options){.environment = input->environment};
    *phase = PHASE_LINE;
    TRY(options_read_line(options, input, err));
    TRY(read_defaults(options, err));
    if (!needs_config(options))
        return OK;
    *phase = PHASE_ENVIRONMENT;
    TRY(read_environment(options, err));
    *phase = PHASE_CONFIG;
    return options_read_config(options, input, err);
}

void options_free(struct options *options) {
    arena_free(&options->arena);
    *options = (struct options){0};
}

static bool is_auto(const struct options *options, enum option_id id) {
    const struct option_value *value = &options->values[id];
    return (option_row(id)->traits & OPTION_AUTO) && value->n_items &&
           strcmp(value->items[0], "auto") == 0;
}

bool options_is_set(const struct options *options, enum option_id id) {
    return options->values[id].origin > ORIGIN_DEFAULT && !is_auto(options, id);
}

bool options_flag(const struct options *options, enum option_id id) {
    assert(option_row(id)->kind == OPTION_FLAG);
    return options->values[id].flag;
}

int64_t options_int(const struct options *options, enum option_id id) {
    assert(option_row(id)->kind == OPTION_INT || option_row(id)->kind == OPTION_SIZE);
    return options->values[id].integer;
}

double options_double(const struct options *options, enum option_id id) {
    assert(option_row(id)->kind == OPTION_DOUBLE);
    return options->values[id].real;
}

const char *options_string(const struct options *options, enum option_id id) {
    const struct option_value *value = &options->values[id];
    assert(option_row(id)->kind == OPTION_STRING || option_row(id)->kind == OPTION_CHOICE);
    return value->n_items ? value->items[value->n_items - 1] : NULL;
}

uint32_t options_choice(const struct options *options, enum option_id id) {
    assert(option_row(id)->kind == OPTION_CHOICE);
    return (uint32_t)options->values[id].integer;
}

uint32_t options_n_items(const struct options *options, enum option_id id) {
    return options->values[id].n_items;
}

const char *options_item(const struct options *options, enum option_id id, uint32_t i) {
    assert(i < options->values[id].n_items);
    return options->values[id].items[i];
}

void options_origin_text(const struct options *options, enum option_id id, struct text *out) {
    static const char *const words[] = {[ORIGIN_NONE] = "unset",
                                        [ORIGIN_DEFAULT] = "default",
                                        [ORIGIN_MODEL] = "model file",
                                        [ORIGIN_CONFIG] = "config file",
                                        [ORIGIN_ENVIRONMENT] = "environment",
                                        [ORIGIN_LINE] = "command line"};
    const struct option_value *value = &options->values[id];
    if (value->origin != ORIGIN_CONFIG || !value->where)
        text_add_str(out, words[value->origin]);
    if (value->where)
        text_printf(out, "%s%s", value->origin == ORIGIN_CONFIG ? "" : " ", value->where);
}

/* The text is copied: the caller's may be gone before the options. */
static enum status assign_copy(struct options *options, enum option_id id, const char *value,
                               enum option_origin origin, struct error *err) {
    struct option_source source = {.origin = origin};
    const char *text = arena_dup(&options->arena, span_of(value));
    if (!text)
        return error_set(err, ERR_NOMEM, "no memory");
    return options_assign(options, id, text, &source, err);
}

enum status options_offer(struct options *options, enum option_id id, const char *value,
                          struct error *err) {
    return assign_copy(options, id, value, ORIGIN_MODEL, err);
}

enum status options_set(struct options *options, enum option_id id, const char *value,
                        struct error *err) {
    return assign_copy(options, id, value, ORIGIN_LINE, err);
}
