/* SPDX-License-Identifier: Apache-2.0 */
/* The table of subcommands, and what their ends mean to a script. */
#include "cli/command.h"
#include "cli/spelling.h"
#include "cli/worker_group.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char *const run_examples[] = {
    "shoal run",
    "chat with the demonstration model",
    "shoal run -m model.gguf -p 'Name three rivers'",
    "one answer, then exit",
    "cat notes.txt | shoal run -m model.gguf -p 'Summarise:'",
    "a prompt from a pipe",
    NULL,
};
static const char *const inspect_examples[] = {
    "shoal inspect model.gguf",
    "architecture, types, sizes, memory it needs",
    "shoal inspect model.gguf --tensors 'blk.0.*'",
    "the tensors of the first layer",
    "shoal inspect model.gguf --verify",
    "check the whole file",
    NULL,
};
static const char *const plan_examples[] = {
    "shoal plan model.gguf --workers 4",
    "who of four workers holds what, and whether it fits",
    "shoal plan model.gguf --workers 16 --nodes 2 --node-memory 256GiB --json",
    "two machines of eight workers",
    NULL,
};
static const char *const synth_examples[] = {
    "shoal synth tiny.gguf",
    "a tiny model with random weights",
    "shoal synth big.gguf --preset 35b-a3b --layers 8 --recipe q4_k_m",
    "eight layers of the 35B shape",
    NULL,
};
static const char *const tokenize_examples[] = {
    "echo '{\"text\":\"Hello world\"}' | shoal tokenize -m model.gguf",
    "prints {\"ids\":[...]}",
    NULL,
};
static const char *const detokenize_examples[] = {
    "echo '{\"ids\":[14990]}' | shoal detokenize -m model.gguf",
    "prints {\"text\":...}",
    NULL,
};
static const char *const render_examples[] = {
    "echo '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}' | shoal render -m model.gguf",
    "the prompt text and its ids",
    NULL,
};
static const char *const parse_examples[] = {
    "echo '{\"text\":\"hm</think>Hi\",\"thinking\":true}' | shoal parse",
    "reasoning, content and tool calls",
    NULL,
};
static const char *const score_examples[] = {
    "echo '{\"text\":\"The sky is\"}' | shoal score -m model.gguf --top 3 -n 5",
    "log probabilities and five greedy ids",
    NULL,
};
static const char *const bench_examples[] = {
    "shoal bench model -m model.gguf",
    "prompt and generation speed",
    "shoal bench model -m model.gguf -p 512,2048 -n 0 -np 1-8*2 --json",
    "all combinations",
    "shoal bench kernel --op matmul --type q4_k,q8_0 --tokens 1,512",
    "single operations beside the ceilings of the machine",
    "shoal bench comm --workers 4",
    "the links between four workers",
    "shoal bench scale -m model.gguf --workers 8 --plot scale.svg",
    "speed on 1, 2, 4 and 8 workers, and where their time goes",
    NULL,
};
static const char *const completion_examples[] = {
    "source <(shoal completion bash)",
    "complete options in this shell",
    NULL,
};
static const char *const no_examples[] = {NULL};

static const struct command commands[CMD_N] = {
    [CMD_RUN] = {.name = "run",
                 .operands = "[MODEL] [PROMPT]",
                 .purpose = "chat in the terminal, or answer one prompt",
                 .about = "With -p, -f, a PROMPT, or input or output that is no terminal, one "
                          "answer goes to standard output and nothing else. Otherwise a chat "
                          "begins; /help in it lists its commands.",
                 .examples = run_examples,
                 .n_operands_max = OPTION_OPERANDS_MAX,
                 .run = command_run,
                 .offer_defaults = command_run_offer_defaults},
    [CMD_INSPECT] = {.name = "inspect",
                     .operands = "[FILE]",
                     .purpose = "describe a model file and what it needs",
                     .about = "",
                     .examples = inspect_examples,
                     .run = command_inspect},
    [CMD_PLAN] = {.name = "plan",
                  .operands = "[MODEL]",
                  .purpose = "show how a model is spread over workers, and whether it fits",
                  .about = "Starts nothing and reads only the header of the file. A context that "
                           "is not asked for is the largest that fits. The exit status is 5 if the "
                           "workers of a machine need more memory than it has.",
                  .examples = plan_examples,
                  .run = command_plan},
    [CMD_SYNTH] = {.name = "synth",
                   .operands = "OUT",
                   .purpose = "write a model file of any size with random weights",
                   .about = "For tests and measurements: the file has the shapes, types and "
                            "vocabulary machinery of a real model, but knows nothing.",
                   .examples = synth_examples,
                   .n_operands_max = 1,
                   .run = command_synth},
    [CMD_TOKENIZE] = {.name = "tokenize",
                      .operands = "[MODEL]",
                      .purpose = "text to token ids, JSON lines",
                      .about = "Reads one JSON object per line: {\"text\", \"parse_special\"}.",
                      .examples = tokenize_examples,
                      .run = command_tokenize},
    [CMD_DETOKENIZE] = {.name = "detokenize",
                        .operands = "[MODEL]",
                        .purpose = "token ids to text, JSON lines",
                        .about = "Reads one JSON object per line: {\"ids\"}.",
                        .examples = detokenize_examples,
                        .run = command_detokenize},
    [CMD_RENDER] = {.name = "render",
                    .operands = "[MODEL]",
                    .purpose = "chat messages to prompt text and ids, JSON lines",
                    .about = "Reads one JSON object per line: {\"messages\", \"tools\", "
                             "\"enable_thinking\", \"add_generation_prompt\", \"template\"}.",
                    .examples = render_examples,
                    .run = command_render},
    [CMD_PARSE] = {.name = "parse",
                   .operands = "[MODEL]",
                   .purpose = "generated text to reasoning, content and tool calls, JSON lines",
                   .about = "Reads one JSON object per line: {\"text\", \"thinking\"}.",
                   .examples = parse_examples,
                   .run = command_parse},
    [CMD_SCORE] = {.name = "score",
                   .operands = "[MODEL]",
                   .purpose = "log probabilities, logit hash and greedy ids, JSON lines",
                   .about = "Reads one JSON object per line: {\"ids\"} or {\"text\", "
                            "\"parse_special\"}.",
                   .examples = score_examples,
                   .run = command_score},
    [CMD_BENCH] = {.name = "bench",
                   .operands = "model|kernel|comm|scale [MODEL]",
                   .purpose = "measure the speed of the engine",
                   .about = "bench model times prompts and generation on random token ids, without "
                            "tokenizing and sampling. bench kernel times the operations that a "
                            "model is made of, on random weights that no cache holds, beside the "
                            "read bandwidth and the peak of the instructions; it needs no model. "
                            "bench comm times and checks what the links between the workers of a "
                            "group deliver. bench scale runs bench model on groups of 1, 2, 4 ... "
                            "workers in turns and reports what more of them bring.",
                   .examples = bench_examples,
                   .n_operands_max = 1,
                   .run = command_bench},
    [CMD_COMPLETION] = {.name = "completion",
                        .operands = "bash|zsh|fish",
                        .purpose = "print a completion script for a shell",
                        .about = "",
                        .examples = completion_examples,
                        .n_operands_max = 1,
                        .run = command_completion},
    [CMD_VERSION] = {.name = "version",
                     .operands = "",
                     .purpose = "print the version",
                     .about = "",
                     .examples = no_examples,
                     .run = command_version},
    [CMD_HELP] = {.name = "help",
                  .operands = "[COMMAND]",
                  .purpose = "describe shoal or one command",
                  .about = "",
                  .examples = no_examples,
                  .n_operands_max = 1,
                  .run = command_help},
};

const struct command *command_row(enum command_id id) {
    assert(id < CMD_N);
    return &commands[id];
}

bool command_find(const char *name, enum command_id *out) {
    for (enum command_id id = 0; id < CMD_N; id++) {
        if (strcmp(name, commands[id].name) == 0) {
            *out = id;
            return true;
        }
    }
    return false;
}

enum status command_unknown(const char *name, struct error *err) {
    struct spelling spelling = {.word = span_of(name)};
    for (enum command_id id = 0; id < CMD_N; id++)
        spelling_offer(&spelling, span_of(commands[id].name));
    if (spelling.best.len)
        return error_set(err, ERR_INPUT, "unknown command '%.60s', did you mean '%.*s'?", name,
                         (int)spelling.best.len, spelling.best.data);
    return error_set(err, ERR_INPUT, "unknown command '%.60s', see shoal help", name);
}

int cli_exit_code(enum cli_phase phase, enum status status) {
    if (status == OK)
        return CLI_OK;
    if (status == ERR_CANCELLED)
        return CLI_INTERRUPTED;
    switch (phase) {
    case DURING_USAGE:
        return CLI_USAGE;
    case DURING_LOAD:
        if (status == ERR_LIMIT || status == ERR_NOMEM)
            return CLI_NO_FIT;
        return status == ERR_DEVICE || status == ERR_COMM ? CLI_DEVICE : CLI_MODEL;
    case DURING_WORK:
        break;
    }
    return status == ERR_COMM ? CLI_WORKER_LOST : CLI_FAILED;
}

int cli_fail(const struct cli *cli, enum cli_phase phase, const struct error *err) {
    int code = cli_exit_code(phase, err->status);
    if (worker_group_lost(cli->group, err))
        return CLI_WORKER_LOST;
    if (code != CLI_INTERRUPTED)
        log_error(&cli->log, "%s", err->text);
    bool is_help = cli->command == &commands[CMD_HELP];
    if (code == CLI_USAGE)
        log_info(&cli->log, "see shoal %s%s", is_help ? "help" : cli->command->name,
                 is_help ? "" : " --help");
    return code;
}

int cli_finish(const struct cli *cli, int code) {
    bool flushed = fflush(cli->out) == 0;
    if (flushed && !ferror(cli->out))
        return code;
    /* What went wrong in an earlier write is no longer in errno. */
    log_error(&cli->log, "standard output: %s", flushed ? "a write failed" : strerror(errno));
    return code == CLI_OK ? CLI_FAILED : code;
}
