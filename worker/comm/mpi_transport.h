/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between nodes by MPI (MPI 3.1, chapters 3 and 8). All calls are non-blocking and polled
 * by the engine thread, so that every wait has a deadline and can be ended: MPI itself would wait
 * for a lost rank for ever. Who waits offers the core between two looks, and later sleeps between
 * them, sooner where ranks share cores. */
#ifndef SHOAL_WORKER_COMM_MPI_TRANSPORT_H
#define SHOAL_WORKER_COMM_MPI_TRANSPORT_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "plan/shard_plan.h"
#include "worker/comm/transport.h"

struct mpi_transport_options {
    MPI_Comm comm;                 /* returns errors; borrowed */
    const struct plan_rank *ranks; /* [n_ranks], outlives the transport; nodes for the errors */
    const int *mpi_ranks;          /* [n_ranks]: the number in comm of each rank of the group */
    uint32_t n_ranks, rank_idx;
    uint32_t timeout_ms; /* of every wait */
    bool spin;           /* each rank's threads have cores of their own */
};

enum status mpi_transport_open(struct transport **out, const struct mpi_transport_options *options,
                               struct error *err);

/* ERR_COMM with the text of MPI for this code. */
enum status mpi_failed(int code, const char *call, struct error *err);

#define MPI_TRY(call, err)                                                                         \
    do {                                                                                           \
        int mpi_code_ = (call);                                                                    \
        if (mpi_code_ != MPI_SUCCESS)                                                              \
            return mpi_failed(mpi_code_, #call, (err));                                            \
    } while (0)

/* Between two looks at something that MPI works on: offers the core or sleeps, after how long it
 * has been waited for. */
void mpi_pause(uint64_t begin_ns, bool spin);

#endif
