/* SPDX-License-Identifier: Apache-2.0 */
/* One lock and one condition for the whole hub: it guards all requests of all ranks. Tests have few
 * ranks, and whoever waits looks at its own requests only. */
#include "tests/support/thread_transport.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum request_state { REQUEST_FREE, REQUEST_POSTED, REQUEST_DONE };

struct request {
    enum request_state state;
    bool is_send;
    uint32_t peer, tag;
    void *data; /* of a send only read */
    uint64_t bytes, got;
    uint64_t posted_idx; /* messages of one pair and tag keep their order */
    enum status status;
};

struct thread_transport {
    struct transport base;
    struct thread_hub *hub;
    uint32_t rank_idx;
    struct request requests[TRANSPORT_REQUESTS_MAX];
};

struct thread_hub {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t n_ranks, timeout_ms;
    uint64_t n_posted;
    bool aborted;
    struct thread_transport **transports; /* [n_ranks] */
};

static struct thread_transport *transport_of(struct transport *t) {
    return (struct thread_transport *)(void *)t;
}

/* The oldest request of `peer` that meets `request` of rank `own`. */
static struct request *find_match(struct thread_hub *hub, uint32_t own,
                                  const struct request *request) {
    struct thread_transport *peer = hub->transports[request->peer];
    struct request *found = NULL;
    for (uint32_t i = 0; peer && i < TRANSPORT_REQUESTS_MAX; i++) {
        struct request *other = &peer->requests[i];
        if (other->state == REQUEST_POSTED && other->is_send != request->is_send &&
            other->peer == own && other->tag == request->tag &&
            (!found || other->posted_idx < found->posted_idx))
            found = other;
    }
    return found;
}

static void deliver(struct request *send, struct request *receive) {
    enum status status = send->bytes > receive->bytes ? ERR_COMM : OK;
    if (!status && send->bytes > 0)
        memcpy(receive->data, send->data, send->bytes);
    receive->got = send->bytes;
    send->status = receive->status = status;
    send->state = receive->state = REQUEST_DONE;
}

static enum status post(struct thread_transport *own, const struct request *wanted,
                        transport_request *out, struct error *err) {
    struct thread_hub *hub = own->hub;
    if (wanted->peer >= hub->n_ranks || wanted->tag > TRANSPORT_TAG_MAX)
        return error_set(err, ERR_COMM, "rank %u, tag %u: no such rank or tag", wanted->peer,
                         wanted->tag);
    pthread_mutex_lock(&hub->lock);
    uint32_t i = 0;
    while (i < TRANSPORT_REQUESTS_MAX && own->requests[i].state != REQUEST_FREE)
        i++;
    if (i < TRANSPORT_REQUESTS_MAX) {
        struct request *request = &own->requests[i];
        *request = *wanted;
        request->state = REQUEST_POSTED;
        request->posted_idx = hub->n_posted++;
        struct request *other = find_match(hub, own->rank_idx, request);
        if (other) {
            deliver(request->is_send ? request : other, request->is_send ? other : request);
            pthread_cond_broadcast(&hub->changed);
        }
    }
    pthread_mutex_unlock(&hub->lock);
    if (i == TRANSPORT_REQUESTS_MAX)
        return error_set(err, ERR_LIMIT, "%u messages are on their way: no more are possible", i);
    *out = i;
    return OK;
}

static enum status thread_send(struct transport *t, uint32_t to, uint32_t tag, const void *data,
                               uint64_t bytes, transport_request *out, struct error *err) {
    struct request wanted = {
        .is_send = true, .peer = to, .tag = tag, .data = (void *)data, .bytes = bytes};
    return post(transport_of(t), &wanted, out, err);
}

static enum status thread_receive(struct transport *t, uint32_t from, uint32_t tag, void *data,
                                  uint64_t capacity, transport_request *out, struct error *err) {
    struct request wanted = {.peer = from, .tag = tag, .data = data, .bytes = capacity};
    return post(transport_of(t), &wanted, out, err);
}

static enum status missing(const struct thread_transport *own, const transport_request *requests,
                           uint32_t n, struct error *err) {
    char names[128] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < n && used < sizeof names - 16; i++) {
        const struct request *request = &own->requests[requests[i]];
        if (request->state != REQUEST_DONE)
            used += (size_t)snprintf(names + used, sizeof names - used, " %u", request->peer);
    }
    return error_set(err, ERR_COMM, "rank %u: no message within %u ms from or to rank%s",
                     own->rank_idx, own->base.timeout_ms, names);
}

/* With the lock held. */
static enum status wait_one(struct thread_transport *own, const transport_request *requests,
                            uint32_t n, uint32_t i, const struct timespec *deadline,
                            struct error *err) {
    struct thread_hub *hub = own->hub;
    struct request *request = &own->requests[requests[i]];
    while (request->state != REQUEST_DONE) {
        if (hub->aborted)
            return error_set(err, ERR_CANCELLED, "the worker group was ended");
        if (pthread_cond_timedwait(&hub->changed, &hub->lock, deadline) != 0 &&
            request->state != REQUEST_DONE)
            return missing(own, requests, n, err);
    }
    if (request->status)
        return error_set(err, request->status,
                         "rank %u: message of %llu bytes from or to rank %u "
                         "is longer than expected",
                         own->rank_idx, (unsigned long long)request->bytes, request->peer);
    return OK;
}

static enum status thread_wait(struct transport *t, const transport_request *requests, uint32_t n,
                               uint64_t *got, struct error *err) {
    struct thread_transport *own = transport_of(t);
    struct thread_hub *hub = own->hub;
    uint64_t until = clock_ns() + (uint64_t)t->timeout_ms * 1000000u;
    struct timespec deadline = {.tv_sec = (time_t)(until / 1000000000u),
                                .tv_nsec = (long)(until % 1000000000u)};
    enum status status = OK;
    pthread_mutex_lock(&hub->lock);
    if (hub->aborted)
        status = error_set(err, ERR_CANCELLED, "the worker group was ended");
    for (uint32_t i = 0; !status && i < n; i++) {
        status = wait_one(own, requests, n, i, &deadline, err);
        if (!status && got)
            got[i] = own->requests[requests[i]].got;
    }
    for (uint32_t i = 0; i < n; i++)
        own->requests[requests[i]].state = REQUEST_FREE;
    pthread_mutex_unlock(&hub->lock);
    return status;
}

static void thread_abort(struct transport *t) {
    struct thread_hub *hub = transport_of(t)->hub;
    pthread_mutex_lock(&hub->lock);
    hub->aborted = true;
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
}

static void thread_close(struct transport *t) {
    struct thread_transport *own = transport_of(t);
    pthread_mutex_lock(&own->hub->lock);
    own->hub->transports[own->rank_idx] = NULL;
    pthread_mutex_unlock(&own->hub->lock);
    free(own);
}

struct thread_hub *thread_hub_open(uint32_t n_ranks, uint32_t timeout_ms) {
    struct thread_hub *hub = calloc(1, sizeof *hub);
    struct thread_transport **transports = calloc(n_ranks, sizeof(struct thread_transport *));
    if (!hub || !transports) {
        free(hub);
        free(transports);
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&hub->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&hub->lock, NULL);
    hub->n_ranks = n_ranks;
    hub->timeout_ms = timeout_ms;
    hub->transports = transports;
    return hub;
}

void thread_hub_close(struct thread_hub *hub) {
    if (!hub)
        return;
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub->transports);
    free(hub);
}

struct transport *thread_transport_open(struct thread_hub *hub, uint32_t rank_idx) {
    static const struct transport_ops ops = {.send = thread_send,
                                             .receive = thread_receive,
                                             .wait = thread_wait,
                                             .abort = thread_abort,
                                             .close = thread_close};
    struct thread_transport *own = calloc(1, sizeof *own);
    if (!own)
        return NULL;
    own->base = (struct transport){.ops = &ops, .timeout_ms = hub->timeout_ms};
    own->hub = hub;
    own->rank_idx = rank_idx;
    hub->transports[rank_idx] = own;
    return &own->base;
}
