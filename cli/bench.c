/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal bench`: a door with a room for each kind of measurement. */
#include "cli/bench.h"

#include <string.h>
#include <sys/utsname.h>

void bench_machine_read(struct bench_machine *machine) {
    struct utsname names;
    *machine = (struct bench_machine){.host = "unknown", .cpu = "unknown"};
    if (uname(&names) == 0)
        snprintf(machine->host, sizeof machine->host, "%s", names.nodename);
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(machine->cpu, sizeof machine->cpu, "%s", colon + 1 + strspn(colon + 1, " \t"));
        break;
    }
    if (file)
        fclose(file);
}

bool bench_starts_groups(const struct options *options) {
    return options->command == CMD_BENCH && options->n_operands > 0 &&
           strcmp(options->operands[0], "scale") == 0;
}

int command_bench(struct cli *cli) {
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
        const char *alone; /* why it is not for a process in a group; NULL: it is */
    } rooms[] = {{"model", bench_model, NULL},
                 {"kernel", bench_kernel, "measures one process and takes no --workers"},
                 {"comm", bench_comm, NULL},
                 {"scale", bench_scale, "starts its groups itself: shoal bench scale --workers N"}};
    const char *what = cli->options->n_operands > 0 ? cli->options->operands[0] : NULL;
    struct error err;
    for (size_t i = 0; what && i < sizeof rooms / sizeof rooms[0]; i++) {
        if (strcmp(what, rooms[i].name) != 0)
            continue;
        if (!rooms[i].alone || !cli->group)
            return rooms[i].run(cli);
        error_set(&err, ERR_INPUT, "bench %s %s", what, rooms[i].alone);
        return cli_fail(cli, DURING_USAGE, &err);
    }
    if (what)
        error_set(&err, ERR_INPUT,
                  "bench: '%.60s' is not something to measure; there are: model, kernel, comm, "
                  "scale",
                  what);
    else
        error_set(&err, ERR_INPUT,
                  "bench: what to measure? shoal bench model [FILE], shoal bench kernel, shoal "
                  "bench comm --workers N, shoal bench scale --workers N");
    return cli_fail(cli, DURING_USAGE, &err);
}
