/* SPDX-License-Identifier: Apache-2.0 */
/* Every setting of the command, once: one table gives parsing, help, man page and completion.
 *
 *     command line  >  environment  >  config file  >  model file  >  default
 *
 * Each value remembers where it came from, so that --print-config and error texts can say so. Only
 * this module sees the environment and the config files. Written by the main thread at start;
 * afterwards any thread may read. */
#ifndef SHOAL_CLI_OPTIONS_H
#define SHOAL_CLI_OPTIONS_H

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTION_ITEMS_MAX    1024u /* values of one repeatable option */
#define OPTION_OPERANDS_MAX 64u

enum command_id {
    CMD_RUN,
    CMD_INSPECT,
    CMD_PLAN,
    CMD_SYNTH,
    CMD_TOKENIZE,
    CMD_DETOKENIZE,
    CMD_RENDER,
    CMD_PARSE,
    CMD_SCORE,
    CMD_BENCH,
    CMD_COMPLETION,
    CMD_VERSION,
    CMD_HELP,
    CMD_N,
};

enum option_id {
    /* general */
    OPT_HELP,
    OPT_HELP_ALL,
    OPT_VERSION,
    OPT_CONFIG,
    OPT_PRINT_CONFIG,
    OPT_LOG_LEVEL,
    OPT_VERBOSE,
    OPT_QUIET,
    OPT_COLOR,
    /* model and engine */
    OPT_MODEL,
    OPT_CTX_SIZE,
    OPT_PARALLEL,
    OPT_BATCH_SIZE,
    OPT_UBATCH_SIZE,
    OPT_THREADS,
    OPT_WORKERS,
    OPT_HOSTFILE,
    OPT_NODES,
    OPT_ATTENTION_GROUPS,
    OPT_EP_EXCHANGE,
    OPT_LAUNCHER,
    OPT_MPIRUN_ARGS,
    OPT_FAULT,
    OPT_KERNELS,
    OPT_KV_CACHE_DTYPE,
    OPT_CHAT_TEMPLATE,
    /* output */
    OPT_OUTPUT,
    OPT_JSON, /* writes to OPT_OUTPUT */
    OPT_CSV,  /* writes to OPT_OUTPUT */
    /* run */
    OPT_PROMPT,
    OPT_FILE,
    OPT_SYSTEM_PROMPT,
    OPT_PREDICT,
    OPT_REASONING,
    OPT_SHOW_REASONING,
    OPT_HISTORY,
    OPT_TEMP,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_REPEAT_PENALTY,
    OPT_PRESENCE_PENALTY,
    OPT_FREQUENCY_PENALTY,
    OPT_LOGIT_BIAS,
    OPT_SEED,
    /* inspect */
    OPT_TENSORS,
    OPT_TEMPLATE,
    OPT_TOKENIZER,
    OPT_VERIFY,
    /* plan */
    OPT_CAPACITY,
    OPT_NODE_MEMORY,
    /* synth */
    OPT_PRESET,
    OPT_ARCH,
    OPT_RECIPE,
    OPT_SET,
    OPT_LAYERS,
    OPT_VOCAB,
    OPT_MTP,
    OPT_SYNTH_SEED,
    OPT_SPLIT_MAX_SIZE,
    OPT_FORCE,
    /* score */
    OPT_TOP,
    OPT_SCORE_PREDICT,
    OPT_DUMP,
    /* bench */
    OPT_BENCH_PROMPT,
    OPT_BENCH_GEN,
    OPT_BENCH_PROMPT_GEN,
    OPT_BENCH_DEPTH,
    OPT_BENCH_BATCH,
    OPT_BENCH_PARALLEL,
    OPT_BENCH_OP,
    OPT_BENCH_TYPE,
    OPT_BENCH_SHAPE,
    OPT_BENCH_TOKENS,
    OPT_REPETITIONS,
    OPT_WARMUP,
    OPT_SCALING,
    OPT_STRONG, /* writes to OPT_SCALING */
    OPT_WEAK,   /* writes to OPT_SCALING */
    OPT_PLOT,
    /* help */
    OPT_MAN,
    OPT_N,
};

enum option_kind {
    OPTION_FLAG, /* --x and --no-x */
    OPTION_INT,
    OPTION_SIZE, /* an integer with a unit: 8k, 64KiB, 1.5GB */
    OPTION_DOUBLE,
    OPTION_STRING,
    OPTION_CHOICE, /* one of the words of metavar: "a|b|c" */
};

enum option_group {
    GROUP_GENERAL,
    GROUP_MODEL,
    GROUP_WORKERS,
    GROUP_OUTPUT,
    GROUP_COMMAND,
    GROUP_SAMPLING,
    GROUP_N
};

enum option_traits {
    OPTION_RARE = 1,       /* only in --help-all and the man page */
    OPTION_REPEATS = 2,    /* each use adds a value */
    OPTION_AUTO = 4,       /* "auto" is a value too, and means unset */
    OPTION_MAY_LACK = 8,   /* the value may be missing: --tensors [GLOB] */
    OPTION_LINE_ONLY = 16, /* no environment name, no config key */
    OPTION_HIDDEN = 32,    /* for tests: not in help, man pages and completion */
};

/* One row of the table. Texts are constants; NULL means none. */
struct option {
    const char *name;     /* long name without dashes */
    const char *shorts;   /* without dash, separated by spaces: "m", "ctk ctv" */
    const char *aliases;  /* other tools' long names, accepted silently, separated by spaces */
    const char *metavar;  /* what stands for the value in help; the choices of OPTION_CHOICE */
    const char *fallback; /* the default, written as a user would; NULL: unset */
    const char *help;     /* one sentence, lower case, no full stop */
    const char *writes;   /* a flag that is short for a value of `target`: "json" */
    double min, max;      /* OPTION_INT, _SIZE, _DOUBLE: the range allowed */
    uint32_t commands;    /* bits 1 << enum command_id */
    enum option_id target;
    enum option_kind kind;
    enum option_group group;
    unsigned traits; /* enum option_traits */
};

/* The row of an option; `id` < OPT_N. */
const struct option *option_row(enum option_id id);
bool option_belongs(enum option_id id, enum command_id command);
/* The words of a list in the table (shorts, aliases, choices), one after the other; false at the
 * end. `list` may be NULL. */
bool option_next_word(const char **list, char separator, struct span *word);
/* "SHOAL_CTX_SIZE" of "ctx-size". */
void option_env_name(const struct option *row, struct text *out);

enum option_origin {
    ORIGIN_NONE, /* unset */
    ORIGIN_DEFAULT,
    ORIGIN_MODEL,
    ORIGIN_CONFIG,
    ORIGIN_ENVIRONMENT,
    ORIGIN_LINE,
};

struct option_value {
    const char **items; /* texts as given, the only or the last one counts unless it repeats */
    uint32_t n_items, items_room;
    const char
        *where; /* "/etc/shoal/shoal.ini:4", "SHOAL_CTX_SIZE"; NULL where the origin says all */
    union {
        bool flag;
        int64_t integer; /* OPTION_INT, _SIZE; of OPTION_CHOICE the index of the word */
        double real;
    };
    uint32_t rank; /* of the origin; higher wins */
    enum option_origin origin;
};

struct options {
    enum command_id command;
    struct option_value values[OPT_N];
    const char *operands[OPTION_OPERANDS_MAX]; /* views into argv, without command and MODEL */
    uint32_t n_operands;
    const char *const *environment; /* "NAME=value", NULL-terminated; borrowed */
    struct arena arena;
};

/* Reads argv[1..argc), the environment and the config files. `command_of` finds a command by its
 * name. *phase tells the caller which exit status an error has: 2 usage, 3 config. Without a
 * command, options->command is CMD_HELP. Always followed by options_free. */
struct options_input {
    int argc;
    char *const *argv;
    const char *const *environment;
    bool (*command_of)(const char *name, enum command_id *out);
    enum status (*command_unknown)(const char *name, struct error *err); /* writes the error */
};
enum options_phase { PHASE_LINE, PHASE_ENVIRONMENT, PHASE_CONFIG };
enum status options_read(struct options *options, const struct options_input *input,
                         enum options_phase *phase, struct error *err);
void options_free(struct options *options);

/* Values. The option must be of the right kind (asserted); an unset one gives 0, false or NULL,
 * and so does the word "auto". */
bool options_is_set(const struct options *options, enum option_id id); /* not by its default */
bool options_flag(const struct options *options, enum option_id id);
int64_t options_int(const struct options *options, enum option_id id); /* also OPTION_SIZE */
double options_double(const struct options *options, enum option_id id);
const char *options_string(const struct options *options, enum option_id id); /* also _CHOICE */
uint32_t options_choice(const struct options *options, enum option_id id);    /* index in metavar */
uint32_t options_n_items(const struct options *options, enum option_id id);
const char *options_item(const struct options *options, enum option_id id, uint32_t i);

/* "command line", "environment SHOAL_TEMP", "/etc/shoal/shoal.ini:4", "model file", "default". */
void options_origin_text(const struct options *options, enum option_id id, struct text *out);

/* A default that stands in the model file; line, environment and config win over it. ERR_INPUT if
 * the option does not allow it. */
enum status options_offer(struct options *options, enum option_id id, const char *value,
                          struct error *err);

/* A value that somebody types later: as if it stood on the command line. ERR_INPUT. */
enum status options_set(struct options *options, enum option_id id, const char *value,
                        struct error *err);

/* One value of an environment variable, NULL if unset or empty. */
const char *options_environment(const struct options *options, const char *name);

/* Counts from lists and ranges, each element within min..max:
 *     512   128,256   1-4   1-9+2 (1 3 5 7 9)   1-16*2 (1 2 4 8 16)
 * ERR_INPUT: malformed or out of range; ERR_LIMIT: more than n_max. */
enum status option_list_parse(const char *text, int64_t min, int64_t max, int64_t *out,
                              uint32_t n_max, uint32_t *n, struct error *err);

#endif
