/* SPDX-License-Identifier: Apache-2.0 */
/* The program shoal-worker: one rank of a worker group.
 *
 *     mpirun -n 4 shoal-worker --standalone COMMAND [OPTIONS]
 *
 * Rank 0 is `shoal COMMAND` with an engine spread over all ranks; the others follow it. A launcher
 * that wants rank 0 at its terminal adds --launched-by NAME (cli/handover.h). main is the list of
 * what happens in order; every phase that can fail ends in group_agree, so that an error is told
 * once, by rank 0, and everybody leaves. */
#include "cli/handover.h"
#include "cli/start.h"
#include "cli/worker_group.h"
#include "worker/capacity.h"
#include "worker/comm/mpi_world.h"

#include <locale.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* Until the link watches the group a wait is its only way to notice that a rank does not come.
 * Afterwards waits are as long as it may take to load a share from a slow disk. */
#define START_TIMEOUT_MS   20000u
#define WATCHED_TIMEOUT_MS (60u * 60 * 1000)

/* MPI_Finalize has no deadline of its own, and nobody watches any more. */
#define FINALIZE_S 10u

struct worker {
    struct start start;
    const char *launched_by; /* NULL: the streams are mpirun's */
    struct receiver *receiver;
    struct mpi_world *world;
    struct group *group;
    struct fault fault;
    const struct group_progress *progress[PLAN_RANKS_MAX]; /* of the ranks of this node */
    struct link_address leader;
    struct plan_rank ranks[PLAN_RANKS_MAX]; /* with their capacities, where these were measured */
    struct worker_group parts;              /* what the command sees */
};

static bool is_leader(const struct worker *w) {
    return w->group->rank_idx == 0;
}

/* ---- arguments ---- */

/* [--launched-by NAME] --standalone COMMAND ...; returns the index of --standalone, 0: wrong. */
static int read_arguments(struct worker *w, int argc, char **argv) {
    int at = 1;
    if (at + 1 < argc && strcmp(argv[at], "--launched-by") == 0) {
        w->launched_by = argv[at + 1];
        at += 2;
    }
    return at < argc && strcmp(argv[at], "--standalone") == 0 ? at : 0;
}

static int usage(void) {
    fputs("Usage: mpirun -n N shoal-worker --standalone COMMAND [OPTIONS]\n\n"
          "A rank of a worker group. Rank 0 runs the command of shoal (see shoal help); shoal\n"
          "COMMAND --workers N starts such a group itself.\n",
          stderr);
    return CLI_USAGE;
}

/* ---- the link ---- */

/* Called on the link's thread. The launcher knows at once that the person has been told: MPI may
 * end this process before its own last word. */
static void abort_group(void *user) {
    struct worker *w = user;
    receiver_tell(w->receiver, CLI_WORKER_LOST);
    group_abort(w->group);
}

static bool is_group_aborted(void *user) {
    const struct worker *w = user;
    return group_is_aborted(w->group);
}

/* The engine thread did not leave in time: it stands in a system call, a read perhaps. */
static void expire(void *user) {
    struct worker *w = user;
    receiver_tell(w->receiver, CLI_WORKER_LOST);
    _exit(CLI_WORKER_LOST);
}

/* Containers of one machine may have one name, and two machines may have another's: both must be
 * the same. */
static enum status are_on_one_machine(const struct worker *w, bool *one, struct error *err) {
    char text[256 + 64] = "";
    uint64_t own, all[PLAN_RANKS_MAX];
    gethostname(text, 255);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        (void)!fgets(text + 256, 63, file);
        fclose(file);
    }
    own = XXH3_64bits(text, sizeof text);
    TRY(group_all_gather(w->group, &own, sizeof own, all, err));
    *one = true;
    for (uint32_t i = 0; i < w->group->n_ranks; i++)
        *one = *one && all[i] == own;
    return OK;
}

/* The leader listens, tells the others where, and they connect. */
static enum status open_link(struct worker *w, struct error *err) {
    struct group *group = w->group;
    struct link_options options = {.n_ranks = group->n_ranks,
                                   .rank_idx = group->rank_idx,
                                   .node_idx = group->node_idx,
                                   .rank1_node = group->ranks[1].node,
                                   .leader = &w->leader,
                                   .progress = group->progress,
                                   .shared_progress = w->progress,
                                   .log = &w->start.cli.log,
                                   .take_sigterm = true,
                                   .abort = abort_group,
                                   .is_aborted = is_group_aborted,
                                   .expire = expire,
                                   .user = w};
    uint64_t bytes = sizeof w->leader;
    for (uint32_t i = 0; i < group->n_ranks; i++)
        w->progress[i] = group_rank_progress(group, i);
    TRY(are_on_one_machine(w, &options.one_machine, err));
    enum status status = OK;
    if (is_leader(w))
        status = link_open(&w->parts.link, &options, err);
    TRY(group_agree(group, status, err));
    if (is_leader(w))
        link_address(w->parts.link, &w->leader);
    TRY(group_broadcast(group, &w->leader, sizeof w->leader, &bytes, err));
    if (!is_leader(w))
        status = link_open(&w->parts.link, &options, err);
    TRY(group_agree(group, status, err));
    if (is_leader(w))
        status = link_wait_ranks(w->parts.link, err);
    return group_agree(group, status, err);
}

/* ---- start ---- */

static enum status read_fault(struct worker *w, struct error *err) {
    const char *text = options_string(&w->start.options, OPT_FAULT);
    if (!text)
        return OK;
    TRY(fault_parse(&w->fault, text, err));
    w->group->fault = &w->fault;
    return OK;
}

static enum status open_terminal(struct worker *w, struct error *err) {
    enum status status = OK;
    if (is_leader(w) && w->launched_by)
        status = receiver_open(&w->receiver, w->launched_by, &w->start.cli.err, err);
    start_terminal(&w->start);
    return status;
}

static void fill_parts(struct worker *w) {
    enum { EXCHANGE_AUTO }; /* as in the option's row: auto, then as in enum exchange_strategy */
    const struct options *o = &w->start.options;
    uint32_t choice = options_choice(o, OPT_EP_EXCHANGE);
    w->parts.group = w->group;
    w->parts.log = is_leader(w) ? &w->start.cli.log : NULL;
    w->parts.n_threads = mpi_world_n_threads(w->world);
    w->parts.chooses_strategy = choice == EXCHANGE_AUTO;
    w->parts.strategy = choice == EXCHANGE_AUTO ? 0 : (enum exchange_strategy)(choice - 1);
    w->parts.n_attention_groups = (uint32_t)options_int(o, OPT_ATTENTION_GROUPS);
}

static void tell_links(const struct log *log, const struct linkbench_results *results) {
    for (uint32_t i = 0; i < results->n_rows; i++) {
        const struct linkbench_row *row = &results->rows[i];
        log_debug(log, "links: %s %u-%u by %s: %.1f us, %.3g GB/s", linkbench_kind_name(row->kind),
                  row->first, row->last, row->between_nodes ? "messages" : "shared memory",
                  row->alpha_us, row->beta_gb_s);
    }
}

/* What links deliver is looked at before a model goes over them. */
static enum status test_links(struct worker *w, struct error *err) {
    struct linkbench_options options = linkbench_short();
    struct linkbench_results results = {0};
    enum status status = linkbench_run(w->group, &options, &results, err);
    if (status == OK)
        tell_links(w->parts.log, &results);
    linkbench_results_free(&results);
    return status;
}

/* Machines may differ, and shares then follow what they read; pretended ones are one machine. */
static enum status measure_machines(struct worker *w, struct error *err) {
    struct group *group = w->group;
    double own;
    if (group->n_nodes == 1 || options_is_set(&w->start.options, OPT_NODES))
        return OK;
    TRY(capacity_measure(group, w->parts.n_threads, &own, err));
    TRY(capacity_share(group, own, w->ranks, err));
    group->ranks = w->ranks;
    for (uint32_t i = 0; i < group->n_ranks; i++) {
        if (i == 0 || w->ranks[i].node != w->ranks[i - 1].node)
            log_debug(w->parts.log, "node %u: %.0f quarters of the fastest node's memory speed",
                      w->ranks[i].node, w->ranks[i].capacity);
    }
    return OK;
}

/* From a process of MPI to a rank that can be told what to do. */
static enum status join_group(struct worker *w, struct error *err) {
    struct group *group = w->group;
    group_set_phase(group, PHASE_START, 0);
    enum status status = open_terminal(w, err);
    if (status == OK)
        status = read_fault(w, err);
    if (status == OK)
        status = fault_here(group->fault, PHASE_START, 0, group->rank_idx, err);
    TRY(group_agree(group, status, err));
    fill_parts(w);
    TRY(open_link(w, err));
    group_set_timeout(group, WATCHED_TIMEOUT_MS);
    group_set_phase(group, PHASE_SELF_TEST, 0);
    status = fault_here(group->fault, PHASE_SELF_TEST, 0, group->rank_idx, err);
    TRY(group_agree(group, status, err));
    TRY(test_links(w, err));
    TRY(measure_machines(w, err));
    group_set_phase(group, PHASE_IDLE, 0);
    log_debug(w->parts.log, "%u ranks on %u nodes, %u threads each", group->n_ranks, group->n_nodes,
              w->parts.n_threads);
    return OK;
}

/* ---- work ---- */

/* Ctrl-C is the command's from here on; threads that were started before never see it. */
static int run_command(struct worker *w) {
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_UNBLOCK, &interrupt, NULL);
    w->start.cli.group = w->parts.group ? &w->parts : NULL;
    return start_run(&w->start);
}

/* What ended the following is told once: by the link, or by rank 0 through it. */
static int follow(struct worker *w) {
    struct error err;
    if (worker_group_follow(&w->parts, &err) == OK)
        return CLI_OK;
    link_fail(w->parts.link, &err);
    return CLI_WORKER_LOST;
}

static int run_rank(struct worker *w) {
    struct error err;
    int code;
    if (join_group(w, &err) == OK) {
        code = is_leader(w) ? run_command(w) : follow(w);
        group_set_phase(w->group, PHASE_END, 0);
    } else {
        bool lost = w->parts.link && worker_group_lost(&w->parts, &err);
        if (is_leader(w) && !lost)
            log_error(&w->start.cli.log, "%s", err.text);
        code = lost ? CLI_WORKER_LOST : err.status == ERR_INPUT ? CLI_USAGE : CLI_DEVICE;
    }
    if (link_close(w->parts.link, &err) != OK)
        code = CLI_WORKER_LOST;
    receiver_close(w->receiver, code);
    return code;
}

/* mpirun started one rank: a command like any other, at the launcher's terminal perhaps. */
static int run_alone(struct worker *w) {
    struct error err;
    enum status status = open_terminal(w, &err);
    int code = status == OK ? run_command(w) : CLI_DEVICE;
    if (status != OK)
        log_error(&w->start.cli.log, "%s", err.text);
    receiver_close(w->receiver, code);
    return code;
}

/* All ranks know the same error, and the first one tells it; MPI's own each has for itself. */
static int tell_no_world(const struct options *o, const struct error *err) {
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"};
    const char *rank = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !rank; i++)
        rank = options_environment(o, names[i]);
    if (!rank || strcmp(rank, "0") == 0 || err->status == ERR_COMM)
        fprintf(stderr, "shoal: error: %s\n", err->text);
    return err->status == ERR_INPUT ? CLI_USAGE : CLI_DEVICE;
}

int main(int argc, char **argv, char **envp) {
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, NULL); /* for the threads of MPI and ours */

    struct worker w = {0};
    int standalone = read_arguments(&w, argc, argv);
    if (!standalone)
        return usage();
    start_read(&w.start, argc - standalone, argv + standalone, envp);
    const struct options *o = &w.start.options;
    struct mpi_world_options world = {.n_nodes = (uint32_t)options_int(o, OPT_NODES),
                                      .n_threads = (uint32_t)options_int(o, OPT_THREADS),
                                      .timeout_ms = START_TIMEOUT_MS};
    struct error err;
    int code;
    if (mpi_world_open(&w.world, &world, &err) == OK) {
        w.group = mpi_world_group(w.world);
        code = w.group->n_ranks > 1 ? run_rank(&w) : run_alone(&w);
        alarm(FINALIZE_S);
        mpi_world_close(w.world);
    } else {
        code = tell_no_world(o, &err);
    }
    start_free(&w.start);
    return code;
}
