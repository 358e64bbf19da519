/* SPDX-License-Identifier: Apache-2.0 */
/* MPI_Init and MPI_Comm_split_type are MPI's own waits, which nobody can bound; all others here
 * are polled with a deadline. What ranks must know of each other at start, they gather in one
 * message: who shares memory, and on which cores each may run. */
#include "worker/comm/mpi_world.h"

#include "base/clock.h"
#include "worker/comm/mpi_transport.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* What every rank tells all others. */
struct facts {
    int host; /* the lowest of MPI's ranks on its machine */
    cpu_set_t cores;
};

struct mpi_world {
    struct group group;
    char job[MPI_WORLD_JOB_MAX];
    uint32_t n_threads;
    bool spin;
    int mpi_rank;
    int mpi_ranks[PLAN_RANKS_MAX]; /* of each rank of the group */
    struct plan_rank ranks[PLAN_RANKS_MAX];
    struct facts facts[PLAN_RANKS_MAX]; /* by MPI's ranks */
    struct error outcomes[PLAN_RANKS_MAX];
};

/* Until MPI has done it. */
static enum status wait_request(MPI_Request *request, const char *what, uint32_t timeout_ms,
                                struct error *err) {
    uint64_t begin_ns = clock_ns();
    for (int done = 0;;) {
        MPI_TRY(MPI_Test(request, &done, MPI_STATUS_IGNORE), err);
        if (done)
            return OK;
        if (clock_ns() - begin_ns >= (uint64_t)timeout_ms * 1000000u)
            return error_set(err, ERR_COMM, "start: %s took longer than %u ms", what, timeout_ms);
        mpi_pause(begin_ns, false);
    }
}

static enum status init_mpi(uint32_t *n_ranks, int *mpi_rank, struct error *err) {
    int provided = 0, n = 0;
    MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), err);
    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), err);
    if (provided < MPI_THREAD_FUNNELED)
        return error_set(err, ERR_UNSUPPORTED, "this MPI knows no threads (MPI_THREAD_FUNNELED)");
    MPI_TRY(MPI_Comm_size(MPI_COMM_WORLD, &n), err);
    MPI_TRY(MPI_Comm_rank(MPI_COMM_WORLD, mpi_rank), err);
    if (n > PLAN_RANKS_MAX)
        return error_set(err, ERR_LIMIT, "%d ranks: at most %d", n, PLAN_RANKS_MAX);
    *n_ranks = (uint32_t)n;
    return OK;
}

static enum status gather_facts(struct mpi_world *world, uint32_t timeout_ms, struct error *err) {
    struct facts own = {.host = world->mpi_rank};
    MPI_Comm host;
    MPI_Request request;
    MPI_TRY(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world->mpi_rank,
                                MPI_INFO_NULL, &host),
            err);
    /* Ranks of `host` have the order of the world, so its first has the lowest number. */
    MPI_TRY(MPI_Ibcast(&own.host, 1, MPI_INT, 0, host, &request), err);
    TRY(wait_request(&request, "finding the ranks of a machine", timeout_ms, err));
    MPI_TRY(MPI_Comm_free(&host), err);
    if (sched_getaffinity(0, sizeof own.cores, &own.cores) != 0)
        CPU_ZERO(&own.cores);
    MPI_TRY(MPI_Iallgather(&own, sizeof own, MPI_BYTE, world->facts, sizeof own, MPI_BYTE,
                           MPI_COMM_WORLD, &request),
            err);
    return wait_request(&request, "gathering the ranks' places", timeout_ms, err);
}

/* Ranks in order of machines, and of MPI's numbers within each. */
static void order_ranks(struct mpi_world *world) {
    uint32_t n_ordered = 0, n_ranks = world->group.n_ranks;
    for (uint32_t first = 0; first < n_ranks; first++) {
        if (world->facts[first].host != (int)first)
            continue; /* it was placed with the first of its machine */
        for (uint32_t i = first; i < n_ranks; i++) {
            if (world->facts[i].host != (int)first)
                continue;
            if ((int)i == world->mpi_rank)
                world->group.rank_idx = n_ordered;
            world->mpi_ranks[n_ordered++] = (int)i;
        }
    }
}

static int host_of(const struct mpi_world *world, uint32_t rank) {
    return world->facts[world->mpi_ranks[rank]].host;
}

static enum status assign_nodes(struct mpi_world *world, uint32_t n_pretended, struct error *err) {
    struct group *group = &world->group;
    if (n_pretended > group->n_ranks)
        return error_set(err, ERR_INPUT, "%u nodes of %u ranks: at most one node per rank",
                         n_pretended, group->n_ranks);
    uint32_t node = 0;
    for (uint32_t i = 0; i < group->n_ranks; i++) {
        bool other_host = i > 0 && host_of(world, i) != host_of(world, i - 1);
        if (n_pretended == 0)
            node += other_host;
        else
            node = group_pretended_node(i, group->n_ranks, n_pretended);
        if (other_host && world->ranks[i - 1].node == node)
            return error_set(err, ERR_INPUT,
                             "%u nodes of %u ranks: ranks %u and %u of node %u would be on two "
                             "machines",
                             n_pretended, group->n_ranks, i - 1, i, node);
        world->ranks[i] = (struct plan_rank){.node = node, .capacity = 1};
    }
    group->n_nodes = node + 1;
    group->node_idx = world->ranks[group->rank_idx].node;
    for (uint32_t i = group->n_ranks; i-- > 0;) {
        if (world->ranks[i].node == group->node_idx) {
            group->node_rank_begin = i;
            group->n_node_ranks++;
        }
    }
    group->ranks = world->ranks;
    return group->n_node_ranks <= WINDOW_RANKS_MAX
               ? OK
               : error_set(err, ERR_LIMIT, "%u ranks on one node: at most %u", group->n_node_ranks,
                           WINDOW_RANKS_MAX);
}

/* Pretended nodes divide one machine's cores as its ranks do, so cores are counted per machine. */
static void share_cores(struct mpi_world *world, uint32_t n_threads) {
    const struct group *group = &world->group;
    cpu_set_t all;
    uint32_t n_ranks = 0;
    CPU_ZERO(&all);
    for (uint32_t i = 0; i < group->n_ranks; i++) {
        if (host_of(world, i) == host_of(world, group->rank_idx)) {
            CPU_OR(&all, &all, &world->facts[world->mpi_ranks[i]].cores);
            n_ranks++;
        }
    }
    uint32_t n_cores = (uint32_t)CPU_COUNT(&all);
    uint32_t share = n_cores > n_ranks ? n_cores / n_ranks : 1;
    world->n_threads = n_threads ? n_threads : share;
    world->spin = (uint64_t)world->n_threads * n_ranks <= n_cores;
}

/* The leader's process, the time and a random number: no two jobs have all of them. */
static enum status name_job(struct mpi_world *world, uint32_t timeout_ms, struct error *err) {
    if (world->mpi_rank == 0) {
        struct timespec now;
        uint64_t random = clock_ns();
        clock_gettime(CLOCK_REALTIME, &now);
        (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
        snprintf(world->job, sizeof world->job, "%ld-%" PRIx64 "-%016" PRIx64, (long)getpid(),
                 (uint64_t)now.tv_sec, random);
    }
    MPI_Request request;
    MPI_TRY(MPI_Ibcast(world->job, MPI_WORLD_JOB_MAX, MPI_BYTE, 0, MPI_COMM_WORLD, &request), err);
    TRY(wait_request(&request, "naming the job", timeout_ms, err));
    world->job[MPI_WORLD_JOB_MAX - 1] = '\0';
    return OK;
}

static enum status open_node(struct mpi_world *world, struct error *err) {
    struct group *group = &world->group;
    char name[WINDOW_NAME_MAX + 1];
    snprintf(name, sizeof name, "shoal-%s-%u", world->job, group->node_idx);
    struct window_options window = {.name = name,
                                    .n_ranks = group->n_node_ranks,
                                    .rank_idx = group->rank_idx - group->node_rank_begin,
                                    .first_rank = group->node_rank_begin,
                                    .common_bytes = GROUP_COMMON_BYTES,
                                    .timeout_ms = group->timeout_ms,
                                    .spin = world->spin};
    TRY(window_open(&group->window, &window, err));
    group_place_progress(group);
    if (group->n_nodes == 1)
        return OK;
    struct mpi_transport_options transport = {.comm = MPI_COMM_WORLD,
                                              .ranks = world->ranks,
                                              .mpi_ranks = world->mpi_ranks,
                                              .n_ranks = group->n_ranks,
                                              .rank_idx = group->rank_idx,
                                              .timeout_ms = group->timeout_ms,
                                              .spin = world->spin};
    return mpi_transport_open(&group->transport, &transport, err);
}

/* As group_agree, before there is a group. */
static enum status agree_to_open(struct mpi_world *world, enum status status, struct error *err) {
    struct error own = {.status = status, .text = ""};
    struct error comm = {.status = OK, .text = ""};
    MPI_Request request;
    if (status)
        own = *err;
    int code = MPI_Iallgather(&own, sizeof own, MPI_BYTE, world->outcomes, sizeof own, MPI_BYTE,
                              MPI_COMM_WORLD, &request);
    enum status talked = code == MPI_SUCCESS ? wait_request(&request, "opening the nodes",
                                                            2 * world->group.timeout_ms, &comm)
                                             : mpi_failed(code, "MPI_Iallgather", &comm);
    if (status)
        return status;
    if (talked)
        return error_set(err, talked, "%s", comm.text);
    for (uint32_t i = 0; i < world->group.n_ranks; i++) {
        const struct error *theirs = &world->outcomes[world->mpi_ranks[i]];
        if (theirs->status)
            return error_set(err, theirs->status, "rank %u: %s", i, theirs->text);
    }
    return OK;
}

static enum status build(struct mpi_world *world, const struct mpi_world_options *options,
                         struct error *err) {
    struct group *group = &world->group;
    group->timeout_ms = options->timeout_ms;
    TRY(init_mpi(&group->n_ranks, &world->mpi_rank, err));
    TRY(gather_facts(world, options->timeout_ms, err));
    order_ranks(world);
    TRY(name_job(world, options->timeout_ms, err));
    share_cores(world, options->n_threads);
    enum status status = assign_nodes(world, options->n_nodes, err);
    if (!status)
        status = open_node(world, err);
    return agree_to_open(world, status, err);
}

enum status mpi_world_open(struct mpi_world **out, const struct mpi_world_options *options,
                           struct error *err) {
    struct error own = {.status = OK, .text = ""};
    struct mpi_world *world = calloc(1, sizeof *world);
    if (!world)
        return error_set(err, ERR_NOMEM, "no memory for a worker group");
    enum status status = build(world, options, &own);
    if (status) {
        /* All ranks know the same, unless MPI itself failed. */
        if (status == ERR_COMM)
            atomic_store(&world->group.aborted, true);
        mpi_world_close(world);
        return error_set(err, status, "%s", own.text);
    }
    *out = world;
    return OK;
}

void mpi_world_close(struct mpi_world *world) {
    if (!world)
        return;
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (initialized && !group_is_aborted(&world->group))
        MPI_Finalize();
    if (world->group.transport)
        world->group.transport->ops->close(world->group.transport);
    window_close(world->group.window);
    free(world);
}

struct group *mpi_world_group(struct mpi_world *world) {
    return &world->group;
}

const char *mpi_world_job(const struct mpi_world *world) {
    return world->job;
}

uint32_t mpi_world_n_threads(const struct mpi_world *world) {
    return world->n_threads;
}
