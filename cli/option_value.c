/* SPDX-License-Identifier: Apache-2.0 */
/* Texts to values. Numbers are read by strtod and strtoll, whose locale stays "C" because main sets
 * only LC_CTYPE. */
#include "cli/option_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool option_word_in(const char *list, struct span name) {
    struct span word;
    while (option_next_word(&list, ' ', &word)) {
        if (span_eq(word, name))
            return true;
    }
    return false;
}

bool option_bool_parse(const char *text, bool *out) {
    static const char *const words[][2] = {
        {"0", "1"}, {"false", "true"}, {"off", "on"}, {"no", "yes"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int value = 0; value < 2; value++) {
            if (strcasecmp(text, words[i][value]) == 0) {
                *out = value;
                return true;
            }
        }
    }
    return false;
}

static enum status check_range(const struct option *row, const char *text, double value,
                               struct error *err) {
    if (value >= row->min && value <= row->max)
        return OK;
    return error_set(err, ERR_INPUT, "%s is out of range, allowed are %.15g to %.15g", text,
                     row->min, row->max);
}

/* Plain letters count in powers of 1024, as people mean them for tokens and memory ("128k");
 * with B at the end the SI and IEC prefixes say which (kB 1000, KiB 1024). */
static bool unit_factor(const char *unit, double *factor) {
    static const char prefixes[] = "kmgt";
    *factor = 1;
    if (*unit == '\0' || strcasecmp(unit, "b") == 0)
        return true;
    const char *prefix = strchr(prefixes, *unit | 0x20);
    if (!prefix)
        return false;
    int power = (int)(prefix - prefixes) + 1;
    bool decimal = strcasecmp(unit + 1, "b") == 0;
    if (!decimal && unit[1] != '\0' && strcasecmp(unit + 1, "i") != 0 &&
        strcasecmp(unit + 1, "ib") != 0)
        return false;
    *factor = pow(decimal ? 1000 : 1024, power);
    return true;
}

static enum status parse_size(const struct option *row, const char *text, int64_t *out,
                              struct error *err) {
    char *end;
    double factor, number = strtod(text, &end);
    if (end == text || !isfinite(number) || !unit_factor(end, &factor))
        return error_set(err, ERR_INPUT, "'%.60s' is not a size, such as 4096, 8k, 64KiB or 1.5GB",
                         text);
    TRY(check_range(row, text, number * factor, err));
    *out = (int64_t)(number * factor);
    return OK;
}

static enum status parse_int(const struct option *row, const char *text, int64_t *out,
                             struct error *err) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end)
        return error_set(err, ERR_INPUT, "'%.60s' is not a whole number", text);
    TRY(check_range(row, text, errno == ERANGE ? (double)INFINITY : (double)number, err));
    *out = number;
    return OK;
}

static enum status parse_double(const struct option *row, const char *text, double *out,
                                struct error *err) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number))
        return error_set(err, ERR_INPUT, "'%.60s' is not a number", text);
    TRY(check_range(row, text, number, err));
    *out = number;
    return OK;
}

static enum status parse_choice(const struct option *row, const char *text, int64_t *out,
                                struct error *err) {
    const char *choices = row->metavar;
    struct span word;
    for (*out = 0; option_next_word(&choices, '|', &word); ++*out) {
        if (span_is(word, text))
            return OK;
    }
    return error_set(err, ERR_INPUT, "'%.60s' is not one of %s", text, row->metavar);
}

enum status option_value_parse(const struct option *row, const char *text,
                               struct option_value *value, struct error *err) {
    if ((row->traits & OPTION_AUTO) && strcmp(text, "auto") == 0) {
        value->integer = 0;
        return OK;
    }
    switch (row->kind) {
    case OPTION_FLAG:
        if (!option_bool_parse(text, &value->flag))
            return error_set(err, ERR_INPUT, "'%.60s' is not on or off", text);
        return OK;
    case OPTION_INT:
        return parse_int(row, text, &value->integer, err);
    case OPTION_SIZE:
        return parse_size(row, text, &value->integer, err);
    case OPTION_DOUBLE:
        return parse_double(row, text, &value->real, err);
    case OPTION_CHOICE:
        return parse_choice(row, text, &value->integer, err);
    case OPTION_STRING:
        break;
    }
    return OK;
}

/* One element of a list: a, a-b, a-b+step or a-b*factor. */
struct range {
    int64_t begin, end, step;
    bool multiplies;
};

/* Moves *text behind the element. */
static enum status parse_range(const char **text, struct range *range) {
    char *rest;
    errno = 0;
    *range = (struct range){.step = 1};
    range->begin = range->end = strtoll(*text, &rest, 10);
    if (rest == *text)
        return ERR_INPUT;
    if (*rest == '-') {
        const char *second = rest + 1;
        range->end = strtoll(second, &rest, 10);
        if (rest == second)
            return ERR_INPUT;
        if (*rest == '+' || *rest == '*') {
            range->multiplies = *rest == '*';
            const char *third = rest + 1;
            range->step = strtoll(third, &rest, 10);
            if (rest == third)
                return ERR_INPUT;
        }
    }
    *text = rest;
    bool endless = range->multiplies ? range->step < 2 || range->begin < 1 : range->step < 1;
    return errno || endless || range->end < range->begin ? ERR_INPUT : OK;
}

enum status option_list_parse(const char *text, int64_t min, int64_t max, int64_t *out,
                              uint32_t n_max, uint32_t *n, struct error *err) {
    *n = 0;
    for (const char *at = text;; at++) {
        struct range range;
        if (parse_range(&at, &range) != OK || (*at && *at != ','))
            return error_set(err, ERR_INPUT,
                             "'%.60s' is not a list such as 512, 128,256, 1-9+2 or 1-16*2", text);
        if (range.begin < min || range.end > max)
            return error_set(err, ERR_INPUT, "'%.60s' is out of range, allowed are %lld to %lld",
                             text, (long long)min, (long long)max);
        bool overflow = false;
        for (int64_t value = range.begin; value <= range.end && !overflow;) {
            if (*n == n_max)
                return error_set(err, ERR_LIMIT, "'%.60s' has more than %u elements", text, n_max);
            out[(*n)++] = value;
            overflow = range.multiplies ? __builtin_mul_overflow(value, range.step, &value)
                                        : __builtin_add_overflow(value, range.step, &value);
        }
        if (*at == '\0')
            return OK;
    }
}
