/* SPDX-License-Identifier: Apache-2.0 */
/* The worker group that one mpirun started: this process becomes a rank of it.
 *
 *     MPI's ranks        0 1 2 3        on hosts a b a b
 *     ranks of the group 0 2 1 3        in order of nodes: a a b b
 *
 * Ranks that MPI calls neighbours (MPI_COMM_TYPE_SHARED) are one node; an option divides a machine
 * into pretended nodes, which share no memory with each other. MPI's first rank is the leader.
 * Linked into shoal-worker only, and opened once per process. Engine thread. */
#ifndef SHOAL_WORKER_COMM_MPI_WORLD_H
#define SHOAL_WORKER_COMM_MPI_WORLD_H

#include <stdint.h>

#include "base/error.h"
#include "worker/comm/group.h"

#define MPI_WORLD_JOB_MAX 48 /* bytes of a job's name with its end */

struct mpi_world; /* opaque */

struct mpi_world_options {
    uint32_t n_nodes;    /* pretended; 0: the real ones */
    uint32_t n_threads;  /* of each rank; 0: the cores of a node are divided among its ranks */
    uint32_t timeout_ms; /* of every wait of the group; at least 1 */
};

/* ERR_INPUT: nodes that cannot be pretended; ERR_LIMIT: too many ranks; ERR_COMM; ERR_NOMEM. An
 * error of one rank is everyone's, but for those of MPI itself. */
enum status mpi_world_open(struct mpi_world **out, const struct mpi_world_options *options,
                           struct error *err);

/* Ends MPI, unless the group was aborted: then ranks may be gone for whom MPI would wait, the
 * process should exit, and mpirun ends what is left. Collective otherwise. NULL is fine. */
void mpi_world_close(struct mpi_world *world);

struct group *mpi_world_group(struct mpi_world *world);

/* A name that no other job of this or another machine has, the same on all ranks. */
const char *mpi_world_job(const struct mpi_world *world);

/* Threads of each rank of this node: those asked for, or its share of the cores, at least 1. */
uint32_t mpi_world_n_threads(const struct mpi_world *world);

#endif
