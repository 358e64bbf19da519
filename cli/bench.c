/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench`: a door with one room behind it so far; each kind of measurement has its file. */
#include "cli/bench.h"

#include <string.h>

int command_bench(struct cli *cli) {
    const char *what = cli->options->n_operands > 0 ? cli->options->operands[0] : NULL;
    struct error err;
    if (what && strcmp(what, "model") == 0)
        return bench_model(cli);
    if (what)
        error_set(&err, ERR_INPUT, "bench: '%s' is not something to measure; there is: model",
                  what);
    else
        error_set(&err, ERR_INPUT, "bench: what to measure? shoal bench model [FILE]");
    return cli_fail(cli, DURING_USAGE, &err);
}
