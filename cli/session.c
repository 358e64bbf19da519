/* SPDX-License-Identifier: Apache-2.0 */
/* Options to structs; the only place that knows where the demonstration model is installed. */
#include "cli/session.h"

#include "base/clock.h"
#include "base/size.h"
#include "cli/progress.h"
#include "cli/worker_group.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define DEMO_FILE "shoal-demo-q8_0.gguf"

/* <prefix>/share/shoal/<file> beside <prefix>/bin/shoal. */
static bool installed_path(struct text *path) {
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe);
    if (n <= 0 || (size_t)n == sizeof exe)
        return false;
    struct span dir = span_make(exe, (size_t)n);
    for (int up = 0; up < 2; up++) {
        while (dir.len > 0 && dir.data[dir.len - 1] != '/')
            dir.len--;
        if (dir.len > 0)
            dir.len--;
    }
    text_clear(path);
    text_add(path, dir);
    text_add_str(path, "/share/shoal/" DEMO_FILE);
    return access(text_str(path), R_OK) == 0;
}

enum status session_model_path(const struct cli *cli, struct text *path, struct error *err) {
    const char *named = options_string(cli->options, OPT_MODEL);
    if (named) {
        text_clear(path);
        text_add_str(path, named);
        return OK;
    }
    if (installed_path(path))
        return OK;
    text_clear(path);
    text_add_str(path, SHOAL_SOURCE_DEMO); /* a program that runs from its build tree */
    if (access(text_str(path), R_OK) == 0)
        return OK;
    return error_set(err, ERR_IO,
                     "no --model was given and the demonstration model is not installed (%s: %s)",
                     SHOAL_SOURCE_DEMO, strerror(errno));
}

enum status session_open_model(struct cli *cli, const struct session_model_options *o,
                               struct model *model, struct error *err) {
    struct text path = {0};
    enum status status = session_model_path(cli, &path, err);
    if (status == OK) {
        struct model_options options = {
            .path = text_str(&path), .with_weights = !o->text_only, .with_mtp = o->with_mtp};
        status = model_open(model, &options, err);
    }
    text_free(&path);
    if (status != OK)
        return status;

    if (option_belongs(OPT_CHAT_TEMPLATE, cli->options->command) &&
        options_is_set(cli->options, OPT_CHAT_TEMPLATE)) {
        const char *name = options_string(cli->options, OPT_CHAT_TEMPLATE);
        if (name && chat_template_from_name(span_of(name), &model->chat_template))
            model->chat_template_exact = true;
    }
    if (!model->chat_template_exact)
        log_warn(&cli->log,
                 "the chat template of this file is not one of those published; it is treated as "
                 "%s (--chat-template overrides)",
                 chat_template_name(model->chat_template));
    return OK;
}

static uint32_t step_tokens(const struct cli *cli) {
    int64_t batch = options_int(cli->options, OPT_BATCH_SIZE);
    int64_t chunk = options_int(cli->options, OPT_UBATCH_SIZE);
    if (batch == 0)
        batch = chunk > ENGINE_STEP_TOKENS_DEFAULT ? chunk : ENGINE_STEP_TOKENS_DEFAULT;
    return (uint32_t)batch;
}

/* Tokenizer, mapped headers and the small structs of the file. */
static uint64_t tables_bytes(const struct model *model) {
    uint64_t bytes = tokenizer_memory_bytes(model->tokenizer) + model->arena.bytes_used +
                     model->gguf.arena.bytes_used;
    for (uint32_t i = 0; i < model->gguf.n_parts; i++)
        bytes += align_up(model->gguf.parts[i].header_bytes, 4096);
    return bytes;
}

/* auto is DTYPE_N. */
static enum dtype kv_dtype(const struct cli *cli) {
    static const enum dtype choices[] = {DTYPE_N, DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    return choices[options_choice(cli->options, OPT_KV_CACHE_DTYPE)];
}

static struct engine_options engine_options(const struct cli *cli, const struct model *model,
                                            const struct session_engine_options *wanted) {
    const struct options *o = cli->options;
    const char *kernels = options_string(o, OPT_KERNELS);
    enum dtype kv = kv_dtype(cli);
    return (struct engine_options){
        .hp = &model->hp,
        .weights = &model->weights,
        .unused_ids = model->unused_ids,
        .kernels = kernels ? kernels : "auto",
        .n_threads = (uint32_t)options_int(o, OPT_THREADS),
        .ctx_size = wanted->ctx_size ? wanted->ctx_size : (uint32_t)options_int(o, OPT_CTX_SIZE),
        .n_seqs = wanted->n_seqs ? wanted->n_seqs : (uint32_t)options_int(o, OPT_PARALLEL),
        .n_step_tokens = wanted->n_step_tokens ? wanted->n_step_tokens : step_tokens(cli),
        .kv_dtype_auto = kv == DTYPE_N,
        .kv_dtype = kv,
        .tables_bytes = tables_bytes(model)};
}

/* The bar comes when the loading has lasted half a second: a small model is there sooner. */
#define SHOW_AFTER_S 0.5

struct loading {
    const struct cli *cli;
    const struct interrupt *interrupt;
    struct progress progress;
    bool begun;
};

static bool show_loading(void *user, uint64_t bytes_done, uint64_t bytes_all) {
    struct loading *loading = user;
    struct progress *progress = &loading->progress;
    if (!loading->begun)
        progress_begin(progress, loading->cli, "Loading weights", bytes_all, PROGRESS_BYTES);
    loading->begun = true;
    if (progress->draws && clock_seconds_since(progress->begin_ns) > SHOW_AFTER_S)
        progress_update(progress, bytes_done);
    return !loading->interrupt || !interrupt_came(loading->interrupt);
}

static enum status open_somewhere(const struct cli *cli, const struct model *model,
                                  const struct engine_options *options, struct engine **engine,
                                  struct error *err) {
    if (!cli->group)
        return engine_open(engine, options, err);
    struct text path = {0};
    enum status status = session_model_path(cli, &path, err);
    struct worker_model what = {.path = text_str(&path), .model = model};
    if (status == OK)
        status = worker_group_open_engine(cli->group, &what, options, engine, err);
    text_free(&path);
    return status;
}

enum status session_open_engine(const struct cli *cli, const struct model *model,
                                const struct session_engine_options *wanted, struct engine **engine,
                                struct error *err) {
    struct engine_options options = engine_options(cli, model, wanted);
    struct loading loading = {.cli = cli, .interrupt = wanted->interrupt};
    options.progress = show_loading;
    options.progress_user = &loading;
    enum status status = open_somewhere(cli, model, &options, engine, err);
    if (loading.begun)
        progress_end(&loading.progress);
    return status;
}

void session_close_engine(const struct cli *cli, struct engine *engine) {
    if (cli->group)
        worker_group_close_engine(cli->group, engine);
    else
        engine_close(engine);
}

void session_rest(struct engine *engine) {
    struct error err;
    engine_park(engine, &err);
}

void session_rest_if_blocked(const struct cli *cli, struct engine *engine) {
    struct pollfd out = {.fd = fileno(cli->out), .events = POLLOUT};
    if (cli->group && poll(&out, 1, 0) == 0)
        session_rest(engine);
}

enum status session_plan_memory(const struct cli *cli, const struct model *model,
                                struct memory_plan *plan, struct error *err) {
    struct session_engine_options wanted = {0};
    struct engine_options options = engine_options(cli, model, &wanted);
    return engine_plan(&options, plan, err);
}

struct engine_options session_engine_options(const struct cli *cli, const struct model *model) {
    struct session_engine_options wanted = {0};
    return engine_options(cli, model, &wanted);
}
