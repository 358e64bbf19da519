/* SPDX-License-Identifier: Apache-2.0 */
/* The table itself, apart from the code that reads it, because it changes more often. Rows of one
 * group stand in the order in which help shows them. */
#include "cli/options.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#define BIT(command) (1u << (command))
#define ALL          (BIT(CMD_N) - 1u)
#define JSON_LINES                                                                                 \
    (BIT(CMD_TOKENIZE) | BIT(CMD_DETOKENIZE) | BIT(CMD_RENDER) | BIT(CMD_PARSE) | BIT(CMD_SCORE))
#define WITH_MODEL  (BIT(CMD_RUN) | BIT(CMD_INSPECT) | BIT(CMD_PLAN) | BIT(CMD_BENCH) | JSON_LINES)
#define WITH_ENGINE (WITH_MODEL & ~BIT(CMD_BENCH))
#define IN_GROUP    (BIT(CMD_RUN) | BIT(CMD_SCORE) | BIT(CMD_BENCH))
#define OF_GROUP    (IN_GROUP | BIT(CMD_PLAN)) /* what a plan depends on */
#define TABLES      (BIT(CMD_INSPECT) | BIT(CMD_PLAN) | BIT(CMD_BENCH))

/* One option is a paragraph here, not a column of fields: */
/* clang-format off */
static const struct option rows[OPT_N] = {
    [OPT_HELP] = {
        .name = "help", .shorts = "h", .kind = OPTION_FLAG, .group = GROUP_GENERAL, .commands = ALL,
        .traits = OPTION_LINE_ONLY, .help = "show this help and exit"},
    [OPT_HELP_ALL] = {
        .name = "help-all", .kind = OPTION_FLAG, .group = GROUP_GENERAL, .commands = ALL,
        .traits = OPTION_LINE_ONLY, .help = "show rare options too"},
    [OPT_VERSION] = {
        .name = "version", .shorts = "V", .kind = OPTION_FLAG, .group = GROUP_GENERAL,
        .commands = ALL, .traits = OPTION_LINE_ONLY, .help = "show the version and exit"},
    [OPT_CONFIG] = {
        .name = "config", .kind = OPTION_STRING, .metavar = "FILE", .group = GROUP_GENERAL,
        .commands = ALL, .help = "read this config file and no other"},
    [OPT_PRINT_CONFIG] = {
        .name = "print-config", .kind = OPTION_FLAG, .group = GROUP_GENERAL, .commands = ALL,
        .traits = OPTION_LINE_ONLY, .help = "show every value with its origin and exit"},
    [OPT_LOG_LEVEL] = {
        .name = "log-level", .kind = OPTION_CHOICE, .metavar = "error|warn|info|debug|trace",
        .fallback = "info", .group = GROUP_GENERAL, .commands = ALL,
        .help = "how much is said on standard error"},
    [OPT_VERBOSE] = {
        .name = "verbose", .shorts = "v", .kind = OPTION_FLAG, .group = GROUP_GENERAL,
        .commands = ALL, .help = "say more; run shows its counts and speeds in a pipe too"},
    [OPT_QUIET] = {
        .name = "quiet", .shorts = "q", .kind = OPTION_FLAG, .group = GROUP_GENERAL,
        .commands = ALL, .help = "say errors only, show no counts and speeds"},
    [OPT_COLOR] = {
        .name = "color", .aliases = "log-colors", .kind = OPTION_CHOICE,
        .metavar = "auto|always|never", .fallback = "auto", .group = GROUP_GENERAL, .commands = ALL,
        .help = "colour; auto asks the terminal and NO_COLOR"},

    [OPT_MODEL] = {
        .name = "model", .shorts = "m", .kind = OPTION_STRING, .metavar = "FILE",
        .group = GROUP_MODEL, .commands = WITH_MODEL,
        .help = "GGUF file, any part of a split one; without it the demonstration model"},
    [OPT_CTX_SIZE] = {
        .name = "ctx-size", .shorts = "c", .aliases = "max-model-len", .kind = OPTION_SIZE,
        .metavar = "N", .fallback = "auto", .min = 1, .max = 1 << 24, .group = GROUP_MODEL,
        .commands = WITH_MODEL, .traits = OPTION_AUTO,
        .help = "tokens per sequence; auto is the model's"},
    [OPT_PARALLEL] = {
        .name = "parallel", .shorts = "np", .aliases = "max-num-seqs", .kind = OPTION_INT,
        .metavar = "N", .fallback = "auto", .min = 1, .max = 4096, .group = GROUP_MODEL,
        .commands = WITH_ENGINE, .traits = OPTION_AUTO, .help = "sequences at once"},
    [OPT_BATCH_SIZE] = {
        .name = "batch-size", .shorts = "b", .aliases = "max-num-batched-tokens",
        .kind = OPTION_SIZE, .metavar = "N", .fallback = "auto", .min = 1, .max = 16384,
        .group = GROUP_MODEL, .commands = WITH_ENGINE, .traits = OPTION_AUTO,
        .help = "tokens per step at most"},
    [OPT_UBATCH_SIZE] = {
        .name = "ubatch-size", .shorts = "ub", .kind = OPTION_SIZE, .metavar = "N",
        .fallback = "auto", .min = 1, .max = 16384, .group = GROUP_MODEL, .commands = WITH_MODEL,
        .traits = OPTION_AUTO, .help = "prompt tokens of one sequence per step (prefill chunk)"},
    [OPT_THREADS] = {
        .name = "threads", .shorts = "t", .kind = OPTION_INT, .metavar = "N", .fallback = "auto",
        .min = 1, .max = 512, .group = GROUP_MODEL, .commands = WITH_MODEL, .traits = OPTION_AUTO,
        .help = "threads; auto is one per core"},
    [OPT_KERNELS] = {
        .name = "kernels", .kind = OPTION_CHOICE, .metavar = "auto|ref|avx2|avx512",
        .fallback = "auto", .group = GROUP_MODEL, .commands = WITH_MODEL,
        .help = "variant of the CPU kernels; ref is the slow definition"},
    [OPT_KV_CACHE_DTYPE] = {
        .name = "kv-cache-dtype", .shorts = "ctk ctv", .aliases = "cache-type-k cache-type-v",
        .kind = OPTION_CHOICE, .metavar = "auto|f32|f16|bf16", .fallback = "auto",
        .group = GROUP_MODEL, .commands = WITH_MODEL, .help = "element type of the KV cache"},
    [OPT_CHAT_TEMPLATE] = {
        .name = "chat-template", .kind = OPTION_CHOICE,
        .metavar = "auto|qwen3.5|qwen3.5-small|qwen3.6|qwen3", .fallback = "auto",
        .group = GROUP_MODEL, .commands = BIT(CMD_RUN) | BIT(CMD_RENDER) | BIT(CMD_PARSE),
        .help = "chat template; auto is the model file's"},

    [OPT_WORKERS] = {
        .name = "workers", .kind = OPTION_INT, .metavar = "N", .fallback = "1", .min = 1,
        .max = 1024, .group = GROUP_WORKERS, .commands = WITH_MODEL,
        .help = "worker processes that share the model, started by mpirun if more than 1"},
    [OPT_HOSTFILE] = {
        .name = "hostfile", .aliases = "hosts", .kind = OPTION_STRING, .metavar = "FILE",
        .group = GROUP_WORKERS, .commands = IN_GROUP,
        .help = "start the workers on these machines; the file is handed to mpirun"},
    [OPT_ATTENTION_GROUPS] = {
        .name = "attention-groups", .aliases = "data-parallel-size", .shorts = "dp",
        .kind = OPTION_INT, .metavar = "N", .fallback = "auto", .min = 1, .max = 1024,
        .group = GROUP_WORKERS, .commands = OF_GROUP, .traits = OPTION_AUTO,
        .help = "groups of workers with sequences of their own; auto is one per machine"},
    [OPT_EP_EXCHANGE] = {
        .name = "ep-exchange", .kind = OPTION_CHOICE, .metavar = "auto|replicated|gather|alltoall",
        .fallback = "auto", .group = GROUP_WORKERS, .commands = OF_GROUP,
        .help = "how tokens reach their experts; auto measures at start"},
    [OPT_NODES] = {
        .name = "nodes", .kind = OPTION_INT, .metavar = "N", .fallback = "auto", .min = 1,
        .max = 1024, .group = GROUP_WORKERS, .commands = OF_GROUP,
        .traits = OPTION_AUTO | OPTION_RARE,
        .help = "treat the workers as if they were on so many machines"},
    [OPT_LAUNCHER] = {
        .name = "launcher", .kind = OPTION_CHOICE, .metavar = "mpirun|none", .fallback = "mpirun",
        .group = GROUP_WORKERS, .commands = IN_GROUP, .traits = OPTION_RARE,
        .help = "what starts the workers; none shows the command line and exits"},
    [OPT_MPIRUN_ARGS] = {
        .name = "mpirun-args", .kind = OPTION_STRING, .metavar = "ARGS", .group = GROUP_WORKERS,
        .commands = IN_GROUP, .traits = OPTION_RARE,
        .help = "more arguments for mpirun, separated by spaces"},
    [OPT_FAULT] = {
        .name = "fault", .kind = OPTION_STRING, .metavar = "PHASE[/LAYER]:RANK:ACTION",
        .group = GROUP_WORKERS, .commands = IN_GROUP, .traits = OPTION_LINE_ONLY | OPTION_HIDDEN,
        .help = "make a worker fail at that point"},

    [OPT_OUTPUT] = {
        .name = "output", .shorts = "o", .kind = OPTION_CHOICE,
        .metavar = "md|table|csv|json|jsonl", .group = GROUP_OUTPUT, .commands = TABLES,
        .help = "form of the result; a table on a terminal, otherwise md"},
    [OPT_JSON] = {
        .name = "json", .kind = OPTION_FLAG, .writes = "json", .target = OPT_OUTPUT,
        .group = GROUP_OUTPUT, .commands = TABLES, .traits = OPTION_LINE_ONLY,
        .help = "short for --output json"},
    [OPT_CSV] = {
        .name = "csv", .kind = OPTION_FLAG, .writes = "csv", .target = OPT_OUTPUT,
        .group = GROUP_OUTPUT, .commands = TABLES, .traits = OPTION_LINE_ONLY,
        .help = "short for --output csv"},

    [OPT_PROMPT] = {
        .name = "prompt", .shorts = "p", .kind = OPTION_STRING, .metavar = "TEXT",
        .group = GROUP_COMMAND, .commands = BIT(CMD_RUN),
        .help = "answer this and exit instead of chatting"},
    [OPT_FILE] = {
        .name = "file", .shorts = "f", .kind = OPTION_STRING, .metavar = "FILE",
        .group = GROUP_COMMAND, .commands = BIT(CMD_RUN),
        .help = "read the prompt from a file; - is standard input"},
    [OPT_SYSTEM_PROMPT] = {
        .name = "system-prompt", .shorts = "sys", .kind = OPTION_STRING, .metavar = "TEXT",
        .group = GROUP_COMMAND, .commands = BIT(CMD_RUN), .help = "the system message"},
    [OPT_PREDICT] = {
        .name = "predict", .shorts = "n", .aliases = "n-predict max-tokens", .kind = OPTION_INT,
        .metavar = "N", .fallback = "-1", .min = -1, .max = 1 << 24, .group = GROUP_COMMAND,
        .commands = BIT(CMD_RUN),
        .help = "tokens per answer at most; -1 is what the context holds"},
    [OPT_REASONING] = {
        .name = "reasoning", .shorts = "rea", .kind = OPTION_CHOICE, .metavar = "auto|on|off",
        .fallback = "auto", .group = GROUP_COMMAND, .commands = BIT(CMD_RUN),
        .help = "think before answering; auto is the template's habit"},
    [OPT_SHOW_REASONING] = {
        .name = "show-reasoning", .kind = OPTION_CHOICE, .metavar = "auto|on|off",
        .fallback = "auto", .group = GROUP_COMMAND, .commands = BIT(CMD_RUN),
        .help = "print the thoughts before the answer; auto does so on a terminal"},
    [OPT_HISTORY] = {
        .name = "history", .kind = OPTION_FLAG, .fallback = "on", .group = GROUP_COMMAND,
        .commands = BIT(CMD_RUN), .help = "keep the lines typed in a file for the next time"},

    [OPT_TEMP] = {
        .name = "temp", .aliases = "temperature", .kind = OPTION_DOUBLE, .metavar = "X",
        .fallback = "1.0", .min = 0, .max = 2, .group = GROUP_SAMPLING, .commands = BIT(CMD_RUN),
        .help = "temperature; 0 takes the most probable token"},
    [OPT_TOP_K] = {
        .name = "top-k", .kind = OPTION_INT, .metavar = "N", .fallback = "0", .min = -1,
        .max = 1 << 24, .group = GROUP_SAMPLING, .commands = BIT(CMD_RUN),
        .help = "draw among the N most probable tokens; 0 or -1 is all"},
    [OPT_TOP_P] = {
        .name = "top-p", .kind = OPTION_DOUBLE, .metavar = "X", .fallback = "1.0", .min = 0,
        .max = 1, .group = GROUP_SAMPLING, .commands = BIT(CMD_RUN),
        .help = "draw among the fewest tokens that hold this probability"},
    [OPT_MIN_P] = {
        .name = "min-p", .kind = OPTION_DOUBLE, .metavar = "X", .fallback = "0.0", .min = 0,
        .max = 1, .group = GROUP_SAMPLING, .commands = BIT(CMD_RUN),
        .help = "drop tokens below X times the largest probability"},
    [OPT_REPEAT_PENALTY] = {
        .name = "repeat-penalty", .aliases = "repetition-penalty", .kind = OPTION_DOUBLE,
        .metavar = "X", .fallback = "1.0", .min = 0, .max = 2, .group = GROUP_SAMPLING,
        .commands = BIT(CMD_RUN), .help = "divides logits of tokens seen in prompt and answer"},
    [OPT_PRESENCE_PENALTY] = {
        .name = "presence-penalty", .kind = OPTION_DOUBLE, .metavar = "X", .fallback = "0.0",
        .min = -2, .max = 2, .group = GROUP_SAMPLING, .commands = BIT(CMD_RUN),
        .help = "subtracted once per distinct token of the answer"},
    [OPT_FREQUENCY_PENALTY] = {
        .name = "frequency-penalty", .kind = OPTION_DOUBLE, .metavar = "X", .fallback = "0.0",
        .min = -2, .max = 2, .group = GROUP_SAMPLING, .commands = BIT(CMD_RUN),
        .help = "subtracted for every token of the answer"},
    [OPT_LOGIT_BIAS] = {
        .name = "logit-bias", .kind = OPTION_STRING, .metavar = "ID(+|-)X", .group = GROUP_SAMPLING,
        .commands = BIT(CMD_RUN), .traits = OPTION_REPEATS,
        .help = "added to the logit of one token id; may be repeated"},
    [OPT_SEED] = {
        .name = "seed", .shorts = "s", .kind = OPTION_INT, .metavar = "N", .fallback = "-1",
        .min = -1, .max = 0x1p53, .group = GROUP_SAMPLING, .commands = BIT(CMD_RUN),
        .help = "same seed, same answer; -1 is random"},

    [OPT_TENSORS] = {
        .name = "tensors", .kind = OPTION_STRING, .metavar = "GLOB", .group = GROUP_COMMAND,
        .commands = BIT(CMD_INSPECT), .traits = OPTION_MAY_LACK,
        .help = "list the tensors, all or those that match"},
    [OPT_TEMPLATE] = {
        .name = "template", .kind = OPTION_FLAG, .group = GROUP_COMMAND,
        .commands = BIT(CMD_INSPECT), .help = "print the chat template"},
    [OPT_TOKENIZER] = {
        .name = "tokenizer", .kind = OPTION_FLAG, .group = GROUP_COMMAND,
        .commands = BIT(CMD_INSPECT), .help = "describe the tokenizer"},
    [OPT_VERIFY] = {
        .name = "verify", .kind = OPTION_FLAG, .group = GROUP_COMMAND, .commands = BIT(CMD_INSPECT),
        .help = "check everything that can be checked without a prompt"},

    [OPT_CAPACITY] = {
        .name = "capacity", .kind = OPTION_STRING, .metavar = "LIST", .group = GROUP_COMMAND,
        .commands = BIT(CMD_PLAN),
        .help = "speed of each worker, for example 30,30,12; shares follow it, equal if unset"},
    [OPT_NODE_MEMORY] = {
        .name = "node-memory", .kind = OPTION_SIZE, .metavar = "SIZE", .fallback = "auto",
        .min = 1 << 20, .max = 0x1p50, .group = GROUP_COMMAND, .commands = BIT(CMD_PLAN),
        .traits = OPTION_AUTO, .help = "memory of each machine; auto is what is free on this one"},

    [OPT_PRESET] = {
        .name = "preset", .kind = OPTION_STRING, .metavar = "SIZE", .fallback = "tiny",
        .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "tiny, 0.8b, 2b, 4b, 9b, 27b, 35b-a3b, 122b-a10b, 397b-a17b, next-80b-a3b, "
                "30b-a3b"},
    [OPT_ARCH] = {
        .name = "arch", .kind = OPTION_CHOICE,
        .metavar = "auto|qwen35moe|qwen35|qwen3next|qwen3moe", .fallback = "auto",
        .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "architecture; auto is the preset's"},
    [OPT_RECIPE] = {
        .name = "recipe", .kind = OPTION_STRING, .metavar = "NAME", .fallback = "q4_k_m",
        .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "types of the tensors: f16, q8_0, q4_k_m, iq4_xs and others"},
    [OPT_SET] = {
        .name = "set", .kind = OPTION_STRING, .metavar = "KEY=VALUE", .group = GROUP_COMMAND,
        .commands = BIT(CMD_SYNTH), .traits = OPTION_REPEATS,
        .help = "any hyperparameter by its GGUF key without architecture; may be repeated"},
    [OPT_LAYERS] = {
        .name = "layers", .kind = OPTION_INT, .metavar = "N", .min = 1, .max = 512,
        .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "number of layers instead of the preset's"},
    [OPT_VOCAB] = {
        .name = "vocab", .kind = OPTION_SIZE, .metavar = "N", .min = 300, .max = 1 << 22,
        .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "rows of the vocabulary instead of the preset's"},
    [OPT_MTP] = {
        .name = "mtp", .kind = OPTION_FLAG, .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "add a multi-token prediction block"},
    [OPT_SYNTH_SEED] = {
        .name = "seed", .shorts = "s", .kind = OPTION_INT, .metavar = "N", .fallback = "1",
        .min = 0, .max = 0x1p53, .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "same seed, same file"},
    [OPT_SPLIT_MAX_SIZE] = {
        .name = "split-max-size", .kind = OPTION_SIZE, .metavar = "SIZE", .min = 1 << 20,
        .max = 0x1p50, .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "start a new part when one would grow beyond this"},
    [OPT_FORCE] = {
        .name = "force", .kind = OPTION_FLAG, .group = GROUP_COMMAND, .commands = BIT(CMD_SYNTH),
        .help = "overwrite a file that exists"},

    [OPT_TOP] = {
        .name = "top", .kind = OPTION_INT, .metavar = "K", .fallback = "10", .min = 0, .max = 1000,
        .group = GROUP_COMMAND, .commands = BIT(CMD_SCORE),
        .help = "most probable next tokens to list"},
    [OPT_SCORE_PREDICT] = {
        .name = "predict", .shorts = "n", .aliases = "n-predict max-tokens", .kind = OPTION_INT,
        .metavar = "N", .fallback = "0", .min = 0, .max = 1 << 24, .group = GROUP_COMMAND,
        .commands = BIT(CMD_SCORE),
        .help = "greedy ids to generate, exactly; end tokens do not stop it"},
    [OPT_DUMP] = {
        .name = "dump", .kind = OPTION_STRING, .metavar = "PREFIX", .group = GROUP_COMMAND,
        .commands = BIT(CMD_SCORE),
        .help = "write layer outputs and logits to PREFIX.json and PREFIX.f32"},

    [OPT_BENCH_PROMPT] = {
        .name = "n-prompt", .shorts = "p", .kind = OPTION_STRING, .metavar = "LIST",
        .fallback = "512", .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH),
        .help = "prompt lengths; lists and ranges: 128,256 1-8 1-64*2"},
    [OPT_BENCH_GEN] = {
        .name = "n-gen", .shorts = "n", .kind = OPTION_STRING, .metavar = "LIST", .fallback = "128",
        .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH), .help = "tokens to generate"},
    [OPT_BENCH_PROMPT_GEN] = {
        .name = "prompt-gen", .shorts = "pg", .kind = OPTION_STRING, .metavar = "P,G",
        .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH), .traits = OPTION_REPEATS,
        .help = "a prompt, then generation, timed together; may be repeated"},
    [OPT_BENCH_DEPTH] = {
        .name = "n-depth", .shorts = "d", .kind = OPTION_STRING, .metavar = "LIST", .fallback = "0",
        .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH),
        .help = "tokens that stand in the cache before the test"},
    [OPT_BENCH_BATCH] = {
        .name = "batch-size", .shorts = "b", .aliases = "max-num-batched-tokens",
        .kind = OPTION_STRING, .metavar = "LIST", .group = GROUP_COMMAND,
        .commands = BIT(CMD_BENCH), .help = "tokens per step at most"},
    [OPT_BENCH_PARALLEL] = {
        .name = "parallel", .shorts = "np", .aliases = "max-num-seqs", .kind = OPTION_STRING,
        .metavar = "LIST", .fallback = "1", .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH),
        .help = "sequences at once; bench scale: 1,8 if unset"},
    [OPT_BENCH_OP] = {
        .name = "op", .kind = OPTION_STRING, .metavar = "LIST", .group = GROUP_COMMAND,
        .commands = BIT(CMD_BENCH),
        .help = "bench kernel: operations, for example matmul,experts; all if unset"},
    [OPT_BENCH_TYPE] = {
        .name = "type", .kind = OPTION_STRING, .metavar = "LIST", .group = GROUP_COMMAND,
        .commands = BIT(CMD_BENCH),
        .help = "bench kernel: types of weights or of the KV cache, for example q4_k,bf16"},
    [OPT_BENCH_SHAPE] = {
        .name = "shape", .kind = OPTION_STRING, .metavar = "LIST", .group = GROUP_COMMAND,
        .commands = BIT(CMD_BENCH),
        .help = "bench kernel: rows x columns of matrices (experts: width x model), 2048x4096"},
    [OPT_BENCH_TOKENS] = {
        .name = "tokens", .kind = OPTION_STRING, .metavar = "LIST", .group = GROUP_COMMAND,
        .commands = BIT(CMD_BENCH), .help = "bench kernel: tokens of a step, for example 1,8,512"},
    [OPT_REPETITIONS] = {
        .name = "repetitions", .shorts = "r", .kind = OPTION_INT, .metavar = "N", .fallback = "5",
        .min = 1, .max = 1000, .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH),
        .help = "runs of each test; bench kernel makes at least 20; bench scale: rounds"},
    [OPT_WARMUP] = {
        .name = "warmup", .kind = OPTION_FLAG, .fallback = "on", .group = GROUP_COMMAND,
        .commands = BIT(CMD_BENCH), .help = "run each test once before the runs that count"},
    [OPT_SCALING] = {
        .name = "scaling", .kind = OPTION_CHOICE, .metavar = "both|strong|weak",
        .fallback = "both", .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH),
        .help = "bench scale: the same sequences on more workers, as many for each, or both"},
    [OPT_STRONG] = {
        .name = "strong", .kind = OPTION_FLAG, .writes = "strong", .target = OPT_SCALING,
        .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH), .traits = OPTION_LINE_ONLY,
        .help = "short for --scaling strong"},
    [OPT_WEAK] = {
        .name = "weak", .kind = OPTION_FLAG, .writes = "weak", .target = OPT_SCALING,
        .group = GROUP_COMMAND, .commands = BIT(CMD_BENCH), .traits = OPTION_LINE_ONLY,
        .help = "short for --scaling weak"},
    [OPT_PLOT] = {
        .name = "plot", .kind = OPTION_STRING, .metavar = "FILE", .group = GROUP_COMMAND,
        .commands = BIT(CMD_BENCH), .help = "bench scale: draw the result into this SVG file"},

    [OPT_MAN] = {
        .name = "man", .kind = OPTION_STRING, .metavar = "DIR", .group = GROUP_COMMAND,
        .commands = BIT(CMD_HELP), .traits = OPTION_RARE | OPTION_LINE_ONLY,
        .help = "write the man pages of all commands into this folder"},
};
/* clang-format on */

const struct option *option_row(enum option_id id) {
    assert(id < OPT_N);
    return &rows[id];
}

bool option_belongs(enum option_id id, enum command_id command) {
    return option_row(id)->commands & BIT(command);
}

bool option_next_word(const char **list, char separator, struct span *word) {
    if (!*list || !**list)
        return false;
    const char *end = strchrnul(*list, separator);
    *word = span_make(*list, (size_t)(end - *list));
    *list = *end ? end + 1 : end;
    return true;
}

void option_env_name(const struct option *row, struct text *out) {
    text_add_str(out, "SHOAL_");
    for (const char *c = row->name; *c; c++)
        text_add_char(out, *c == '-' ? '_' : (char)toupper((unsigned char)*c));
}
