/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal synth OUT`: a model file of any size of the family, with random weights. Nothing is
 * quantised: blocks are made directly, so the file is there as fast as the disk takes it. */
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/synth_file.h"
#include "cli/synth_recipe.h"
#include "cli/synth_shape.h"
#include "cli/synth_tensors.h"
#include "cli/synth_vocab.h"
#include "cli/table.h"

#include "base/thread_pool.h"

#include <inttypes.h>

/* Beyond this many threads a disk is not faster. */
#define THREADS_MAX 16

/* What is to be written. */
struct synth {
    struct synth_shape shape;
    struct hparams hp;
    const struct synth_recipe *recipe;
    struct synth_tensors tensors;
    struct arena arena;
};

static enum status find_preset(const struct options *o, const enum arch *arch,
                               const struct synth_preset **preset, struct error *err) {
    const char *name = options_string(o, OPT_PRESET);
    *preset = synth_preset_find(name, arch);
    if (*preset)
        return OK;
    struct text names = {0};
    synth_preset_names(&names);
    error_set(err, ERR_INPUT, "--preset: there is no '%.40s', only %s", name, text_str(&names));
    text_free(&names);
    return ERR_INPUT;
}

static enum status find_recipe(const struct options *o, const struct synth_recipe **recipe,
                               struct error *err) {
    const char *name = options_string(o, OPT_RECIPE);
    *recipe = synth_recipe_find(name);
    if (*recipe)
        return OK;
    struct text names = {0};
    synth_recipe_names(&names);
    error_set(err, ERR_INPUT, "--recipe: there is no '%.40s', only %s", name, text_str(&names));
    text_free(&names);
    return ERR_INPUT;
}

/* Options to numbers to tensors. */
static enum status describe(struct synth *s, const struct options *o, struct error *err) {
    const struct synth_preset *preset;
    enum arch arch;
    const char *arch_word = options_string(o, OPT_ARCH);
    bool has_arch = arch_word && arch_from_name(arch_word, &arch);
    TRY(find_preset(o, has_arch ? &arch : NULL, &preset, err));
    TRY(find_recipe(o, &s->recipe, err));
    synth_shape_init(&s->shape, preset, has_arch ? &arch : NULL);
    synth_shape_set_layers(&s->shape, (uint32_t)options_int(o, OPT_LAYERS),
                           options_flag(o, OPT_MTP));
    if (options_is_set(o, OPT_VOCAB))
        synth_shape_set_vocab(&s->shape, (uint32_t)options_int(o, OPT_VOCAB));
    for (uint32_t i = 0; i < options_n_items(o, OPT_SET); i++)
        TRY(synth_shape_set(&s->shape, options_item(o, OPT_SET, i), err));
    TRY(synth_shape_finish(&s->shape, &s->hp, err));
    return synth_tensors_init(&s->tensors, &s->hp, s->shape.tied, s->recipe, &s->arena, err);
}

static enum status write_keys(const struct synth *s, struct gguf_writer *w, struct error *err) {
    struct synth_vocab_options vocab = {
        .arch = s->hp.arch, .n_vocab = s->hp.n_vocab, .n_padding = s->shape.n_vocab_padding};
    char name[96];
    snprintf(name, sizeof name, "synth %s %s", s->shape.name, synth_recipe_name(s->recipe));
    gguf_writer_string(w, "general.architecture", span_of(arch_name(s->hp.arch)));
    gguf_writer_string(w, "general.name", span_of(name));
    gguf_writer_u32(w, "general.file_type", synth_recipe_file_type(s->recipe));
    gguf_writer_u32(w, "general.quantization_version", 2);
    synth_shape_write(&s->shape, w);
    return synth_vocab_write(&vocab, w, err);
}

static enum status write_file(const struct cli *cli, struct synth *s, const char *path,
                              struct error *err) {
    const struct options *o = cli->options;
    struct synth_file file;
    struct progress progress;
    struct interrupt interrupt;
    uint32_t n_cores = cpu_count();
    TRY(synth_file_init(&file, &s->tensors, (uint64_t)options_int(o, OPT_SPLIT_MAX_SIZE), err));
    struct synth_write_options options = {.path = path,
                                          .replace = options_flag(o, OPT_FORCE),
                                          .seed = (uint64_t)options_int(o, OPT_SYNTH_SEED),
                                          .n_threads =
                                              n_cores < THREADS_MAX ? n_cores : THREADS_MAX,
                                          .progress = &progress,
                                          .interrupt = &interrupt};
    enum status status = write_keys(s, &file.writers[0], err);
    if (!status)
        status = interrupt_open(&interrupt, err);
    if (!status) {
        progress_begin(&progress, cli, "Writing model", s->tensors.bytes, PROGRESS_BYTES);
        status = synth_file_write(&file, &options, err);
        progress_end(&progress);
        interrupt_close(&interrupt);
        if (status == ERR_INPUT)
            error_wrap(err, "without --force");
    }
    synth_file_free(&file);
    return status;
}

/* Tensors and bytes per type, then the sum with its bits per weight. */
static enum status print_summary(const struct cli *cli, const struct synth *s, struct error *err) {
    static const struct table_column columns[] = {
        {"dtype", "type", false},
        {"n_tensors", "tensors", true},
        {"bytes", "size", true},
        {"bits_per_weight", "bits/weight", true},
    };
    struct table table;
    table_open(&table, cli->out, cli->terminal.out_is_tty ? TABLE_TERMINAL : TABLE_MD, columns,
               sizeof columns / sizeof columns[0]);
    for (int dtype = 0; dtype <= DTYPE_N; dtype++) { /* the last row is the sum */
        uint64_t n = 0, bytes = 0, n_params = 0;
        for (uint32_t i = 0; i < s->tensors.n; i++) {
            const struct synth_tensor *t = &s->tensors.list[i];
            if (dtype != DTYPE_N && (int)t->dtype != dtype)
                continue;
            n++;
            bytes += t->bytes;
            n_params += t->n_blocks * dtype_info(t->dtype)->block_elements;
        }
        if (n == 0)
            continue;
        char size[16], exact[24];
        format_bytes(bytes, size);
        snprintf(exact, sizeof exact, "%" PRIu64, bytes);
        table_row(&table);
        table_string(&table, dtype == DTYPE_N ? "all" : dtype_info((enum dtype)dtype)->name);
        table_int(&table, (int64_t)n);
        table_both(&table, size, exact);
        table_double(&table, 8.0 * (double)bytes / (double)n_params, 2);
    }
    return table_close(&table, err);
}

int command_synth(struct cli *cli) {
    struct error err = {0};
    struct synth s = {0};
    int code = CLI_OK;
    if (cli->options->n_operands != 1) {
        error_set(&err, ERR_INPUT, "one file name is needed: shoal synth OUT");
        return cli_fail(cli, DURING_USAGE, &err);
    }
    if (describe(&s, cli->options, &err))
        code = cli_fail(cli, DURING_USAGE, &err);
    else if (write_file(cli, &s, cli->options->operands[0], &err) || print_summary(cli, &s, &err))
        code = cli_fail(cli, DURING_WORK, &err);
    arena_free(&s.arena);
    return code;
}
