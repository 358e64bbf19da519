/* SPDX-License-Identifier: Apache-2.0 */
/* Options of mpirun are those of Open MPI 4; --mpirun-args comes last, so that it wins. */
#include "cli/launch_line.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_NODES_MAX 64u

#define ARGS_MAX 512u /* of ours and --mpirun-args; the command's own come on top */

struct args {
    char **items; /* [room], NULL-terminated */
    uint32_t n, room;
    struct arena *arena;
    bool failed; /* no room or no memory: told once, at the end */
};

static void add_span(struct args *args, struct span word) {
    char *copy = arena_dup(args->arena, word);
    if (!copy || args->n + 1 >= args->room)
        args->failed = true;
    else
        args->items[args->n++] = copy;
}

static void add(struct args *args, const char *word) {
    add_span(args, span_of(word));
}

static void add_pair(struct args *args, const char *option, const char *value) {
    add(args, option);
    add(args, value);
}

/* ---- where the parts are ---- */

/* Beside this program (a build tree, or one folder), else <prefix>/libexec/shoal. */
static enum status find_worker(char *path, size_t room, struct error *err) {
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return error_set(err, ERR_IO, "/proc/self/exe: %s", strerror(errno));
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    *slash = '\0';
    snprintf(path, room, "%s/shoal-worker", exe);
    if (access(path, X_OK) == 0)
        return OK;
    snprintf(path, room, "%s/../libexec/shoal/shoal-worker", exe);
    if (access(path, X_OK) == 0)
        return OK;
    return error_set(err, ERR_UNSUPPORTED,
                     "several workers need the program shoal-worker, which is not in %s nor in "
                     "../libexec/shoal (it is built where Open MPI is found: libopenmpi-dev)",
                     exe);
}

static bool is_address_of_ours(const struct ifaddrs *ours, const struct sockaddr *wanted) {
    for (; ours; ours = ours->ifa_next) {
        const struct sockaddr *have = ours->ifa_addr;
        if (!have || have->sa_family != wanted->sa_family)
            continue;
        if (have->sa_family == AF_INET &&
            memcmp(&((const struct sockaddr_in *)(const void *)have)->sin_addr,
                   &((const struct sockaddr_in *)(const void *)wanted)->sin_addr,
                   sizeof(struct in_addr)) == 0)
            return true;
        if (have->sa_family == AF_INET6 &&
            memcmp(&((const struct sockaddr_in6 *)(const void *)have)->sin6_addr,
                   &((const struct sockaddr_in6 *)(const void *)wanted)->sin6_addr,
                   sizeof(struct in6_addr)) == 0)
            return true;
    }
    return false;
}

static bool host_is_here(const char *host) {
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    if (strcmp(host, own) == 0 || strcmp(host, "localhost") == 0)
        return true;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct ifaddrs *ours = NULL;
    bool here = false;
    if (getaddrinfo(host, NULL, &hints, &found) == 0 && getifaddrs(&ours) == 0) {
        for (const struct addrinfo *a = found; a && !here; a = a->ai_next)
            here = is_address_of_ours(ours, a->ai_addr);
    }
    if (ours)
        freeifaddrs(ours);
    if (found)
        freeaddrinfo(found);
    return here;
}

/* Open MPI puts the machine it was started on first if the file names it, wherever that stands. */
static enum status read_hostfile(const char *path, bool *is_here, struct error *err) {
    char line[1024], host[256];
    uint32_t n = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, ERR_INPUT, "--hostfile: %s: %s", path, strerror(errno));
    *is_here = false;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "#\n")] = '\0';
        if (sscanf(line, "%255s", host) != 1)
            continue;
        n++;
        *is_here = *is_here || host_is_here(host);
    }
    bool failed = ferror(file);
    fclose(file);
    if (failed || n == 0)
        return error_set(err, ERR_INPUT, "--hostfile: %s: %s", path,
                         failed ? "it cannot be read" : "it names no host");
    return OK;
}

/* Nodes of memory (NUMA) of this machine that have cores. */
static uint32_t count_memory_nodes(void) {
    uint32_t n = 0;
    for (uint32_t node = 0; node < MEMORY_NODES_MAX; node++) {
        char path[64], cores[8] = "";
        snprintf(path, sizeof path, "/sys/devices/system/node/node%u/cpulist", node);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        n += fgets(cores, sizeof cores, file) && cores[0] != '\n';
        fclose(file);
    }
    return n;
}

/* A rank reads its weights fastest from the memory beside its cores, if every node gets as many
 * ranks; what other machines have is not known here. Within a node the system places threads. */
static bool binds_to_memory(const char *hostfile, int64_t n_workers) {
    uint32_t n_nodes = hostfile ? 1 : count_memory_nodes();
    return n_nodes > 1 && n_workers % n_nodes == 0;
}

/* ---- the line ---- */

/* Machines of the hostfile see the same settings. */
static void add_environment_names(struct args *args, const char *const *environment) {
    for (; environment && *environment; environment++) {
        struct span name = span_make(*environment, strcspn(*environment, "="));
        if (span_starts_with(name, "SHOAL_")) {
            add(args, "-x");
            add_span(args, name);
        }
    }
}

static void add_words(struct args *args, const char *words) {
    struct span word;
    while (option_next_word(&words, ' ', &word)) {
        if (word.len)
            add_span(args, word);
    }
}

static void add_mpirun(struct args *args, const struct cli *cli, const char *hostfile) {
    const struct options *o = cli->options;
    char count[16];
    snprintf(count, sizeof count, "%lld", (long long)options_int(o, OPT_WORKERS));
    add(args, "mpirun");
    if (!hostfile || options_is_set(o, OPT_WORKERS)) /* else one per slot of the file */
        add_pair(args, "-n", count);
    if (hostfile) {
        add_pair(args, "--hostfile", hostfile);
        add_environment_names(args, o->environment);
    }
    add(args, "--oversubscribe"); /* ranks may be more than cores */
    add_words(args, binds_to_memory(hostfile, options_int(o, OPT_WORKERS))
                        ? "--map-by numa --bind-to numa:overload-allowed"
                        : "--bind-to none");
    /* Within a node ranks have our own shared memory; MPI's would leave files when it is killed.
     * Without other machines TCP is what is left, and to say so saves the search for fabrics, which
     * takes longer than all the rest of a start (1.9 s against 0.45 s). */
    if (hostfile)
        add_words(args, "--mca btl ^vader");
    else
        add_words(args, "--mca pml ob1 --mca btl tcp,self");
    if (options_string(o, OPT_MPIRUN_ARGS))
        add_words(args, options_string(o, OPT_MPIRUN_ARGS));
}

/* Open MPI refuses root until it is told twice; containers know no other user. */
static void add_environment(struct args *args, const char *const *environment) {
    for (; environment && *environment; environment++)
        add(args, *environment);
    if (geteuid() == 0) {
        add(args, "OMPI_ALLOW_RUN_AS_ROOT=1");
        add(args, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
    }
}

static uint32_t count_of(const char *const *list) {
    uint32_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

enum status launch_line_make(struct launch_line *line, const struct cli *cli,
                             const char *launched_by, struct arena *arena, struct error *err) {
    const char *hostfile = options_string(cli->options, OPT_HOSTFILE);
    char worker[4200];
    TRY(find_worker(worker, sizeof worker, err));
    line->is_here = true;
    if (hostfile)
        TRY(read_hostfile(hostfile, &line->is_here, err));

    uint32_t n_own = count_of((const char *const *)cli->args);
    uint32_t n_environment = count_of(cli->options->environment);
    struct args args = {.room = ARGS_MAX + n_environment + n_own, .arena = arena};
    struct args environment = {.room = n_environment + 3, .arena = arena};
    args.items = arena_array(arena, args.room, sizeof *args.items);
    environment.items = arena_array(arena, environment.room, sizeof *environment.items);
    if (!args.items || !environment.items)
        return error_set(err, ERR_NOMEM, "no memory for the command line of mpirun");
    add_mpirun(&args, cli, hostfile);
    add(&args, worker);
    if (launched_by && line->is_here)
        add_pair(&args, "--launched-by", launched_by);
    add(&args, "--standalone");
    for (char *const *arg = cli->args; *arg; arg++)
        add(&args, *arg);
    add_environment(&environment, cli->options->environment);
    if (args.failed || environment.failed)
        return error_set(err, ERR_LIMIT, "no room for the command line of mpirun");
    args.items[args.n] = NULL;
    environment.items[environment.n] = NULL;
    line->argv = args.items;
    line->environment = environment.items;
    return OK;
}
