/* SPDX-License-Identifier: Apache-2.0 */
/* Config files to option values: which sections count for this command, and in which order. */
#include "cli/config_file.h"
#include "cli/option_value.h"

#include <string.h>
#include <unistd.h>

/* Within one file [default] < [command] < [model "NAME"]; the user's file wins over all of the
 * system's. */
enum section_level { LEVEL_DEFAULT, LEVEL_COMMAND, LEVEL_MODEL, LEVEL_N };

static const char *lookup(void *user, const char *name) {
    return options_environment(user, name);
}

/* Whether [model "NAME"] speaks of the chosen model: its path, its file name, or that without
 * ".gguf". */
static bool names_model(const struct options *options, const char *name) {
    const char *path = options_string(options, OPT_MODEL);
    if (!path || !name)
        return false;
    const char *slash = strrchr(path, '/');
    struct span file = span_of(slash ? slash + 1 : path);
    struct span stem = file;
    if (span_ends_with(stem, ".gguf"))
        stem.len -= strlen(".gguf");
    return strcmp(path, name) == 0 || span_is(file, name) || span_is(stem, name);
}

/* The row that a key means: in the section of a command that command's, elsewhere the one of the
 * present command if it has it. */
static bool find_key(const struct options *options, const struct config_entry *entry,
                     enum command_id section, enum option_id *id) {
    bool negated;
    struct span key = span_of(entry->key);
    if (section != CMD_N)
        return option_find_long(section, key, id, &negated) && !negated;
    if (option_find_long(options->command, key, id, &negated) && !negated)
        return true;
    for (enum command_id command = 0; command < CMD_N; command++) {
        if (option_find_long(command, key, id, &negated) && !negated)
            return true;
    }
    return false;
}

/* Everything in the file is checked, but only what concerns this run is taken. */
static enum status apply_entry(struct options *options, const struct options_input *input,
                               const struct config_entry *entry, uint32_t file_level,
                               enum section_level wanted, struct error *err) {
    enum command_id section = CMD_N;
    enum section_level level = LEVEL_DEFAULT;
    bool applies = true;
    if (strcmp(entry->section, "model") == 0) {
        level = LEVEL_MODEL;
        applies = names_model(options, entry->name);
    } else if (entry->section[0] && strcmp(entry->section, "default") != 0) {
        if (!input->command_of(entry->section, &section))
            return error_set(err, ERR_INPUT, "unknown section '%.60s'", entry->section);
        level = LEVEL_COMMAND;
        applies = section == options->command;
    }
    enum option_id id;
    if (!find_key(options, entry, section, &id))
        return error_set(err, ERR_INPUT, "unknown key '%.60s'", entry->key);
    if (id == OPT_CONFIG || (option_row(id)->traits & OPTION_LINE_ONLY))
        return error_set(err, ERR_INPUT, "'%.60s' belongs on the command line", entry->key);
    if (level != wanted)
        return OK;
    enum status status;
    if (applies && option_belongs(id, options->command)) {
        struct option_source source = {
            .origin = ORIGIN_CONFIG,
            .level = file_level * LEVEL_N + level,
            .where = arena_printf(&options->arena, "%s:%u", entry->path, entry->line)};
        status = options_assign(options, id, entry->value, &source, err);
    } else {
        struct option_value unused = {0};
        status = option_value_parse(option_row(id), entry->value, &unused, err);
    }
    if (status != OK)
        error_wrap(err, "%s", entry->key);
    return status;
}

/* `file_level` 0 for the system's file, 1 for the user's. */
static enum status apply_file(struct options *options, const struct options_input *input,
                              const char *path, uint32_t file_level, struct error *err) {
    struct config_source source = {.path = path, .lookup = lookup, .user = options};
    struct config_entry *entries;
    TRY(config_file_read(&source, &options->arena, &entries, err));
    /* Level by level, because [model "NAME"] needs to know which model the others chose. */
    for (enum section_level level = 0; level < LEVEL_N; level++) {
        for (const struct config_entry *entry = entries; entry; entry = entry->next) {
            enum status status = apply_entry(options, input, entry, file_level, level, err);
            if (status != OK) {
                error_wrap(err, "%s:%u", entry->path, entry->line);
                return status;
            }
        }
    }
    return OK;
}

enum status options_read_config(struct options *options, const struct options_input *input,
                                struct error *err) {
    const char *chosen = options_string(options, OPT_CONFIG);
    if (chosen)
        return apply_file(options, input, chosen, 0, err);
    const char *system = "/etc/shoal/shoal.ini";
    if (access(system, F_OK) == 0)
        TRY(apply_file(options, input, system, 0, err));
    const char *base = options_environment(options, "XDG_CONFIG_HOME");
    const char *home = options_environment(options, "HOME");
    const char *user = NULL;
    if (base)
        user = arena_printf(&options->arena, "%s/shoal/shoal.ini", base);
    else if (home)
        user = arena_printf(&options->arena, "%s/.config/shoal/shoal.ini", home);
    if (user && access(user, F_OK) == 0)
        TRY(apply_file(options, input, user, 1, err));
    return OK;
}
