/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal score`: log probabilities, best next tokens, logit hash and greedy continuation of texts
 * or ids, as JSON lines. With --parallel N the lines that are already there go through the engine
 * together, at most N at a time; the results are the same. */
#include "worker/score.h"

#include "base/json.h"
#include "cli/jsonl.h"
#include "cli/score_dump.h"
#include "cli/session.h"
#include "cli/worker_group.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct scoring {
    struct cli *cli;
    struct model model;
    struct engine *engine;
    struct score_options options;
    uint32_t n_top, n_greedy;
    const char *dump_prefix; /* NULL: none */
    bool lost;               /* the worker group */
};

struct entry { /* one line on its way */
    struct jsonl_line line;
    struct token_ids ids;
    struct token_logprob *top;
    int32_t *greedy;
    bool good; /* a request that can be scored */
};

static enum status read_request(const struct scoring *s, struct entry *entry, struct error *err) {
    struct json_object *request = entry->line.object;
    struct span text = {0};
    bool parse_special = true;
    TRY(json_get_string(request, "text", &text, err));
    TRY(json_get_bool(request, "parse_special", &parse_special, err));
    if (text.data)
        TRY(tokenizer_encode(s->model.tokenizer, text, parse_special, &entry->ids, err));
    else
        TRY(jsonl_get_ids(request, "ids", s->model.hp.n_vocab, &entry->ids, err));
    if (entry->ids.n == 0)
        return error_set(err, ERR_INPUT, "%s: there must be at least one token",
                         text.data ? "text" : "ids");
    if (entry->ids.n + s->n_greedy > (size_t)engine_ctx_size(s->engine) + 1)
        return error_set(err, ERR_LIMIT,
                         "ids: %zu tokens and %u to come do not fit the context of %u",
                         entry->ids.n, s->n_greedy, engine_ctx_size(s->engine));
    entry->top = calloc(s->n_top + 1, sizeof *entry->top);
    entry->greedy = calloc(s->n_greedy + 1, sizeof *entry->greedy);
    if (!entry->top || !entry->greedy)
        return error_set(err, ERR_NOMEM, "no memory for the results");
    entry->good = true;
    return OK;
}

static void release(struct entry *entry) {
    token_ids_free(&entry->ids);
    free(entry->top);
    free(entry->greedy);
}

static void add_result(struct text *out, const struct score_request *r) {
    jsonl_add_ids(out, "ids", r->ids, r->n_ids);
    text_add_str(out, ",\"logprob_sum\":");
    json_add_double(out, r->logprob_sum);
    text_add_str(out, ",\"top\":[");
    for (uint32_t i = 0; i < r->n_top_found; i++) {
        text_printf(out, "%s{\"id\":%" PRId32 ",\"logprob\":", i ? "," : "", r->top[i].id);
        json_add_double(out, r->top[i].logprob);
        text_add_char(out, '}');
    }
    text_printf(out, "],\"logits_hash\":\"%016" PRIx64 "\",", r->logits_hash);
    jsonl_add_ids(out, "greedy", r->greedy, r->n_greedy);
}

static void tap(void *user, const struct tap_event *event) {
    score_dump_add(user, event->name, event->x, event->n_tokens, event->d);
}

struct dump_logits {
    struct score_dump *dump;
    uint32_t n_vocab;
};

static void dump_logits(void *user, uint32_t request_idx, uint32_t token_idx, const float *logits) {
    const struct dump_logits *d = user;
    (void)request_idx, (void)token_idx;
    score_dump_add(d->dump, "logits", logits, 1, d->n_vocab);
}

static void dump_mtp_logits(void *user, uint32_t request_idx, uint32_t token_idx,
                            const float *logits) {
    const struct dump_logits *d = user;
    (void)request_idx, (void)token_idx;
    score_dump_add(d->dump, "mtp logits", logits, 1, d->n_vocab);
}

/* One request with everything written down. Only its prompt is dumped: the greedy tokens come
 * from a second run. The first line goes to PREFIX, line N to PREFIX-N. */
static enum status run_dumped(struct scoring *s, struct score_request *request, uint64_t line,
                              struct error *err) {
    struct score_dump dump;
    struct text prefix = {0};
    TRY(score_dump_init(&dump, err));
    struct dump_logits logits = {.dump = &dump, .n_vocab = s->model.hp.n_vocab};
    struct observer observer = {.tap = tap, .user = &dump};
    struct score_options options = s->options;
    options.observer = &observer;
    options.logits = dump_logits;
    options.mtp_logits = dump_mtp_logits;
    options.with_mtp = s->model.weights.mtp != NULL;
    options.user = &logits;
    struct score_request prompt = *request;
    prompt.n_greedy = 0;
    text_add_str(&prefix, s->dump_prefix);
    if (line > 1)
        text_printf(&prefix, "-%" PRIu64, line);
    enum status status = score_run(s->engine, &options, &prompt, 1, err);
    if (status == OK)
        status = score_dump_write(&dump, text_str(&prefix), request->ids, request->n_ids, err);
    if (status == OK)
        status = score_run(s->engine, &s->options, request, 1, err);
    text_free(&prefix);
    score_dump_free(&dump);
    return status;
}

/* Scores the good entries together and answers all in order. */
static void work_off(struct scoring *s, struct jsonl *j, struct entry *entries, uint32_t n,
                     struct score_request *requests) {
    struct error err;
    enum status status = OK;
    uint32_t n_requests = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct entry *entry = &entries[i];
        if (entry->good)
            requests[n_requests++] = (struct score_request){.ids = entry->ids.data,
                                                            .n_ids = (uint32_t)entry->ids.n,
                                                            .n_top = s->n_top,
                                                            .top = entry->top,
                                                            .n_greedy = s->n_greedy,
                                                            .greedy = entry->greedy};
    }
    if (s->dump_prefix && n_requests > 0)
        status = run_dumped(s, requests, entries[0].line.number, &err);
    else if (n_requests > 0)
        status = score_run(s->engine, &s->options, requests, n_requests, &err);
    s->lost = status != OK && worker_group_lost(s->cli->group, &err);
    session_rest(s->engine); /* lines are written, and the next may be long in coming */
    n_requests = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct entry *entry = &entries[i];
        struct text fields = {0};
        if (!entry->good) {
            jsonl_refuse(j, &entry->line, &entry->line.err);
        } else if (status != OK) {
            jsonl_refuse(j, &entry->line, &err);
        } else {
            add_result(&fields, &requests[n_requests++]);
            jsonl_answer(j, &entry->line, &fields);
        }
        text_free(&fields);
        release(entry);
    }
}

static int run_lines(struct scoring *s, uint32_t n_together) {
    struct jsonl j;
    struct entry *entries = calloc(n_together, sizeof *entries);
    struct score_request *requests = calloc(n_together, sizeof *requests);
    struct error err;
    if (!entries || !requests) {
        free(entries);
        free(requests);
        error_set(&err, ERR_NOMEM, "no memory for %u lines", n_together);
        return cli_fail(s->cli, DURING_WORK, &err);
    }
    jsonl_open(&j, s->cli);
    for (;;) {
        uint32_t n = 0;
        while (n < n_together && (n == 0 || jsonl_ready(&j))) {
            struct entry *entry = &entries[n];
            *entry = (struct entry){0};
            if (!jsonl_next(&j, &entry->line))
                break;
            if (entry->line.object)
                read_request(s, entry, &entry->line.err);
            n++;
        }
        if (n == 0)
            break;
        work_off(s, &j, entries, n, requests);
        if (s->lost) /* the lines to come would fail as well */
            break;
    }
    jsonl_close(&j);
    free(entries);
    free(requests);
    if (s->lost)
        return cli_finish(s->cli, CLI_WORKER_LOST);
    return cli_finish(s->cli, j.any_refused ? CLI_FAILED : CLI_OK);
}

int command_score(struct cli *cli) {
    const struct options *o = cli->options;
    struct scoring s = {.cli = cli, .dump_prefix = options_string(o, OPT_DUMP)};
    struct error err;
    uint32_t n_together = (uint32_t)options_int(o, OPT_PARALLEL);
    if (n_together == 0 || s.dump_prefix)
        n_together = 1;
    if (s.dump_prefix && cli->group) {
        error_set(&err, ERR_INPUT, "--dump shows the layers of one worker, not of a group of %u",
                  cli->group->group->n_ranks);
        return cli_fail(cli, DURING_USAGE, &err);
    }
    struct session_model_options model_options = {.with_mtp = s.dump_prefix != NULL};
    if (session_open_model(cli, &model_options, &s.model, &err) != OK)
        return cli_fail(cli, DURING_LOAD, &err);
    struct session_engine_options engine_options = {.n_seqs = n_together};
    if (session_open_engine(cli, &s.model, &engine_options, &s.engine, &err) != OK) {
        model_close(&s.model);
        return cli_fail(cli, DURING_LOAD, &err);
    }
    s.n_top = (uint32_t)options_int(o, OPT_TOP);
    if (s.n_top == 0 && s.dump_prefix)
        s.n_top = 1; /* the MTP block's last input is the best next token */
    s.n_greedy = (uint32_t)options_int(o, OPT_SCORE_PREDICT);
    s.options = (struct score_options){.unused_ids = s.model.unused_ids,
                                       .n_vocab = s.model.hp.n_vocab,
                                       .chunk_tokens = (uint32_t)options_int(o, OPT_UBATCH_SIZE)};
    int code = run_lines(&s, n_together);
    session_close_engine(cli, s.engine);
    model_close(&s.model);
    return code;
}
