/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between threads behind the door of worker/comm/transport.h, a stricter one than MPI: a
 * message is copied when both sides have posted, never before, so that a send whose memory changes
 * too early or that waits for its own receive shows in every run. */
#ifndef SHOAL_TESTS_SUPPORT_THREAD_TRANSPORT_H
#define SHOAL_TESTS_SUPPORT_THREAD_TRANSPORT_H

#include <stdint.h>

#include "worker/comm/transport.h"

struct thread_hub; /* opaque: what is posted, of all ranks */

/* NULL: no memory. */
struct thread_hub *thread_hub_open(uint32_t n_ranks, uint32_t timeout_ms);
void thread_hub_close(struct thread_hub *hub); /* all transports are closed; NULL is fine */

/* The transport of one rank; NULL: no memory. An abort of one ends the waits of all: a network of
 * threads has no second way to tell them. */
struct transport *thread_transport_open(struct thread_hub *hub, uint32_t rank_idx);

#endif
