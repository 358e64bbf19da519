/* SPDX-License-Identifier: Apache-2.0 */
/* Options to sampler parameters: command line, model file or the neutral defaults. */
#include "cli/answer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* "ID+X" or "ID-X". */
static enum status bias_parse(const char *text, struct logit_bias *bias, struct error *err) {
    char *sign, *end = NULL;
    errno = 0;
    long id = strtol(text, &sign, 10);
    double value = sign > text && (*sign == '+' || *sign == '-') ? strtod(sign, &end) : NAN;
    if (errno || !end || *end || !isfinite(value) || id < 0 || id > INT32_MAX)
        return error_set(err, ERR_INPUT, "--logit-bias: '%.60s' is not ID+VALUE or ID-VALUE", text);
    *bias = (struct logit_bias){.id = (int32_t)id, .bias = (float)value};
    return OK;
}

enum status sampling_params(const struct conversation *c, struct sampler_params *params,
                            struct error *err) {
    const struct options *o = c->cli->options;
    int64_t top_k = options_int(o, OPT_TOP_K), seed = options_int(o, OPT_SEED);
    *params = (struct sampler_params){
        .temperature = (float)options_double(o, OPT_TEMP),
        .top_k = top_k > 0 ? (uint32_t)top_k : 0,
        .top_p = (float)options_double(o, OPT_TOP_P),
        .min_p = (float)options_double(o, OPT_MIN_P),
        .repeat_penalty = (float)options_double(o, OPT_REPEAT_PENALTY),
        .presence_penalty = (float)options_double(o, OPT_PRESENCE_PENALTY),
        .frequency_penalty = (float)options_double(o, OPT_FREQUENCY_PENALTY),
        .seed = (uint64_t)seed,
        .bias = c->bias,
        .n_bias = options_n_items(o, OPT_LOGIT_BIAS),
    };
    if (seed < 0 && getrandom(&params->seed, sizeof params->seed, 0) != sizeof params->seed)
        return error_set(err, ERR_IO, "getrandom: %s", strerror(errno));
    if (params->n_bias > SAMPLER_BIASES_MAX)
        return error_set(err, ERR_LIMIT, "--logit-bias: given %u times, at most %d are allowed",
                         params->n_bias, SAMPLER_BIASES_MAX);
    for (uint32_t i = 0; i < params->n_bias; i++)
        TRY(bias_parse(options_item(o, OPT_LOGIT_BIAS, i), &c->bias[i], err));
    return sampler_params_check(params, c->model->hp.n_vocab, err);
}

void conversation_offer_defaults(const struct cli *cli, const struct gguf *gguf) {
    static const struct {
        const char *key;
        enum option_id id;
    } defaults[] = {
        {"general.sampling.temp", OPT_TEMP},
        {"general.sampling.top_k", OPT_TOP_K},
        {"general.sampling.top_p", OPT_TOP_P},
        {"general.sampling.min_p", OPT_MIN_P},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        const struct gguf_value *value = gguf_find(gguf, defaults[i].key);
        if (!value)
            continue;
        struct text text = {0};
        struct error err;
        /* 0.6 is 0.60000002 in the file's 32 bits: seven digits say what was meant. */
        if (value->type == GGUF_F32 || value->type == GGUF_F64)
            text_printf(&text, "%.7g", value->f64);
        else if (value->type == GGUF_U32 || value->type == GGUF_I32)
            text_printf(&text, "%lld", (long long)value->i64);
        if (text.len && options_offer(cli->options, defaults[i].id, text_str(&text), &err) != OK)
            log_warn(&cli->log, "%s of the model file is not used: %s", defaults[i].key, err.text);
        text_free(&text);
    }
}
