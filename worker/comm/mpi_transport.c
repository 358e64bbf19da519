/* SPDX-License-Identifier: Apache-2.0 */
/* A request of ours is a place in two tables: MPI's requests, and what they are about. Lengths in
 * MPI 3.1 are `int`: a longer message is described as a list of pieces, one datatype for the whole
 * of it, so that it stays one message and keeps its place in the order. */
#include "worker/comm/mpi_transport.h"

#include "base/clock.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIECE_BYTES (1u << 30)
#define PIECES_MAX  1024 /* a terabyte */

/* A message of a step comes within some hundred microseconds when its sender has a core; after that
 * the wait is long enough for sleep to cost little. The core is offered between two looks in any
 * case: whoever is waited for may have been put on it. */
#define SPIN_NS  400000u
#define YIELD_NS 200000u
#define SLEEP_NS 50000

struct message {
    bool is_send;
    uint32_t peer;
    uint64_t bytes; /* of a receive: room */
};

struct mpi_transport {
    struct transport base;
    struct mpi_transport_options options;
    _Atomic bool aborted;
    uint32_t n_free;
    transport_request free[TRANSPORT_REQUESTS_MAX];
    struct message messages[TRANSPORT_REQUESTS_MAX];
    MPI_Request requests[TRANSPORT_REQUESTS_MAX];
    /* scratch of wait: those that are still on their way */
    MPI_Request waiting[TRANSPORT_REQUESTS_MAX];
    uint32_t waiting_idx[TRANSPORT_REQUESTS_MAX]; /* in the caller's list */
    int finished[TRANSPORT_REQUESTS_MAX];
    MPI_Status statuses[TRANSPORT_REQUESTS_MAX];
};

static struct mpi_transport *transport_of(struct transport *t) {
    return (struct mpi_transport *)(void *)t;
}

enum status mpi_failed(int code, const char *call, struct error *err) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    int name = (int)strcspn(call, "(");
    return error_set(err, ERR_COMM, "%.*s: %.*s", name, call, ERROR_TEXT_MAX / 2, text);
}

void mpi_pause(uint64_t begin_ns, bool spin) {
    if (clock_ns() - begin_ns < (spin ? SPIN_NS : YIELD_NS))
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
}

/* One datatype for `bytes` bytes in a row, more than an int can count. */
static enum status long_type(uint64_t bytes, MPI_Datatype *out, struct error *err) {
    int lengths[PIECES_MAX];
    MPI_Aint places[PIECES_MAX];
    int n = 0;
    for (uint64_t at = 0; at < bytes; at += PIECE_BYTES, n++) {
        if (n == PIECES_MAX)
            return error_set(err, ERR_LIMIT, "a message of %llu bytes: at most %llu",
                             (unsigned long long)bytes,
                             (unsigned long long)PIECES_MAX * PIECE_BYTES);
        uint64_t left = bytes - at;
        lengths[n] = (int)(left < PIECE_BYTES ? left : PIECE_BYTES);
        places[n] = (MPI_Aint)at;
    }
    MPI_TRY(MPI_Type_create_hindexed(n, lengths, places, MPI_BYTE, out), err);
    MPI_TRY(MPI_Type_commit(out), err);
    return OK;
}

static enum status post(struct mpi_transport *own, const struct message *message, uint32_t tag,
                        void *data, transport_request *out, struct error *err) {
    const struct mpi_transport_options *o = &own->options;
    if (message->peer >= o->n_ranks || message->peer == o->rank_idx || tag > TRANSPORT_TAG_MAX)
        return error_set(err, ERR_COMM, "a message of rank %u to or from rank %u with tag %u",
                         o->rank_idx, message->peer, tag);
    if (own->n_free == 0)
        return error_set(err, ERR_LIMIT, "%u messages are on their way: no more are possible",
                         TRANSPORT_REQUESTS_MAX);
    transport_request i = own->free[own->n_free - 1];
    MPI_Datatype type = MPI_BYTE;
    int count = (int)message->bytes;
    bool is_long = message->bytes > PIECE_BYTES;
    if (is_long) {
        TRY(long_type(message->bytes, &type, err));
        count = 1;
    }
    int peer = o->mpi_ranks[message->peer];
    int code = message->is_send
                   ? MPI_Isend(data, count, type, peer, (int)tag, o->comm, &own->requests[i])
                   : MPI_Irecv(data, count, type, peer, (int)tag, o->comm, &own->requests[i]);
    if (is_long)
        MPI_Type_free(&type);
    if (code != MPI_SUCCESS)
        return mpi_failed(code, message->is_send ? "MPI_Isend" : "MPI_Irecv", err);
    own->messages[i] = *message;
    own->n_free--;
    *out = i;
    return OK;
}

static enum status mpi_send(struct transport *t, uint32_t to, uint32_t tag, const void *data,
                            uint64_t bytes, transport_request *out, struct error *err) {
    struct message message = {.is_send = true, .peer = to, .bytes = bytes};
    return post(transport_of(t), &message, tag, (void *)data, out, err);
}

static enum status mpi_receive(struct transport *t, uint32_t from, uint32_t tag, void *data,
                               uint64_t capacity, transport_request *out, struct error *err) {
    struct message message = {.peer = from, .bytes = capacity};
    return post(transport_of(t), &message, tag, data, out, err);
}

static enum status missing_messages(const struct mpi_transport *own,
                                    const transport_request *requests, uint32_t n_waiting,
                                    struct error *err) {
    const struct mpi_transport_options *o = &own->options;
    char names[192] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < n_waiting && used < sizeof names - 48; i++) {
        const struct message *message = &own->messages[requests[own->waiting_idx[i]]];
        used += (size_t)snprintf(names + used, sizeof names - used, "%s %s rank %u (node %u)",
                                 i ? "," : "", message->is_send ? "to" : "from", message->peer,
                                 o->ranks[message->peer].node);
    }
    return error_set(err, ERR_COMM, "rank %u (node %u): within %u ms no message went%s%s",
                     o->rank_idx, o->ranks[o->rank_idx].node, own->base.timeout_ms, names,
                     used < sizeof names - 48 ? "" : " and others");
}

/* What MPI says about a message that it is done with. */
static enum status finish(const struct mpi_transport *own, const struct message *message, int code,
                          MPI_Status *status, uint64_t *got, struct error *err) {
    if (code != MPI_SUCCESS) {
        mpi_failed(code, message->is_send ? "MPI_Isend" : "MPI_Irecv", err);
        error_wrap(err, "rank %u (node %u), message %s rank %u (node %u)", own->options.rank_idx,
                   own->options.ranks[own->options.rank_idx].node, message->is_send ? "to" : "from",
                   message->peer, own->options.ranks[message->peer].node);
        return ERR_COMM;
    }
    MPI_Count bytes = 0;
    if (!message->is_send)
        MPI_TRY(MPI_Get_elements_x(status, MPI_BYTE, &bytes), err);
    if (got)
        *got = (uint64_t)bytes;
    return OK;
}

/* Those of the first n_waiting that MPI has finished leave the list; the rest closes up. */
static enum status collect(struct mpi_transport *own, const transport_request *requests,
                           uint32_t *n_waiting, uint64_t *got, struct error *err) {
    int n = 0;
    int code = MPI_Testsome((int)*n_waiting, own->waiting, &n, own->finished, own->statuses);
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS)
        return mpi_failed(code, "MPI_Testsome", err);
    for (int f = 0; n != MPI_UNDEFINED && f < n; f++) {
        uint32_t i = own->waiting_idx[own->finished[f]];
        transport_request request = requests[i];
        TRY(finish(own, &own->messages[request],
                   code == MPI_SUCCESS ? MPI_SUCCESS : own->statuses[f].MPI_ERROR,
                   &own->statuses[f], got ? &got[i] : NULL, err));
        own->free[own->n_free++] = request;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *n_waiting; i++) {
        if (own->waiting[i] == MPI_REQUEST_NULL)
            continue;
        own->waiting[kept] = own->waiting[i];
        own->waiting_idx[kept++] = own->waiting_idx[i];
    }
    *n_waiting = kept;
    return OK;
}

static enum status mpi_wait(struct transport *t, const transport_request *requests, uint32_t n,
                            uint64_t *got, struct error *err) {
    struct mpi_transport *own = transport_of(t);
    uint64_t begin_ns = clock_ns();
    uint64_t deadline_ns = begin_ns + (uint64_t)own->base.timeout_ms * 1000000u;
    uint32_t n_waiting = n;
    for (uint32_t i = 0; i < n; i++) {
        own->waiting[i] = own->requests[requests[i]];
        own->waiting_idx[i] = i;
    }
    for (;;) {
        TRY(collect(own, requests, &n_waiting, got, err));
        if (n_waiting == 0)
            return OK;
        if (atomic_load(&own->aborted))
            return error_set(err, ERR_CANCELLED, "the worker group was ended");
        if (clock_ns() >= deadline_ns)
            return missing_messages(own, requests, n_waiting, err);
        mpi_pause(begin_ns, own->options.spin);
    }
}

static void mpi_abort(struct transport *t) {
    atomic_store(&transport_of(t)->aborted, true);
}

static void mpi_close(struct transport *t) {
    free(transport_of(t));
}

enum status mpi_transport_open(struct transport **out, const struct mpi_transport_options *options,
                               struct error *err) {
    static const struct transport_ops ops = {.send = mpi_send,
                                             .receive = mpi_receive,
                                             .wait = mpi_wait,
                                             .abort = mpi_abort,
                                             .close = mpi_close};
    struct mpi_transport *own = calloc(1, sizeof *own);
    if (!own)
        return error_set(err, ERR_NOMEM, "no memory for messages between nodes");
    own->base = (struct transport){.ops = &ops, .timeout_ms = options->timeout_ms};
    own->options = *options;
    own->n_free = TRANSPORT_REQUESTS_MAX;
    for (uint32_t i = 0; i < TRANSPORT_REQUESTS_MAX; i++)
        own->free[i] = TRANSPORT_REQUESTS_MAX - 1 - i;
    *out = &own->base;
    return OK;
}
