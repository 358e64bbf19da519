/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between ranks of different nodes, behind one door: MPI (mpi_transport.h), or queues
 * between threads in tests.
 *
 * A message is posted on both sides and then waited for; memory belongs to the transport until
 * then. Messages of one pair and tag arrive in order. They may move only while their ranks are in
 * `wait`: a rank with messages on their way that others need must not sleep at a barrier of the
 * window meanwhile, unless those whom it meets there do not depend on them. Engine thread only. */
#ifndef SHOAL_WORKER_COMM_TRANSPORT_H
#define SHOAL_WORKER_COMM_TRANSPORT_H

#include <stdint.h>

#include "base/error.h"

#define TRANSPORT_REQUESTS_MAX 4096 /* posted and not yet waited for */

struct transport {
    const struct transport_ops *ops;
    uint32_t timeout_ms; /* of every wait; may be changed between two */
};

/* Tags below are those of group.c and linkbench.c; 32767 is the largest that MPI promises. */
#define TRANSPORT_TAG_FREE 16
#define TRANSPORT_TAG_MAX  32767

typedef uint32_t transport_request; /* 0 .. TRANSPORT_REQUESTS_MAX - 1 */

struct transport_ops {
    /* Ranks are numbers of the group. ERR_LIMIT: too many requests; ERR_COMM. */
    enum status (*send)(struct transport *t, uint32_t to, uint32_t tag, const void *data,
                        uint64_t bytes, transport_request *out, struct error *err);
    enum status (*receive)(struct transport *t, uint32_t from, uint32_t tag, void *data,
                           uint64_t capacity, transport_request *out, struct error *err);
    /* Waits for all of them; got[i]: bytes received (0 for a send), got may be NULL. ERR_COMM names
     * the ranks whose messages did not come in time; ERR_CANCELLED: aborted. After an error the
     * transport is good for nothing but close. */
    enum status (*wait)(struct transport *t, const transport_request *requests, uint32_t n,
                        uint64_t *got, struct error *err);
    void (*abort)(struct transport *t); /* any thread: ends all waits */
    void (*close)(struct transport *t);
};

#endif
