/* SPDX-License-Identifier: Apache-2.0 */
/* The engine thread's side: wishes go into `shared`, answers are waited for on one condition. */
#include "worker/link/link.h"

#include "worker/link/link_state.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set_defaults(struct link_options *o) {
    o->leader = NULL; /* borrowed for the call of open only */
    o->heartbeat_ms = o->heartbeat_ms ? o->heartbeat_ms : LINK_HEARTBEAT_MS;
    o->silence_ms = o->silence_ms ? o->silence_ms : LINK_SILENCE_MS;
    o->stall_ms = o->stall_ms ? o->stall_ms : LINK_STALL_MS;
    o->connect_ms = o->connect_ms ? o->connect_ms : LINK_CONNECT_MS;
}

static void name_self(struct link *link) {
    struct rank_name *self = &link->self;
    self->rank_idx = link->options.rank_idx;
    self->node_idx = link->options.node_idx;
    self->pid = (uint32_t)getpid();
    if (gethostname(self->host, sizeof self->host - 1) != 0 || !self->host[0])
        memcpy(self->host, "unknown", sizeof "unknown");
    for (char *c = self->host; *c; c++) {
        char lower = (char)(*c | 0x20);
        if (!(lower >= 'a' && lower <= 'z') && !(*c >= '0' && *c <= '9') && *c != '.' && *c != '_')
            *c = '-';
    }
}

/* The deadline of a wait on the condition, which uses the monotonic clock. */
static struct timespec after_ms(uint64_t ms) {
    uint64_t at = link_in_ms(ms);
    return (struct timespec){.tv_sec = (time_t)(at / 1000000000u),
                             .tv_nsec = (long)(at % 1000000000u)};
}

static void wake(struct link *link) {
    uv_async_send(&link->wake); /* fails only for a handle that is closed, which ours is not */
}

/* ---- open ---- */

static void init_lock(struct link *link) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&link->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&link->lock, NULL);
}

static void free_link(struct link *link) {
    leader_free(link);
    follower_free(link);
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

/* Signals are the other threads' affair, except the one that the link may take. */
static int start_thread(struct link *link) {
    sigset_t all, before;
    sigfillset(&all);
    if (link->options.take_sigterm)
        sigdelset(&all, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&link->thread, NULL, link_loop_run, link);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void join(struct link *link) {
    pthread_mutex_lock(&link->lock);
    link->shared.close_wanted = true;
    pthread_mutex_unlock(&link->lock);
    wake(link);
    pthread_join(link->thread, NULL);
    link_loop_free(link);
}

/* Rank: the leader has let it in. The link thread keeps the deadline. */
static enum status wait_open(struct link *link, struct error *err) {
    pthread_mutex_lock(&link->lock);
    while (!link->shared.open_done && !link->shared.lost)
        pthread_cond_wait(&link->changed, &link->lock);
    struct error why = link->shared.open_done ? link->shared.open_error : link->shared.error;
    pthread_mutex_unlock(&link->lock);
    return why.status ? error_set(err, why.status, "%s", why.text) : OK;
}

enum status link_open(struct link **out, const struct link_options *options, struct error *err) {
    *out = NULL;
    if (options->n_ranks == 0 || options->n_ranks > FRAME_RANKS_MAX ||
        options->rank_idx >= options->n_ranks)
        return error_set(err, ERR_LIMIT, "rank %u of %u, allowed is at most %d ranks",
                         options->rank_idx, options->n_ranks, FRAME_RANKS_MAX);
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return error_set(err, ERR_NOMEM, "no memory for the control connection");
    link->options = *options;
    set_defaults(&link->options);
    name_self(link);
    init_lock(link);
    enum status status = link_loop_init(link, err);
    if (status) {
        free_link(link);
        return status;
    }
    bool leads = options->rank_idx == 0;
    status = leads ? leader_open(link, err) : follower_open(link, options->leader, err);
    int rc = status ? 0 : start_thread(link);
    if (status || rc) {
        if (rc)
            status = error_set(err, ERR_IO, "control thread: %s", strerror(rc));
        link_loop_free(link);
        free_link(link);
        return status;
    }
    if (!leads)
        status = wait_open(link, err);
    if (status) {
        join(link);
        free_link(link);
        return status;
    }
    *out = link;
    return OK;
}

void link_address(const struct link *link, struct link_address *out) {
    *out = link->address;
}

/* ---- what the engine thread waits for and wants ---- */

enum status link_wait_ranks(struct link *link, struct error *err) {
    struct timespec deadline = after_ms(link->options.connect_ms);
    enum status status = OK;
    int rc = 0;
    pthread_mutex_lock(&link->lock);
    while (link->shared.n_missing > 0 && !link->shared.lost && rc == 0)
        rc = pthread_cond_timedwait(&link->changed, &link->lock, &deadline);
    if (link->shared.lost)
        status = error_set(err, ERR_COMM, "%s", link->shared.error.text);
    else if (link->shared.n_missing > 0)
        status =
            error_set(err, ERR_COMM, "%u of %u ranks did not come to the leader within %u ms: %s",
                      link->shared.n_missing, link->options.n_ranks, link->options.connect_ms,
                      link->shared.missing);
    pthread_mutex_unlock(&link->lock);
    return status;
}

enum status link_resume_all(struct link *link, struct error *err) {
    assert(link->leader);
    pthread_mutex_lock(&link->lock);
    bool lost = link->shared.lost;
    if (lost)
        error_set(err, ERR_COMM, "%s", link->shared.error.text);
    else
        link->shared.resumes_wanted++;
    pthread_mutex_unlock(&link->lock);
    if (lost)
        return ERR_COMM;
    wake(link);
    return OK;
}

enum status link_wait_resume(struct link *link, bool *stop, struct error *err) {
    enum status status = OK;
    pthread_mutex_lock(&link->lock);
    while (link->shared.n_resumes == 0 && !link->shared.stop && !link->shared.lost)
        pthread_cond_wait(&link->changed, &link->lock);
    *stop = false;
    if (link->shared.lost)
        status = error_set(err, ERR_COMM, "%s", link->shared.error.text);
    else if (link->shared.n_resumes > 0)
        link->shared.n_resumes--;
    else
        *stop = true;
    pthread_mutex_unlock(&link->lock);
    return status;
}

void link_fail(struct link *link, const struct error *why) {
    pthread_mutex_lock(&link->lock);
    if (!link->shared.lost) {
        link->shared.fail_wanted = true;
        link->shared.why = *why;
    }
    pthread_mutex_unlock(&link->lock);
    wake(link);
    pthread_mutex_lock(&link->lock);
    while (!link->shared.lost)
        pthread_cond_wait(&link->changed, &link->lock);
    pthread_mutex_unlock(&link->lock);
}

bool link_is_lost(struct link *link, struct error *err) {
    pthread_mutex_lock(&link->lock);
    bool lost = link->shared.lost;
    if (lost)
        error_set(err, ERR_COMM, "%s", link->shared.error.text);
    pthread_mutex_unlock(&link->lock);
    return lost;
}

enum status link_close(struct link *link, struct error *err) {
    if (!link)
        return OK;
    join(link);
    enum status status = link_is_lost(link, err) ? ERR_COMM : OK;
    free_link(link);
    return status;
}
