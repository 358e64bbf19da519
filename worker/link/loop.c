/* SPDX-License-Identifier: Apache-2.0 */
/* The link thread. One timer drives everything that depends on time: heartbeats, the watch over
 * others, and the deadlines of this link, which are exact to half a heartbeat and need no more. */
#include "worker/link/link_state.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CANCEL_MS     2000 /* for a loss that another link of the node knows to be known here */
#define LOST_CLOSE_MS 500  /* for the others to read that the group is lost */

/* ---- messages about oneself ---- */

_Static_assert((int)CONTROL__V1__PHASE__PHASE_START == PHASE_START + 1 &&
                   (int)CONTROL__V1__PHASE__PHASE_END == PHASE_END + 1,
               "phases on the wire are the worker's and one more");

bool link_send_hello(struct link *link, struct connection *c) {
    Control__V1__Hello hello = CONTROL__V1__HELLO__INIT;
    hello.version = FRAME_VERSION;
    hello.job_token.len = FRAME_TOKEN_BYTES;
    hello.job_token.data = link->address.token;
    hello.model_hash = link->options.model_hash;
    hello.n_ranks = link->options.n_ranks;
    hello.rank = link->self.rank_idx;
    hello.node = link->self.node_idx;
    hello.pid = link->self.pid;
    hello.host.len = strlen(link->self.host);
    hello.host.data = (uint8_t *)link->self.host;
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    m.body_case = CONTROL__V1__FRAME__BODY_HELLO;
    m.hello = &hello;
    return connection_send(c, &m);
}

bool link_send_heartbeat(struct link *link, struct connection *c) {
    struct rank_report report = rank_report_of(link->options.progress);
    Control__V1__Heartbeat heartbeat = CONTROL__V1__HEARTBEAT__INIT;
    heartbeat.phase = (Control__V1__Phase)(report.phase + 1);
    heartbeat.layer = report.layer;
    heartbeat.step = report.step;
    heartbeat.progress = report.counter;
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    m.body_case = CONTROL__V1__FRAME__BODY_HEARTBEAT;
    m.heartbeat = &heartbeat;
    return connection_send(c, &m);
}

struct rank_report link_report(const Control__V1__Heartbeat *heartbeat) {
    return (struct rank_report){.phase = (enum group_phase)((int)heartbeat->phase - 1),
                                .layer = heartbeat->layer,
                                .step = heartbeat->step,
                                .counter = heartbeat->progress};
}

void link_rank_name(struct rank_name *name, const Control__V1__Hello *hello) {
    name->rank_idx = hello->rank;
    name->node_idx = hello->node;
    name->pid = hello->pid;
    snprintf(name->host, sizeof name->host, "%.*s", (int)hello->host.len,
             (const char *)hello->host.data);
}

/* ---- the end of a group ---- */

/* In this order: first the person, for as soon as another rank has left because of it, mpirun kills
 * all that are still there; and the engine thread finds the group lost before its waits end. It
 * comes no further than link_close before the others know. */
static void end_group(struct link *link, const char *line, bool tell) {
    link->is_lost = true;
    if (tell)
        log_error(link->options.log, "%s", line);
    pthread_mutex_lock(&link->lock);
    link->shared.lost = true;
    error_set(&link->shared.error, ERR_COMM, "%s", line);
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    link->options.abort(link->options.user);
    link->role->lost(link, line);
    link->leave_by_ns = link_in_ms(LINK_LEAVE_MS);
    link->end_by_ns = link_in_ms(LOST_CLOSE_MS);
    link_end_if_done(link);
}

void link_lose(struct link *link, const struct loss *loss) {
    if (link->is_lost)
        return;
    const struct group_progress *const *shared = link->options.shared_progress;
    uint32_t rank_idx = loss->who->rank_idx;
    struct rank_report last = loss->last->last;
    if (rank_idx == link->self.rank_idx)
        last = rank_report_of(link->options.progress);
    else if (shared && shared[rank_idx])
        last = rank_report_of(shared[rank_idx]);
    char text[ERROR_TEXT_MAX], line[ERROR_TEXT_MAX];
    snprintf(text, sizeof text, "rank %u (host %s, pid %u) %s: phase %s, layer %u, step %llu%s%s",
             rank_idx, loss->who->host, loss->who->pid, loss->what, group_phase_name(last.phase),
             last.layer, (unsigned long long)last.step, loss->why ? ": " : "",
             loss->why ? loss->why : "");
    connection_plain_text(line, text); /* one line, whatever the reason holds */
    end_group(link, line, loss->tell);
}

void link_lose_quietly(struct link *link, const char *text) {
    if (!link->is_lost)
        end_group(link, text, false);
}

static void close_handle(uv_handle_t *handle, void *user) {
    (void)user;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void link_end_if_done(struct link *link) {
    if (link->leaving && link->role->may_end(link))
        uv_walk(&link->loop, close_handle, NULL);
}

/* ---- events ---- */

/* A SIGTERM, and nobody found who had died. To all ranks it is the launcher's, which needs no line;
 * a rank that got one alone is still there after the leader would have gone, and says so. */
static void give_up(struct link *link) {
    struct error why;
    link->sigterm_by_ns = 0;
    error_set(&why, ERR_COMM, "ended by SIGTERM");
    if (link->leader)
        link_lose_quietly(link, "the group was ended by SIGTERM");
    else
        link->role->fail(link, &why);
}

static void on_tick(uv_timer_t *timer) {
    struct link *link = timer->data;
    uint64_t real = clock_ns();
    watch_clock_tick(&link->clock, real);
    link->role->tick(link, ++link->n_ticks % 2 == 0);
    if (link->cancel_by_ns && real > link->cancel_by_ns)
        link_lose_quietly(link, "another rank ended the group");
    if (link->sigterm_by_ns && real > link->sigterm_by_ns && !link->is_lost)
        give_up(link);
    if (link->leaving) {
        if (real > link->end_by_ns) {
            if (link->role->late)
                link->role->late(link);
            uv_walk(&link->loop, close_handle, NULL);
        }
        link_end_if_done(link);
    } else if (link->leave_by_ns && real > link->leave_by_ns) {
        link->leave_by_ns = 0;
        link->options.expire(link->options.user);
    }
}

static void on_sigterm(uv_signal_t *signal, int number) {
    (void)number;
    struct link *link = signal->data;
    if (!link->sigterm_by_ns)
        link->sigterm_by_ns = link_in_ms(link->leader ? LINK_SIGTERM_MS : 2 * LINK_SIGTERM_MS);
}

/* The engine thread wants something. */
static void on_wake(uv_async_t *wake) {
    struct link *link = wake->data;
    pthread_mutex_lock(&link->lock);
    uint32_t n_resumes = link->shared.resumes_wanted;
    bool fails = link->shared.fail_wanted;
    bool leaves = link->shared.close_wanted && !link->leaving;
    struct error why = link->shared.why;
    link->shared.resumes_wanted = 0;
    link->shared.fail_wanted = false;
    pthread_mutex_unlock(&link->lock);
    while (n_resumes-- > 0 && !link->is_lost)
        link->role->resume(link);
    if (fails && !link->is_lost) {
        if (why.status == ERR_CANCELLED)
            link->cancel_by_ns = link_in_ms(CANCEL_MS);
        else
            link->role->fail(link, &why);
    }
    if (leaves) {
        link->leaving = true;
        link->end_by_ns = link_in_ms(link->is_lost ? LOST_CLOSE_MS : LINK_CLOSE_MS);
        if (!link->is_lost)
            link->role->leave(link);
        link_end_if_done(link);
    }
}

enum status link_loop_init(struct link *link, struct error *err) {
    uint64_t tick_ms = link->options.heartbeat_ms / 2 ? link->options.heartbeat_ms / 2 : 1;
    link->clock.step_max_ns = 2 * tick_ms * 1000000u;
    int rc = uv_loop_init(&link->loop);
    if (rc)
        return error_set(err, ERR_IO, "control loop: %s", uv_strerror(rc));
    link->wake.data = link->tick.data = link->sigterm.data = link;
    rc = uv_async_init(&link->loop, &link->wake, on_wake);
    if (!rc)
        rc = uv_timer_init(&link->loop, &link->tick);
    if (!rc)
        rc = uv_timer_start(&link->tick, on_tick, tick_ms, tick_ms);
    if (!rc && link->options.take_sigterm) {
        rc = uv_signal_init(&link->loop, &link->sigterm);
        if (!rc)
            rc = uv_signal_start(&link->sigterm, on_sigterm, SIGTERM);
    }
    if (rc) {
        link_loop_free(link);
        return error_set(err, ERR_IO, "control loop: %s", uv_strerror(rc));
    }
    return OK;
}

void link_loop_free(struct link *link) {
    uv_walk(&link->loop, close_handle, NULL);
    uv_run(&link->loop, UV_RUN_DEFAULT);
    uv_loop_close(&link->loop);
}

void *link_loop_run(void *user) {
    struct link *link = user;
    uv_run(&link->loop, UV_RUN_DEFAULT);
    return NULL;
}
